"""The table as text, the same for HTML, Markdown and LaTeX: the paper's columns, then measured ones. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from edgeprune.compare.document import Comparison, Stat, TableRow
from edgeprune.text import numerals as n

HEADER = (
    "#",
    "Method",
    "Original, %",
    "Pruned, %",
    "Δ, points",
    "ΔFLOPs",
    "ΔParams",
    "FLOPs PR, %",
    "Params PR, %",
    "MACs",
    "Latency, ms",
    "Speed-up",
)
COSTS = ("#", "Method", "Parameters", "MACs", "FLOPs (paper)")
NOTES = (
    "Mean ± sample standard deviation over seeds; no ± means one seed, or no difference between seeds.",
    "Original and pruned: top-1 accuracy on the test split. PR: pruning ratio, the share that was removed.",
    "FLOPs as the paper counts them: multiply-accumulates and two operations for each output of batch norm (thop, "
    "evaluation mode). MACs: multiply-accumulates only.",
    "Latency of the unpruned network: the median of all its measurements. Latency of the others: that median divided "
    "by the speed-up. The speed-up is measured in turns after all training: machine drift between cells cancels.",
)
_PREFIXES = ((1e9, " G"), (1e6, " M"), (1e3, " k"))


@dataclass(frozen=True)
class Line:
    """One line of the table: its texts, one for each column, and the columns in which it is the best of its group."""

    row: TableRow
    cells: tuple[str, ...]
    best: frozenset[int]


@dataclass(frozen=True)
class ColumnGroup:
    """Lines that are compared with one another, under one title."""

    title: str
    lines: tuple[Line, ...]


def groups(comparison: Comparison) -> list[ColumnGroup]:
    """Group the table by data set, model and ratio."""
    found = groupby(
        comparison.rows, key=lambda row: (row.data, row.subject if row.before is not None else "", row.ratio)
    )
    return [_group(list(rows)) for _, rows in found]


def costs(comparison: Comparison) -> list[tuple[str, ...]]:
    """List the cost of each row's network, in absolute numbers."""
    return [
        (str(row.number), name(row), *(_counted(figure) for figure in (row.params, row.macs, row.flops)))
        for row in comparison.rows
    ]


def name(row: TableRow) -> str:
    """Name a row by its model, method and ratio, for use outside the table."""
    if row.kind == "unpruned":
        return f"{row.subject}, unpruned"
    if row.kind == "network":
        return f"{row.method}, from scratch"
    return f"{row.subject}, {row.method}" + (f", {share(row.ratio)}" if row.ratio is not None else "")


def share(ratio: float) -> str:
    """Format a share of units as '67 %'."""
    return f"{100 * ratio:.4g} %"


def findings(comparison: Comparison) -> list[str]:
    """State the result of each group of several methods, one sentence for each."""
    said = []
    for group in groups(comparison):
        rows = [line.row for line in group.lines if line.row.kind != "unpruned"]
        if len(rows) > 1:
            best = max(row.top1.mean for row in rows)
            right, fast = [row for row in rows if row.top1.mean == best], min(rows, key=lambda row: row.latency_ms.mean)
            quick = "and the fastest" if right == [fast] else f"{fast.method} the fastest"
            accurate = f"{_most_accurate(right, rows)} ({percent(right[0].top1)} %)"
            said.append(f"{group.title}: {accurate}, {quick} ({latency(fast.latency_ms)} ms)")
    front = [name(row) for row in sorted(comparison.rows, key=lambda row: row.latency_ms.mean) if row.on_front]
    said.append(f"Pareto-optimal: {'; '.join(front)}")
    return said


def _most_accurate(best: Sequence[TableRow], rows: Sequence[TableRow]) -> str:
    if len(best) == 1:
        return f"{best[0].method} is the most accurate"
    if len(best) == len(rows):
        return f"all {len(rows)} methods are equally accurate"
    return f"{' and '.join(row.method for row in best)} are the most accurate"


def _group(rows: Sequence[TableRow]) -> ColumnGroup:
    first = rows[0]
    if first.kind != "network" and first.ratio is None:
        title = f"{first.subject} on {first.data}, nothing removed"
    elif first.kind == "network":
        title = f"Trained from scratch on {first.data}"
    else:
        assert first.ratio is not None
        title = f"{first.subject} on {first.data}, {share(first.ratio)} of the units removed"
    right = max(row.top1.mean for row in rows)
    fast = min(row.latency_ms.mean for row in rows)
    lines = []
    for row in rows:
        best = set()
        if len(rows) > 1 and (row.ratio is not None or row.kind == "network"):
            best |= {3} if row.top1.mean == right else set()
            best |= {10} if row.latency_ms.mean == fast else set()
        lines.append(Line(row, _cells(row), frozenset(best)))
    return ColumnGroup(title, tuple(lines))


def _cells(row: TableRow) -> tuple[str, ...]:
    seeds = len(row.cells)
    method = row.method + (f" ({seeds} of {seeds + row.failed} seeds)" if row.failed else "")
    return (
        str(row.number),
        method,
        "" if row.before is None else f"{100 * row.before:.2f}",
        "" if row.kind == "unpruned" else percent(row.top1),
        "" if row.change is None else _signed(row.change, 100, 2),
        "" if row.flops_change is None else _counted(row.flops_change),
        "" if row.params_change is None else _counted(row.params_change),
        "" if row.flops_removed is None else _signed(row.flops_removed, 100, 1, plus=False),
        "" if row.params_removed is None else _signed(row.params_removed, 100, 1, plus=False),
        _counted(row.macs),
        latency(row.latency_ms),
        "" if row.speedup is None else f"{_signed(row.speedup, 1, 2, plus=False)}×",
    )


def percent(figure: Stat) -> str:
    """Format a share in percent without the sign, '93.05 ± 0.12'."""
    return _signed(figure, 100, 2, plus=False)


def _signed(figure: Stat, factor: float, decimals: int, plus: bool = True) -> str:
    mean = n.signed(f"{factor * figure.mean:{'+' if plus else ''}.{decimals}f}")
    return mean + _spread(figure, factor, decimals)


def _spread(figure: Stat, factor: float, decimals: int) -> str:
    return f" ± {factor * figure.sd:.{decimals}f}" if figure.sd else ""


def _counted(figure: Stat) -> str:
    """Format a large count with two decimals and a prefix, a count below a thousand with all its digits."""
    for factor, prefix in _PREFIXES:
        if abs(figure.mean) >= factor:
            return _signed(figure, 1 / factor, 2, plus=False) + prefix
    return _signed(figure, 1, 0, plus=False)


def latency(figure: Stat) -> str:
    """Format milliseconds with at least three significant digits."""
    decimals = 4 if figure.mean < 1 else 3 if figure.mean < 10 else 2
    return _signed(figure, 1, decimals, plus=False)
