"""Plug-ins by name: a file in a plug-in folder is an entry, its stem the name; packages add theirs as entry points.

Names are listed without importing anything heavy. An outside package adds a criterion like this:

    [project.entry-points."edgeprune.criteria"]
    my-score = "my_package.my_score:criterion"

`register` adds one to the running program, from a notebook or a file.
"""

import functools
import importlib
import importlib.util
import re
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from edgeprune.errors import ConfigError, reason_of, unknown_name

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
_SHAPES: dict[Kind, tuple[str, ...]] = {
    "models": ("names", "build"),
    "datasets": ("suffixes", "read"),
    "criteria": ("scores",),
    "similarity": ("summarise", "products", "finish"),
    "runtimes": ("name", "facts"),
}
"""Attributes by which a plug-in of each kind is recognized: see protocols.py."""
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_registered: dict[Kind, dict[str, Any]] = {kind: {} for kind in _SHAPES}
"""Plug-ins that the running program added; a process has one set of plug-ins, as it has one set of modules."""
_files_of: dict[tuple[Kind, str], Path] = {}
"""The files that those come from which were registered by file."""


def register(plugin: Any, name: str | None = None) -> str:
    """Add a plug-in of your own to the running program.

    Its kind is found by what it has: a criterion has `scores`; a similarity metric `summarise`, `products` and
    `finish`; a data format `suffixes` and `read`; a runtime `name` and `facts`; a model family `names` and `build`.
    A name that this program registered before is replaced, so that a notebook's cell can be run again; names that ship
    with edgeprune or come from an installed package are not.

    Args:
        plugin: The object, or the path of a Python file that holds one as `criterion`, `metric`, `dataset`, `runtime`
            or `family`. A file is run.
        name: The plug-in's name; by default the file's stem, or a runtime's own `name`.

    Returns:
        The name of the plug-in in the registry.

    Raises:
        ConfigError: It is of no kind, its name is missing, not allowed or taken, or there is no such file.

    Example:
        >>> class Deepest:
        ...     def scores(self, subject):
        ...         return {index: float(index) for index in subject.chain.droppable}
        >>> register(Deepest(), "deepest")
        'deepest'
    """
    file = None
    if isinstance(plugin, str | Path):
        file = Path(plugin).absolute()
        plugin, name = _run(file), name or file.stem.replace("_", "-")
    if isinstance(plugin, type):
        raise ConfigError(f"{plugin.__name__} is a class, not a plug-in", f"Register an object: {plugin.__name__}()")
    kinds = [kind for kind, shape in _SHAPES.items() if all(hasattr(plugin, each) for each in shape)]
    if len(kinds) != 1:
        shapes = "; ".join(f"{_NOUN[kind]}: {', '.join(shape)}" for kind, shape in _SHAPES.items())
        found = f"is {' and '.join(_NOUN[kind] for kind in kinds)} at once" if kinds else "is no plug-in"
        raise ConfigError(f"a {type(plugin).__name__} {found}", f"What each kind has: {shapes}")
    kind = kinds[0]
    name = name or (plugin.name if kind == "runtimes" else None)
    if name is None or not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot name a {_NOUN[kind]}", "`name` takes small letters, digits and hyphens")
    if name in names(kind) and name not in _registered[kind]:
        raise ConfigError(f"there is a {_NOUN[kind]} named {name!r} already", "Choose another `name`")
    _registered[kind][name] = plugin
    _files_of.pop((kind, name), None)
    if file is not None:
        _files_of[kind, name] = file
    return name


def _run(file: Path) -> Any:
    """Run a file and find the plug-in in it."""
    if not file.is_file():
        raise ConfigError(f"no such file: {file}")
    spec = importlib.util.spec_from_file_location(f"edgeprune_plugin_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{file} is no Python file", "A plug-in's file ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # what it defines can be pickled then
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code
        raise ConfigError(f"{file} cannot be run: {reason_of(error)}") from error
    found = [value for attribute in _ATTRIBUTE.values() if (value := getattr(module, attribute, None)) is not None]
    if len(found) != 1:
        raise ConfigError(
            f"{file} holds {len(found)} plug-ins", f"Name one of its objects {', '.join(_ATTRIBUTE.values())}"
        )
    return found[0]


def file_of(kind: Kind, name: str) -> Path | None:
    """The file that a plug-in was registered from, if it was registered from one."""
    return _files_of.get((kind, name))


def added_here(kind: Kind, name: str) -> bool:
    """Whether the running program registered the plug-in."""
    return name in _registered[kind]


def in_this_process_only(kind: Kind, name: str) -> bool:
    """Whether another process could not find the plug-in: it was registered as an object."""
    return added_here(kind, name) and file_of(kind, name) is None


def names(kind: Kind) -> tuple[str, ...]:
    """Names of all plug-ins of a kind, sorted, found without importing them."""
    packaged = (point.name for point in points(kind))
    return tuple(sorted({*_files(kind), *packaged, *_registered[kind]}))


def get(kind: Kind, name: str) -> Any:
    """Load one plug-in.

    Raises:
        ConfigError: The name is not registered; the message has the nearest one.
    """
    if name in _registered[kind]:
        return _registered[kind][name]
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
