"""Plot of accuracy against measured latency with the Pareto front, one panel for each data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from edgeprune.compare.document import Comparison, TableRow
from edgeprune.compare.grid.grid import REFERENCE
from edgeprune.compare.report import columns, labels
from edgeprune.compare.report.labels import Label
from edgeprune.report.plots import canvas
from edgeprune.report.plots.canvas import Drawing, Plot
from edgeprune.text import numerals as n

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "layers": canvas.PRUNED,
    "channels": "#d55e00",
    "network": "#009e73",
    "none": canvas.BASELINE,
    "unpruned": canvas.INK,
}
_KINDS = {
    "layers": "layers dropped",
    "channels": "channels dropped",
    "network": "trained from scratch",
    "none": "nothing dropped, fine-tuned",
    "unpruned": "unpruned",
}
_MARKERS = "osD^vPX"
_DEEPEST = 0.15  # accuracies further below the best than this are drawn at the edge
_MOST_DEEP = 1 / 3  # unless they are more than this share of the points
_WIDE = 4.0  # ratio of latencies from which on their axis is logarithmic
_SIZE_PT = 9.5


@dataclass(frozen=True)
class _Panel:
    """The points of one data set, each with the accuracy in % at which it is drawn, and the limits of that axis."""

    title: str
    points: tuple[tuple[TableRow, float], ...]
    ends: tuple[float, float]

    @property
    def rows(self) -> list[TableRow]:
        return [row for row, _ in self.points]


def plot(comparison: Comparison) -> Plot:
    """Make the plot of the page and of pareto.svg."""
    found = [_panel(data, list(rows)) for data, rows in groupby(comparison.rows, key=lambda row: row.data)]

    def paint(figure: "Figure") -> None:
        drawn = list(zip(figure.subplots(len(found), 1, squeeze=False)[:, 0], found, strict=True))
        for axes, panel in drawn:
            _draw(axes, panel, panel.title if len(found) > 1 else "")
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for axes, panel in drawn:
            labels.place(axes, _labels(panel), _SIZE_PT)

    front = "; ".join(_described(row) for row in comparison.rows if row.on_front)
    return Plot(
        "pareto",
        "Accuracy against measured latency",
        "Left and up is better. Numbers are the rows of the table; bars are one standard deviation over the seeds. "
        "The line joins the Pareto-optimal rows; a triangle marks an accuracy below the plot.",
        f"Top-1 accuracy against latency of {len(comparison.rows)} rows. On the front: {front}.",
        Drawing("pareto", (12.0, 5.6 * len(found)), paint),
        wide=True,
    )


def deep(rows: Sequence[TableRow]) -> list[TableRow]:
    """Select the rows so far below the best that they would squeeze a plot; at most a third, none on the front."""
    deepest = max(row.top1.mean for row in rows) - _DEEPEST
    found = [row for row in rows if row.top1.mean < deepest and not row.on_front]
    return found if len(found) <= _MOST_DEEP * len(rows) else []


def _described(row: TableRow) -> str:
    return f"{columns.name(row)}: {columns.percent(row.top1)} % at {columns.latency(row.latency_ms)} ms"


def _panel(title: str, rows: Sequence[TableRow]) -> _Panel:
    """Choose the height of each row; rows far below the best are drawn at the lower edge."""
    shown = [row for row in rows if row not in deep(rows)]
    lowest = min(100 * (row.top1.mean - (row.top1.sd or 0)) for row in shown)
    highest = max(100 * (row.top1.mean + (row.top1.sd or 0)) for row in shown)
    room = 0.08 * max(highest - lowest, 0.5)
    bottom = lowest - room * (2.5 if len(shown) < len(rows) else 1)
    points = tuple((row, 100 * row.top1.mean if row in shown else bottom + 0.6 * room) for row in rows)
    return _Panel(title, points, (bottom, highest + 1.5 * room))


def _draw(axes: "Axes", panel: _Panel, title: str) -> None:
    subjects = list(dict.fromkeys(row.subject for row in panel.rows if row.kind != "network"))
    for row, height in panel.points:
        marker = _MARKERS[subjects.index(row.subject) % len(_MARKERS)] if row.subject in subjects else "*"
        _point(axes, row, height, marker)
    front = sorted((row for row in panel.rows if row.on_front), key=lambda row: row.latency_ms.mean)
    line: dict[str, Any] = {"color": canvas.ACCENT, "linewidth": 1.2, "alpha": 0.6, "zorder": 1}
    axes.plot([row.latency_ms.mean for row in front], [100 * row.top1.mean for row in front], **line)
    axes.set_ylim(*panel.ends)
    _latency_axis(axes, [row.latency_ms.mean for row in panel.rows])
    axes.set(xlabel="latency, ms", ylabel="top-1 accuracy, %", title=title)
    _legend(axes, panel.rows, subjects)


def _below(row: TableRow, height: float) -> bool:
    return height != 100 * row.top1.mean


def _point(axes: "Axes", row: TableRow, height: float, marker: str) -> None:
    colour, below = COLOURS[row.kind], _below(row, height)
    filled = row.method == REFERENCE or row.kind in ("unpruned", "network")
    look: dict[str, Any] = {
        "marker": "v" if below else marker,
        "markersize": (10 if marker == "*" else 7) + row.on_front,
        "markerfacecolor": colour if filled else canvas.PAPER,
        "markeredgecolor": colour,
        "markeredgewidth": 1.5,
        "linestyle": "none",
        "ecolor": colour,
        "elinewidth": 1.0,
        "zorder": 3,
    }
    across, up = row.latency_ms.sd or 0.0, 0.0 if below else 100 * (row.top1.sd or 0.0)
    axes.errorbar([row.latency_ms.mean], [height], yerr=up, xerr=across, **look)


def _latency_axis(axes: "Axes", values_ms: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    low, high = min(values_ms), max(values_ms)
    if high / low < _WIDE:
        axes.margins(x=0.08)
        return
    axes.set_xscale("log")
    axes.set_xlim(low / 1.25, high * 1.35)
    ticks = [step * 10.0**power for power in range(-6, 7) for step in (1, 2, 5)]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low / 1.25 <= tick <= high * 1.35]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _labels(panel: _Panel) -> list[Label]:
    """Label each row with its number, on the front also with its name, and at the lower edge with its accuracy."""
    found = []
    for row, height in sorted(panel.points, key=lambda point: not point[0].on_front):
        text = str(row.number)
        if row.on_front or row.method == REFERENCE:
            text += f" {canvas.shorten(row.method)}" + (f" {columns.share(row.ratio)}" if row.ratio else "")
        if _below(row, height):
            text += f": {n.percent(row.top1.mean)}"
        found.append(Label(row.latency_ms.mean, height, text, bold=row.on_front))
    return found


def _legend(axes: "Axes", rows: Sequence[TableRow], subjects: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    kinds = [kind for kind in _KINDS if any(row.kind == kind for row in rows)]
    handles = [Line2D([], [], marker="o", linestyle="none", color=COLOURS[kind], label=_KINDS[kind]) for kind in kinds]
    if len(subjects) > 1:
        handles += [
            Line2D([], [], marker=_MARKERS[place % len(_MARKERS)], linestyle="none", color=canvas.MUTED, label=subject)
            for place, subject in enumerate(map(canvas.shorten, subjects))
        ]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=4)
