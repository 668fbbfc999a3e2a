"""Lines, tables and bars on a terminal, drawn by rich."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Task as ProgressTask
from rich.table import Table
from rich.text import Text

from edgeprune.text.printable import line as printed_line

if TYPE_CHECKING:
    from rich.console import JustifyMethod

    from edgeprune.protocols import Advance

_WIDE = 10_000


class _TimeLeft(TimeRemainingColumn):
    """Time left, or nothing as long as it is not known."""

    def render(self, task: ProgressTask) -> Text:
        """Draw the time left of a task."""
        return Text() if task.time_remaining is None else super().render(task)


class Terminal:
    """A `Paper` on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        watched = stream.isatty()  # a file that is colored all the same must not be wrapped
        self._console = Console(file=stream, highlight=False, soft_wrap=not watched, width=None if watched else _WIDE)

    def stage(self, title: str, reused: bool, place: str = "") -> None:
        """Print the line of a stage."""
        mark = "[dim]reused[/dim]  " if reused else "[bold cyan]▸[/bold cyan] "
        where = f" [dim]({escape(place)})[/dim]" if place else ""
        self._console.print(f"{mark}{escape(printed_line(title))}{where}")

    def line(self, text: str, bold: bool = False) -> None:
        """Any other line."""
        text = escape(printed_line(text))
        self._console.print(f"[bold]{text}[/bold]" if bold else text)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
        """Print a table; columns named in `right` are aligned right."""
        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in columns:
            side: JustifyMethod = "right" if column in right else "left"
            table.add_column(escape(printed_line(column)), justify=side, overflow="fold")
        for row in rows:
            table.add_row(*(escape(printed_line(cell)) for cell in row))
        self._console.print(table)

    @contextmanager
    def track(self, label: str, total: int) -> "Iterator[Advance]":
        """Show a bar that disappears when the work is done."""
        with Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _TimeLeft(),
            TextColumn("{task.fields[text]}"),
            console=self._console,
            transient=True,
            auto_refresh=False,  # a refreshing thread would disturb measurements
        ) as bar:
            task = bar.add_task(escape(printed_line(label)), total=total, text="")
            yield lambda steps, text: bar.update(task, advance=steps, text=escape(printed_line(text)), refresh=True)
