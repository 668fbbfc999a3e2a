"""TOML files written by people: reading, and errors in one line."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgeprune.errors import ConfigError, reason_of, unknown_name
from edgeprune.files.bounds import MOST_DEPTH, MalformedError, claimed, refuse_deep

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MOST_BYTES = 1 << 20
_BITS = 64
Place = tuple[int | str, ...]


def read(path: Path, what: str) -> dict[str, Any]:
    """Read the tables and values of a file.

    Args:
        path: Path of the file.
        what: Kind of file, for messages: 'target'.

    Raises:
        ConfigError: Missing, or not TOML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError(f"no such {what} file: {path}") from error
    except (OSError, ValueError) as error:  # a zero byte in a name is a ValueError
        raise ConfigError(f"{path} is not a TOML file: {reason_of(error)}") from error
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"{path} is larger than {_MOST_BYTES} bytes; no {what} file is")
    with claimed(path, "a TOML file", ConfigError):
        dots = max(line.count(b".") for line in content.split(b"\n"))
        if dots > MOST_DEPTH:  # tomllib takes the square of that in time and memory
            raise MalformedError(f"a line of it holds {dots} dots; allowed are {MOST_DEPTH}")
        found = tomllib.loads(content.decode("utf-8"))
        refuse_deep(found)
        _refuse_large_integers(found)
        return found


def _refuse_large_integers(plain: Any, *place: int | str) -> None:
    """Refuse integers beyond the 64 bits of TOML, which Python would read."""
    if isinstance(plain, int) and plain.bit_length() >= _BITS:
        raise MalformedError(f"{'.'.join(map(str, place))} is an integer of more than {_BITS} bits")
    within = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, value in within:
        _refuse_large_integers(value, *place, key)


def problem(source: str, error: ValidationError, known: Callable[[Place], Iterable[str]]) -> ConfigError:
    """Build the error for the first problem in a file.

    Args:
        source: Name of the file.
        error: Error of pydantic.
        known: Allowed keys at the place of an unknown one.
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
