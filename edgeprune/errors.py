"""Errors that a user can meet, each with its exit code.

    EdgepruneError        70  a bug in edgeprune, unless it is one of these
    ├── ConfigError        2  a setting, an option, a file that cannot be written
    ├── ModelError         3  the network, its checkpoint or its export
    ├── DataError          3  the frames, their labels, or how they fit the network
    └── DeviceError        4  the device that should measure

A message says what was found and what is allowed; the hint says what to do. Both name a parameter in backquotes, alone
or with its value: `keep_ratio`, `keep_ratio=2`. The command line shows its option in that place.
"""

import difflib
import re
from collections.abc import Iterable

from edgeprune.text.printable import bounded, printable

_MARKS = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : |\[enforce fail at [^\]]*\]\s*\.?\s*")
"""Prefixes of messages of ONNX Runtime and PyTorch."""
_NEAR = 0.5  # share of letters in common, from which a name may be a slip


class EdgepruneError(Exception):
    """Base of every error a user can meet.

    Args:
        message: One line: what was found, and what was expected.
        hint: One line: what to do about it; empty if the message says it.
    """

    exit_code = 70

    def __init__(self, message: str, hint: str = "") -> None:
        message = _one_line(message)
        super().__init__(message)
        self.message = message
        self.hint = _one_line(hint)

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class ConfigError(EdgepruneError):
    """A setting or an option is wrong, or a file cannot be written."""

    exit_code = 2


class ModelError(EdgepruneError):
    """The network cannot be read, understood or exported."""

    exit_code = 3


class DataError(EdgepruneError):
    """The frames cannot be read or do not fit the network."""

    exit_code = 3


class DeviceError(EdgepruneError):
    """The device cannot be reached or cannot measure."""

    exit_code = 4


def reason_of(error: BaseException) -> str:
    """Describe a foreign error by its first line without its library's marks, or by its type if it has no message."""
    lines = [_MARKS.sub("", line).strip() for line in str(error).strip().splitlines()]
    return next(filter(None, lines), type(error).__name__)


def _one_line(text: str) -> str:
    """Shorten a text to one line; names and paths from outside may hold line breaks and whole files."""
    return bounded(printable(" ".join(text.splitlines())))


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """Make the error for an unknown name, with the nearest known one."""
    names = sorted(known)
    likeness = {each: difflib.SequenceMatcher(None, each, name).ratio() for each in names}
    near = max(names, key=likeness.__getitem__, default="")  # the first of equally near ones
    suggestion = f"Did you mean {near!r}? " if likeness.get(near, 0) >= _NEAR else ""
    return ConfigError(f"no {kind} is named {name!r}", f"{suggestion}Known: {', '.join(names)}")
