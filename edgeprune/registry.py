"""Plug-ins by name: a file in a plug-in folder is an entry, its stem the name; packages add theirs as entry points.

Names are listed without importing anything heavy. An outside package adds a criterion like this:

    [project.entry-points."edgeprune.criteria"]
    my-score = "my_package.my_score:criterion"
"""

import functools
import importlib
import importlib.util
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from edgeprune.errors import unknown_name

Kind = Literal["models", "datasets", "criteria", "similarity", "runtimes"]

_ATTRIBUTE = {
    "models": "family",
    "datasets": "dataset",
    "criteria": "criterion",
    "similarity": "metric",
    "runtimes": "runtime",
}
_NOUN = {
    "models": "model family",
    "datasets": "dataset format",
    "criteria": "criterion",
    "similarity": "similarity metric",
    "runtimes": "runtime",
}


def names(kind: Kind) -> tuple[str, ...]:
    """Names of all plug-ins of a kind, sorted, found without importing them."""
    return tuple(sorted({*_files(kind), *(point.name for point in points(kind))}))


def get(kind: Kind, name: str) -> Any:
    """Load one plug-in.

    Raises:
        ConfigError: The name is not registered; the message has the nearest one.
    """
    if name in _files(kind):
        module = importlib.import_module(f"edgeprune.{kind}.{name.replace('-', '_')}")
        return getattr(module, _ATTRIBUTE[kind])
    for point in points(kind):
        if point.name == name:
            return point.load()
    raise unknown_name(_NOUN[kind], name, names(kind))


@functools.cache
def points(kind: Kind) -> tuple[EntryPoint, ...]:
    """Entry points of a kind in the installed packages; looked up once, since that reads a file of each package."""
    return tuple(entry_points(group=f"edgeprune.{kind}"))


def _files(kind: Kind) -> frozenset[str]:
    folder = Path(__file__).parent / kind
    return frozenset(file.stem.replace("_", "-") for file in folder.glob("[a-z]*.py"))


def model_names() -> tuple[str, ...]:
    """Names of all networks that can be built, sorted; imports every family."""
    return tuple(sorted(name for family in names("models") for name in get("models", family).names))


def family_of(model: str) -> Any:
    """Find the family that builds a network.

    Raises:
        ConfigError: No family builds it; the message has the nearest name.
    """
    for family in names("models"):
        candidate = get("models", family)
        if model in candidate.names:
            return candidate
    raise unknown_name("model", model, model_names())
