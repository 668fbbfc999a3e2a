"""Files that people write in TOML: read, and what is wrong in one told in a line."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgeprune.errors import ConfigError, unknown_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Place = tuple[int | str, ...]


def read(path: Path, what: str) -> dict[str, Any]:
    """The tables and values of a file.

    Args:
        path: Of the file.
        what: It is, for messages: 'target'.

    Raises:
        ConfigError: Missing, or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"no such {what} file: {path}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error}") from error


def problem(source: str, error: ValidationError, known: Callable[[Place], Iterable[str]]) -> ConfigError:
    """The error for the first thing that is wrong in a file.

    Args:
        source: Names the file.
        error: What pydantic says of it.
        known: The keys that are allowed where an unknown one was found.
    """
    first = error.errors()[0]
    place = tuple(part for part in first["loc"] if part != "auto")  # an alternative of a value, and not a key
    where = ".".join(map(str, place)) or "the file"
    if first["type"] == "extra_forbidden":
        return unknown_name(f"key of {source}", str(place[-1]), known(place))
    if first["type"] == "value_error":  # a check of ours, which says what it found
        return ConfigError(": ".join([source, *map(str, place), str(first["ctx"]["error"])]))
    found = "" if first["type"] == "missing" else f", found {first['input']!r:.60}"
    return ConfigError(f"{source}: {where}: {first['msg']}{found}")
