"""What a command prints: rich tables and bars on a terminal, plain lines elsewhere, one JSON object on request."""

import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from edgeprune.cli._verbosity import Verbosity
from edgeprune.protocols import Advance

_PLAIN_EVERY_S = 5.0


class Console:
    """Results go to standard output, all else to standard error. It is the `Progress` of protocols.py."""

    def __init__(self, verbosity: Verbosity) -> None:
        self.as_json = verbosity.as_json
        self.quiet = verbosity.quiet
        self._out = RichConsole(highlight=False, soft_wrap=not sys.stdout.isatty())
        self._err = RichConsole(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
        level = logging.DEBUG if verbosity.verbose else logging.WARNING
        logging.basicConfig(level=level, format="%(name)s: %(message)s")
        self._log: list[str] = []

    @property
    def log(self) -> str:
        """All stages and notes so far, one a line."""
        return "".join(f"{line}\n" for line in self._log)

    def stage(self, title: str, reused: bool = False) -> None:
        """Name the stage that begins; a reused one is marked."""
        self._log.append(f"{title}: reused" if reused else title)
        if not self.quiet:
            mark = "[dim]reused[/dim]  " if reused else "[bold cyan]▸[/bold cyan] " if self._err.is_terminal else "> "
            self._err.print(f"{mark}{escape(title)}")

    def note(self, text: str) -> None:
        """One indented line under the stage."""
        self._log.append(f"  {text}")
        if not self.quiet:
            self._err.print(f"  {escape(text)}")

    @contextmanager
    def track(self, label: str, total: int) -> Iterator[Advance]:
        """A bar on a terminal; elsewhere a line every few seconds."""
        if self.quiet:
            yield lambda _steps, _text: None
        elif self._err.is_terminal:
            with Progress(
                TextColumn("  {task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[text]}"),
                console=self._err,
                transient=True,
                auto_refresh=False,  # a refreshing thread would disturb what is measured meanwhile
            ) as bar:
                task = bar.add_task(label, total=total, text="")
                yield lambda steps, text: bar.update(task, advance=steps, text=text, refresh=True)
        else:
            yield _Plain(self._err, label, total)

    def json(self, plain: Any) -> None:
        """Print the one JSON object of --json."""
        sys.stdout.write(json.dumps(plain, indent=2, allow_nan=False) + "\n")

    def print(self, text: str = "") -> None:
        """Print a line of the result."""
        self._out.print(escape(text))

    def headline(self, text: str) -> None:
        """Print the line that matters most."""
        self._out.print(f"[bold]{escape(text)}[/bold]")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
        """Print a table; columns named in `right` are aligned right. Tab-separated when not on a terminal."""
        if not self._out.is_terminal:
            for row in (columns, *rows):
                sys.stdout.write("\t".join(row) + "\n")
            return
        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in columns:
            table.add_column(column, justify="right" if column in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        self._out.print(table)


class _Plain:
    """Progress as lines, at most one every few seconds, and always the last."""

    def __init__(self, console: RichConsole, label: str, total: int) -> None:
        self._console, self._label, self._total = console, label, total
        self._done, self._said = 0, 0.0

    def __call__(self, steps: int, text: str) -> None:
        self._done += steps
        now = time.monotonic()
        if self._done >= self._total or now - self._said > _PLAIN_EVERY_S:
            self._said = now
            self._console.print(escape(f"  {self._label} {self._done}/{self._total} {text}".rstrip()))
