"""Results as tables: on a terminal, as aligned text in Python, and as HTML in a notebook."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgeprune.records.pruning import LayerChain, PrunePlan
from edgeprune.records.results import Accuracy, BenchReport
from edgeprune.text import numerals as n
from edgeprune.text.printable import line

_MOST_ROWS = 60


@dataclass(frozen=True)
class Table:
    """Rows under a headline.

    Attributes:
        headline: Summary of the rows in one line.
        columns: Names of the columns.
        rows: Rows of texts, one for each column.
        right: Columns that are aligned right.
    """

    headline: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[str] = ()

    def text(self) -> str:
        """Write the table in plain text, at most sixty rows."""
        shown = [[line(cell) for cell in row] for row in (self.columns, *self.rows[:_MOST_ROWS])]
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if name in self.right else cell.ljust(width)
                for cell, width, name in zip(row, widths, self.columns, strict=True)
            ).rstrip()
            for row in shown
        ]
        return "\n".join([line(self.headline), *lines, *self._rest])

    def html(self) -> str:
        """Write the table as HTML with all text escaped, at most sixty rows."""

        def cells(tag: str, row: Sequence[str]) -> str:
            aligned = ("right" if name in self.right else "left" for name in self.columns)
            return "".join(
                f'<{tag} style="text-align:{side}">{html.escape(line(cell))}</{tag}>'
                for cell, side in zip(row, aligned, strict=True)
            )

        rows = "".join(f"<tr>{cells('td', row)}</tr>" for row in self.rows[:_MOST_ROWS])
        rest = "".join(f"<p>{each}</p>" for each in self._rest)
        return (
            f"<p><b>{html.escape(line(self.headline))}</b></p><table><thead><tr>{cells('th', self.columns)}</tr>"
            f"</thead><tbody>{rows}</tbody></table>{rest}"
        )

    @property
    def _rest(self) -> list[str]:
        return [f"… and {len(self.rows) - _MOST_ROWS} more"] if len(self.rows) > _MOST_ROWS else []


def of_units(chain: LayerChain) -> Table:
    """Make the table of a network's units, with how each can be dropped, or why it cannot."""
    headline = (
        f"{len(chain.units)} units, {len(chain.droppable)} droppable; {chain.params:,} parameters, {chain.macs:,} MACs"
    )
    rows = [
        (
            str(unit.index),
            unit.path,
            unit.kind,
            "×".join(map(str, unit.in_shape)),
            "×".join(map(str, unit.out_shape)),
            f"{unit.params:,}",
            f"{unit.macs:,}",
            unit.drop or "no",
            unit.reason,
        )
        for unit in chain.units
    ]
    columns = ("unit", "path", "kind", "in", "out", "params", "MACs", "drop", "reason")
    return Table(headline, columns, rows, right=("unit", "params", "MACs"))


def of_plan(plan: PrunePlan) -> Table:
    """Make the table of a plan: every decision with its reason."""
    rows = [
        (
            str(each.index),
            each.path,
            str(each.segment),
            "" if each.score is None else f"{each.score:.4g}",
            "keep" if each.kept else "drop",
            each.reason,
        )
        for each in plan.decisions
    ]
    headline = f"keeps {len(plan.kept)} of {len(plan.decisions)} units"
    return Table(headline, ("unit", "path", "segment", "score", "", "reason"), rows, ("unit", "segment", "score"))


def of_accuracy(found: Accuracy, what: Literal["SNR in dB", "class"]) -> Table:
    """Make the table of accuracy at each SNR or for each class, under that of all frames."""
    low, high = found.ci95
    headline = f"{found.top1:.2%} of {found.frames} {found.split} frames (95 % interval {low:.2%} to {high:.2%})"
    rows = [
        (name, f"{rate.top1:.2%}", f"{rate.ci95[0]:.2%} to {rate.ci95[1]:.2%}", str(rate.frames))
        for name, rate in (found.by_snr if what == "SNR in dB" else found.by_class).items()
    ]
    columns = (what, "top-1", "95 % interval", "frames")
    return Table(headline, columns, rows, columns[1:])


def of_latency(measured: BenchReport, names: Sequence[str]) -> Table:
    """Make the table of latencies, under a sentence on the speed-up that claims no more than was measured."""

    def ms(value: float | None) -> str:
        return "too few samples" if value is None else f"{value:.4f}"

    summaries = [summary for summary in (measured.baseline, measured.pruned) if summary]
    rows = [
        (name, ms(each.median_ms), ms(each.p90_ms), ms(each.p99_ms), f"{each.samples:,}")
        for name, each in zip(names, summaries, strict=True)
    ]
    headline = f"{names[0]} takes {n.milliseconds(measured.baseline.median_ms)} in the median"
    if measured.speedup is not None and measured.speedup_ci95 is not None:
        low, high = measured.speedup_ci95
        interval = f"95 % interval {low:.3f} to {high:.3f}"
        if measured.processes is not None and measured.processes < measured.rounds:
            interval += f" over {measured.processes} process{'es' if measured.processes > 1 else ''}"
        shown = "" if low > 1 else " No speed-up was shown."
        headline = f"{names[1]} is {measured.speedup:.3f} times as fast ({interval}).{shown}"
    columns = ("model", "median ms", "p90 ms", "p99 ms", "samples")
    return Table(headline, columns, rows, columns[1:])
