"""Output of a command: tables and bars on a terminal, plain lines elsewhere, one JSON object on request.

Rich is imported only for a terminal.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from edgeprune.text.printable import line

if TYPE_CHECKING:
    from edgeprune.protocols import Advance


@dataclass
class Verbosity:
    """The global options, from before or after the command's name."""

    verbose: bool = False
    quiet: bool = False
    as_json: bool = False


_PLAIN_EVERY_S = 5.0
_ASKING_FOR_RICH = ("FORCE_COLOR", "TTY_COMPATIBLE")  # with one of these set, rich treats a file as a terminal


class Paper(Protocol):
    """Destination of the lines: a terminal, or a file or pipe."""

    def stage(self, title: str, reused: bool, place: str = "") -> None:
        """Print the line of a stage."""
        ...

    def line(self, text: str, bold: bool = False) -> None:
        """Any other line."""
        ...

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
        """Print a table; columns named in `right` are aligned right."""
        ...

    def track(self, label: str, total: int) -> "AbstractContextManager[Advance]":
        """Work of `total` steps."""
        ...


class Console:
    """Results go to standard output, all else to standard error. It is the `Progress` of protocols.py."""

    def __init__(self, verbosity: Verbosity) -> None:
        self.as_json = verbosity.as_json
        self.quiet = verbosity.quiet
        self._out, self._err = _paper(sys.stdout), _paper(sys.stderr)
        level = logging.DEBUG if verbosity.verbose else logging.WARNING
        logging.basicConfig(level=level, handlers=[_log_handler()])
        logging.captureWarnings(capture=True)
        self._log: list[str] = []
        self._waiting: list[str] = []

    @property
    def log(self) -> str:
        """All stages and notes so far, one on each line."""
        return "".join(f"{line}\n" for line in self._log)

    def stage(self, title: str, reused: bool = False, place: str = "") -> None:
        """Name the stage that begins; a reused one is marked. `place` says where it is in the job."""
        self._say_waiting()
        self._log.append(line(f"{title}: reused" if reused else title))
        if not self.quiet:
            self._err.stage(title, reused, place)

    def note(self, text: str) -> None:
        """Print an indented line under the stage."""
        self._say(text)
        self._say_waiting()

    def later(self, text: str) -> None:
        """Print an indented line after the next one: the first line of a command names its frames."""
        self._waiting.append(text)

    def _say_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for text in waiting:
            self._say(text)

    def _say(self, text: str) -> None:
        self._log.append(line(f"  {text}"))
        if not self.quiet:
            self._err.line(f"  {text}")

    def track(self, label: str, total: int) -> "AbstractContextManager[Advance]":
        """Show a bar on a terminal; elsewhere, print a line every few seconds."""
        return nullcontext(_unsaid) if self.quiet else self._err.track(label, total)

    def json(self, plain: Any) -> None:
        """Print the one JSON object of --json."""
        self._say_waiting()
        text = json.dumps(plain, indent=2, allow_nan=False)
        sys.stdout.write(text.replace("##", "#\\u0023") + "\n")  # runners obey `##[` wherever it stands

    def print(self, text: str = "") -> None:
        """Print a line of the result."""
        self._say_waiting()
        self._out.line(text)

    def headline(self, text: str) -> None:
        """Print the line that matters most."""
        self._say_waiting()
        self._out.line(text, bold=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
        """Print a table; columns named in `right` are aligned right. Tab-separated when not on a terminal."""
        self._say_waiting()
        self._out.table(columns, rows, right)


class _Plain:
    """Lines in a file or a pipe."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def stage(self, title: str, reused: bool, place: str = "") -> None:
        self.line((f"reused  {title}" if reused else f"> {title}") + (f" ({place})" if place else ""))

    def line(self, text: str, bold: bool = False) -> None:  # noqa: ARG002 (there is no bold here)
        self._stream.write(f"{line(text)}\n")
        self._stream.flush()

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:  # noqa: ARG002 (tabs)
        for row in (columns, *rows):
            self._stream.write(f"{line(*row)}\n")

    def track(self, label: str, total: int) -> "AbstractContextManager[Advance]":
        return nullcontext(_Counted(self, label, total))


class _Counted:
    """Progress as lines, at most one every few seconds, and always the last."""

    def __init__(self, paper: _Plain, label: str, total: int) -> None:
        self._paper, self._label, self._total = paper, label, total
        self._done, self._said = 0, 0.0

    def __call__(self, steps: int, text: str) -> None:
        self._done += steps
        now = time.monotonic()
        if self._done >= self._total or now - self._said > _PLAIN_EVERY_S:
            self._said = now
            self._paper.line(f"  {self._label} {self._done}/{self._total} {text}".rstrip())


def _unsaid(_steps: int, _text: str) -> None:
    """Ignore progress."""


class _Lines(logging.Formatter):
    """Formatter that marks each line as a log message or warning of a library."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return "\n".join(f"| {line(text)}" for text in super().format(record).splitlines())


def _log_handler() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines("%(name)s: %(message)s"))
    return handler


def _paper(stream: TextIO) -> Paper:
    if not stream.isatty() and not any(os.environ.get(name) for name in _ASKING_FOR_RICH):
        return _Plain(stream)
    from edgeprune.cli._terminal import Terminal

    return Terminal(stream)
