"""Functions that build a user's network, in a file or in a package."""

import importlib
import importlib.util
import inspect
import operator
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from edgeprune.errors import ConfigError, ModelError, reason_of

_FORM = "FILE.py:CALLABLE or package.module:callable"


def from_factory(name: str, arguments: Mapping[str, Any] | None = None) -> nn.Module:
    """Call a user's function.

    Args:
        name: 'file.py:callable' or 'package.module:callable', looked for in the current folder too.
        arguments: By name.

    Raises:
        ConfigError: There is no such function, or it takes other arguments.
        ModelError: It raised, or did not return a network.
    """
    given = dict(arguments or {})
    place, attribute = _parts(name)
    module = _module(place, name)
    try:
        function = operator.attrgetter(attribute)(module)
    except AttributeError as error:
        raise ConfigError(f"`factory={name}` was not found: {reason_of(error)}", _where_it_must_be(place)) from error
    if isinstance(function, nn.Module):
        return function
    _require_arguments(function, given, name)
    try:
        built = function(**given)
    except Exception as error:  # the user's code
        how = f"It is called with {', '.join(given)}" if given else "It is called without arguments"
        raise ModelError(f"the factory {name} failed: {reason_of(error)}", how) from error
    if not isinstance(built, nn.Module):
        raise ModelError(f"the factory {name} returned a {type(built).__name__}, not a torch.nn.Module")
    return built


def portable(name: str) -> str:
    """Return the name of a factory as a model file keeps it: for one in a file, without its folder."""
    place, colon, attribute = name.rpartition(":")
    return f"{Path(place).name}{colon}{attribute}" if place.endswith(".py") else name


def same_factory(asked: str | None, kept: str) -> bool:
    """Return whether the user and a model file name the same function."""
    return asked is not None and portable(asked) == portable(kept)


def source_of(name: str) -> Path | None:
    """Return the file of a factory that was called in this process, or None if it has none."""
    place, _ = _parts(name)
    if place.endswith(".py"):
        return Path(place).resolve()
    file = getattr(sys.modules.get(place), "__file__", None)
    return None if file is None else Path(file).resolve()


def _parts(name: str) -> tuple[str, str]:
    place, _, attribute = name.rpartition(":")
    if not (place and attribute):
        raise ConfigError(f"`factory={name}` is not of the form {_FORM}")
    return place, attribute


def _where_it_must_be(place: str) -> str:
    if place.endswith(".py"):
        return "Give the path of its file and the name of the function in it, as in net.py:build"
    return "It must be importable: from the current folder, an installed package, or with PYTHONPATH set to its folder"


def _module(place: str, name: str) -> ModuleType:
    """Import the user's module."""
    try:
        return _from_file(Path(place)) if place.endswith(".py") else _from_package(place)
    except (ImportError, FileNotFoundError) as error:
        raise ConfigError(f"`factory={name}` was not found: {reason_of(error)}", _where_it_must_be(place)) from error
    except Exception as error:  # importing runs the user's code
        raise ModelError(f"importing {place} for `factory` failed: {reason_of(error)}") from error


def _from_package(place: str) -> ModuleType:
    """Import a module by its name; the current folder is searched last, so that it hides no installed package."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    return importlib.import_module(place)


def _from_file(file: Path) -> ModuleType:
    """Import a module by its file; it can import modules in the same folder."""
    path = file.resolve()
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {file}")
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    # a name that is taken, such as that of an installed package, is left to whoever has it
    name = path.stem if known is None and importlib.util.find_spec(path.stem) is None else f"_factory_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no module of Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _require_arguments(function: Callable[..., Any], given: Mapping[str, Any], name: str) -> None:
    """Refuse arguments that a function does not take, and to leave out those that it needs.

    Raises:
        ConfigError: They do not fit.
    """
    try:
        signature = inspect.signature(function)
        signature.bind(**given)
    except TypeError as error:
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        takes = [parameter for parameter in signature.parameters.values() if parameter.kind in kinds]
        needed = [each.name for each in takes if each.default is each.empty and each.name not in given]
        if needed:
            text = f"the factory {name} needs {', '.join(needed)}"
            raise ConfigError(text, f"Add {' '.join(f'`factory_arg={each}=VALUE`' for each in needed)}") from error
        known = ", ".join(each.name for each in takes) or "no arguments"
        raise ConfigError(f"the factory {name} does not take these: {reason_of(error)}", f"It takes {known}") from error
    except ValueError:  # a builtin does not say what it takes
        return
