"""The paper's own studies: grids that ship with the package and wait for a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeprune.compare.grid.grid import Grid
from edgeprune.compare.grid.read import read
from edgeprune.errors import unknown_name

_FOLDER = Path(__file__).parent / "studies"


def names() -> tuple[str, ...]:
    """Names of the studies, sorted."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.toml")))


def study(name: str, model: Path, data: Path | None, overrides: Mapping[str, Any]) -> Grid:
    """The grid of a study for one model.

    Args:
        name: One of `names`.
        model: A trained model file.
        data: Its frames, or None for what it names itself.
        overrides: As in `gridfile.read`.

    Raises:
        ConfigError: No such study or file, or a value that is not allowed.
    """
    if name not in names():
        raise unknown_name("study", name, names())
    about: dict[str, Any] = {"models": [str(model.absolute())]}
    if data is not None:
        about["data"] = {"path": [str(data.absolute())]}
    return read(_FOLDER / f"{name}.toml", {**about, **overrides})
