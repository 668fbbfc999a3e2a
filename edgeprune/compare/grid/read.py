"""The only reader of grid files; unknown keys and names, empty axes and missing files are errors of one line."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgeprune import registry, targets
from edgeprune.compare.grid.grid import WELL_KNOWN, Data, Grid, GridBench, GridTable, Method, Network, Training
from edgeprune.errors import ConfigError, unknown_name
from edgeprune.files import toml
from edgeprune.frames.splits import METHODS
from edgeprune.records.names import BRIDGES, CHANNEL_METHODS


def read(path: Path, overrides: Mapping[str, Any] | None = None) -> Grid:
    """Read and check a grid file.

    Args:
        path: A TOML file; relative paths in it are looked up in its folder, then in the working directory.
        overrides: Values that replace those in the file: a top-level key, or a dict for a table.

    Raises:
        ConfigError: Missing, not TOML, an unknown key or name, an empty axis, or a value that is not allowed.
    """
    plain = toml.read(path, "grid")
    return parse(_merged(plain, overrides or {}), str(path), path.parent)


def parse(plain: Mapping[str, Any], source: str, folder: Path) -> Grid:
    """Check a grid.

    Args:
        plain: Content of a grid file.
        source: Name of the grid in messages.
        folder: Folder in which relative paths are looked up first.

    Raises:
        ConfigError: An unknown key or name, an empty axis, or a value that is not allowed.
    """
    for axis in ("models", "methods", "ratios", "seeds", "networks"):
        if plain.get(axis) == []:
            raise ConfigError(f"{source}: {axis} is empty", "Name at least one, or leave the key out")
    spelled = dict(plain)
    for axis, spell in (("methods", _spelled_method), ("networks", _spelled_network)):
        if isinstance(plain.get(axis), list):
            spelled[axis] = [spell(entry) for entry in plain[axis]]
    try:
        grid = Grid.model_validate_json(json.dumps(spelled, default=str))
    except ValidationError as error:
        raise _empty_axis(source, error) or toml.problem(source, error, _known_keys) from error
    _check_names(grid, source)
    return _with_paths(grid, folder)


def _merged(plain: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(plain)
    for key, value in overrides.items():
        within = plain.get(key)
        merged[key] = {**within, **value} if isinstance(within, dict) and isinstance(value, Mapping) else value
    return merged


def _spelled_method(entry: Any) -> Any:
    """Write a method as a table; a well-known name supplies its settings."""
    if isinstance(entry, str):
        if entry not in WELL_KNOWN:
            raise unknown_name("method", entry, WELL_KNOWN)
        return {"name": entry, **WELL_KNOWN[entry]}
    if isinstance(entry, dict) and isinstance(entry.get("name"), str):
        return {**WELL_KNOWN.get(entry["name"], {}), **entry}
    return entry


def _spelled_network(entry: Any) -> Any:
    return {"name": entry} if isinstance(entry, str) else entry


def _empty_axis(source: str, error: ValidationError) -> ConfigError | None:
    """Make the error for an axis without entries, if that is the first problem of a grid."""
    first = error.errors()[0]
    if first["type"] not in ("too_short", "missing_argument") or first["input"] != []:
        return None
    where = ".".join(map(str, first["loc"]))
    return ConfigError(f"{source}: {where} is empty", "Name at least one, or leave the key out")


def _known_keys(place: toml.Place) -> Iterable[str]:
    """List the keys that are allowed where an unknown one was found."""
    parts: dict[str, type[GridTable]] = {
        "methods": Method,
        "networks": Network,
        "data": Data,
        "training": Training,
        "bench": GridBench,
    }
    part = parts[str(place[0])] if len(place) > 1 else Grid
    return part.model_fields


def _check_names(grid: Grid, source: str) -> None:
    """Check for unregistered names, missing axes and entries that appear twice."""
    if not grid.models and not grid.networks:
        raise ConfigError(f"{source} names no models", 'As in models = ["trained.pt"]')
    if grid.models and not grid.methods:
        raise ConfigError(f"{source} names no methods", f"Known: {', '.join(WELL_KNOWN)}")
    for method in grid.methods:
        _check_method(method, source)
    for network in grid.networks:
        registry.family_of(network.name)
    targets.get(grid.bench.target)
    if grid.data.split is not None and grid.data.split not in METHODS:
        raise unknown_name("split", grid.data.split, METHODS)
    axes: dict[str, list[Any]] = {
        "models": [path.stem for path in grid.models],
        "methods": [method.name for method in grid.methods],
        "ratios": list(grid.ratios),
        "seeds": list(grid.seeds),
        "networks": [network.name for network in grid.networks],
        "data.path": [path.stem for path in grid.data.path or ()],
    }
    for axis, names in axes.items():
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"{source}: {axis} names {twice!r} twice", "Give each a name of its own")


def _check_method(method: Method, source: str) -> None:
    if method.kind == "channels":
        if method.criterion not in CHANNEL_METHODS:
            raise unknown_name("method for channels", str(method.criterion), CHANNEL_METHODS)
        _check_keys(method, source)
        return
    if method.kind == "none":
        _check_keys(method, source)
    if method.bridge is not None and method.bridge not in BRIDGES:
        raise unknown_name("bridge", method.bridge, BRIDGES)
    if method.width_method not in CHANNEL_METHODS:
        raise unknown_name("method for channels", method.width_method, CHANNEL_METHODS)
    kinds: tuple[tuple[registry.Kind, str | None], ...] = (
        ("criteria", method.criterion),
        ("similarity", method.metric),
    )
    for kind, name in kinds:
        if name is not None:
            registry.get(kind, name)


def _check_keys(method: Method, source: str) -> None:
    """Refuse keys about dropping layers for a method that drops none."""
    layers_only = {"metric", "segments", "profile", "bridge", "released", "then_width", "width_method"}
    given = layers_only & method.model_fields_set
    if given:
        raise ConfigError(f"{source}: method {method.name!r} of kind {method.kind!r} takes no {min(given)}")


def _with_paths(grid: Grid, folder: Path) -> Grid:
    """Resolve every path of the grid.

    Raises:
        ConfigError: A file is missing.
    """
    models = tuple(_found(path, folder) for path in grid.models)
    data = None if grid.data.path is None else tuple(_found(path, folder) for path in grid.data.path)
    return grid.model_copy(update={"models": models, "data": grid.data.model_copy(update={"path": data})})


def _found(path: Path, folder: Path) -> Path:
    for candidate in (folder / path, path):
        if candidate.exists():
            return candidate.resolve()
    raise ConfigError(f"no such file: {path}", f"It was looked for in {folder} and in the working directory")


_FOLDER = Path(__file__).parent / "studies"


def study_names() -> tuple[str, ...]:
    """Names of the studies, sorted."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.toml")))


def study(name: str, model: Path, data: Path | None, overrides: Mapping[str, Any]) -> Grid:
    """Make the grid of a study for one model.

    Args:
        name: One of `study_names`.
        model: A trained model file.
        data: The frames, or None for the data that the model names.
        overrides: As in `read`.

    Raises:
        ConfigError: No such study or file, or a value that is not allowed.
    """
    if name not in study_names():
        raise unknown_name("study", name, study_names())
    about: dict[str, Any] = {"models": [str(model.absolute())]}
    if data is not None:
        about["data"] = {"path": [str(data.absolute())]}
    return read(_FOLDER / f"{name}.toml", _merged(about, overrides))
