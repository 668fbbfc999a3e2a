"""The plots beside the Pareto plot: accuracy by method, training curves, kept units."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprune.compare.document import CellFigures, Comparison, TableRow
from edgeprune.compare.report import columns
from edgeprune.compare.report.pareto import COLOURS, deep
from edgeprune.report.plots import canvas
from edgeprune.report.plots.canvas import Drawing, Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CYCLE = (canvas.PRUNED, "#d55e00", "#009e73", "#cc79a7", canvas.INK, canvas.BASELINE)
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
_MOST_NUMBERED_UNITS = 40
_PALE = 0.6  # share of the seeds up to which a strip's blue carries dark numbers
Panel = tuple[str, list[TableRow]]


def chosen_plots(comparison: Comparison) -> list[Plot]:
    """Make the requested plots, and that of accuracy by method if there are several methods."""
    panels = _panels(comparison)
    several = [panel for panel in panels if len(panel[1]) > 1]
    drawn = [methods(comparison, several)] if several else []
    if "curves" in comparison.plots and any(cell.curve for cell in comparison.cells):
        drawn.append(curves(comparison, panels))
    if "kept" in comparison.plots and any(cell.kept is not None for cell in comparison.cells):
        drawn.append(kept(comparison))
    return drawn


def _panels(comparison: Comparison) -> list[Panel]:
    """Group the rows as the table does, without the unpruned networks."""
    found = [
        (group.title, [line.row for line in group.lines if line.row.kind != "unpruned"])
        for group in columns.groups(comparison)
    ]
    return [panel for panel in found if panel[1]]


def methods(comparison: Comparison, panels: Sequence[Panel]) -> Plot:
    """Plot the accuracy of every method with its seeds, and the unpruned network as a line."""
    top1 = {cell.id: 100 * cell.top1 for cell in comparison.cells}
    most = [max(len(rows) for _, rows in panels[at : at + 2]) for at in range(0, len(panels), 2)]

    def paint(figure: "Figure") -> None:
        for at, (axes, (title, rows)) in enumerate(zip(_grid(figure, len(panels), most), panels, strict=True)):
            for place, row in enumerate(rows):
                _method(axes, place, row, None if row in deep(rows) else [top1[cell] for cell in row.cells])
            if rows[0].before is not None:
                axes.axvline(100 * rows[0].before, color=canvas.INK, linewidth=1, linestyle=":")
            axes.set_yticks(range(len(rows)), [canvas.shorten(row.method) for row in rows])
            axes.set_ylim(most[at // 2] - 0.4, -0.6)
            axes.set(title=title, xlabel="top-1 accuracy, %")

    told = ". ".join(f"{title}: {', '.join(map(_described, rows))}" for title, rows in panels)
    return Plot(
        "methods",
        "Accuracy of each method",
        "Diamonds are means with one standard deviation, and dots above them are single seeds. The dotted line is "
        "the unpruned network. A value far below the best is a number at the left.",
        f"Accuracy of each method. {told}.",
        Drawing("methods", (12.0, sum(1.2 + 0.34 * rows for rows in most)), paint),
        wide=True,
    )


def _method(axes: "Axes", place: int, row: TableRow, seeds: Sequence[float] | None) -> None:
    """Draw one method with its seeds, or as a number if `seeds` is None: it is too far down for the plot."""
    if seeds is None:
        text = f"◁ {columns.percent(row.top1)}"
        axes.annotate(text, (0, place), (4, 0), ("axes fraction", "data"), "offset points", va="center_baseline")
        return
    axes.plot(seeds, [place - 0.25] * len(seeds), "o", markersize=3, color=canvas.MUTED)
    look: dict[str, Any] = {"color": COLOURS[row.kind], "markersize": 6, "capsize": 3}
    axes.errorbar([100 * row.top1.mean], [place], xerr=100 * (row.top1.sd or 0), fmt="D", **look)


def _described(row: TableRow) -> str:
    return f"{row.method} {columns.percent(row.top1)} %"


def curves(comparison: Comparison, panels: Sequence[Panel]) -> Plot:
    """Plot the accuracy on the validation split over the epochs, mean and range over the seeds."""
    by_id = {cell.id: cell for cell in comparison.cells}

    lines = (len(panels) + 1) // 2

    def paint(figure: "Figure") -> None:
        for axes, (title, rows) in zip(_grid(figure, len(panels), [1] * lines), panels, strict=True):
            for place, row in enumerate(rows):
                _curve(axes, [by_id[cell] for cell in row.cells], place, row.method)
            canvas.whole_numbers(axes.xaxis)
            axes.set(title=title, xlabel="epoch", ylabel="top-1 on validation, %")
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=4, handlelength=3.2)

    return Plot(
        "curves",
        "Training curves",
        "Lines are means over the seeds; the shade around them spans the lowest to the highest.",
        f"Accuracy on the validation split over the epochs, for {len(comparison.rows)} rows of the table.",
        Drawing("curves", (12.0, 4.4 * lines), paint),
        wide=True,
    )


def _curve(axes: "Axes", cells: Sequence[CellFigures], place: int, label: str) -> None:
    epochs = [epoch.epoch for epoch in cells[0].curve]
    top1 = 100 * np.array([[epoch.validation_top1 for epoch in cell.curve] for cell in cells])
    dash = _DASHES[place // len(_CYCLE) % len(_DASHES)]
    look: dict[str, Any] = {"color": _CYCLE[place % len(_CYCLE)], "linestyle": dash}
    axes.plot(epochs, top1.mean(axis=0), label=label, marker="o" if len(epochs) < 4 else "", **look)
    axes.fill_between(epochs, top1.min(axis=0), top1.max(axis=0), color=look["color"], alpha=0.15, linewidth=0)


def kept(comparison: Comparison) -> Plot:
    """Plot the chain of units, one strip for each row: the kept units, shaded by the share of seeds that keep them."""
    by_id = {cell.id: cell for cell in comparison.cells}
    chains = [
        (f"{subject} on {data}", [(row, [by_id[cell] for cell in row.cells]) for row in rows])
        for (data, subject), rows in groupby(
            [row for row in comparison.rows if row.kind == "layers"], key=lambda row: (row.data, row.subject)
        )
    ]
    heights = [len(rows) + 1.6 for _, rows in chains]

    def paint(figure: "Figure") -> None:
        drawn = figure.subplots(len(chains), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (title, rows) in zip(drawn, chains, strict=True):
            for place, (_, cells) in enumerate(rows):
                _strip(axes, place, cells)
            axes.set_yticks(range(len(rows)), [_strip_name(row) for row, _ in rows])
            axes.set(title=title, xlabel="unit", ylim=(len(rows) - 0.3, -0.7))
            axes.tick_params(length=0)
            canvas.whole_numbers(axes.xaxis)
            axes.grid(visible=False)
            axes.spines[["left", "bottom"]].set_visible(False)

    strips = [(_strip_name(row), cells[0].kept or ()) for _, rows in chains for row, cells in rows]
    told = ". ".join(f"{name} keeps {', '.join(map(str, units))}" for name, units in strips)
    return Plot(
        "kept",
        "Which units are kept",
        "Dark units cannot be dropped; units in lighter blue are kept with some seeds only. Ticks under a strip "
        "separate its segments.",
        f"Units that are kept. {told}.",
        Drawing("kept", (12.0, 0.9 + 0.36 * sum(heights)), paint),
        wide=True,
    )


def _strip_name(row: TableRow) -> str:
    return f"{canvas.shorten(row.method)}, {columns.share(row.ratio or 0.0)}"


def _strip(axes: "Axes", place: int, cells: Sequence[CellFigures]) -> None:
    from matplotlib.patches import Rectangle

    first = cells[0]
    units, fixed = first.units or 0, first.fixed or ()
    for unit in range(units):
        often = sum(unit in (cell.kept or ()) for cell in cells) / len(cells)
        corner = (unit - 0.42, place - 0.36)
        axes.add_patch(Rectangle(corner, 0.84, 0.72, facecolor=canvas.PAPER, edgecolor=canvas.GRID, linewidth=0.8))
        if often:
            colour = canvas.INK if unit in fixed else canvas.PRUNED
            axes.add_patch(Rectangle(corner, 0.84, 0.72, facecolor=colour, alpha=often, linewidth=0))
        ink = canvas.PAPER if often > _PALE else canvas.INK
        if often and units <= _MOST_NUMBERED_UNITS:
            axes.text(unit, place, str(unit), ha="center", va="center_baseline", fontsize=7.5, color=ink)
    for _, last in (first.segments or ())[:-1]:
        axes.plot([last + 0.5] * 2, [place - 0.48, place + 0.48], color=canvas.INK, linewidth=1.2)
    axes.set_xlim(-0.8, units - 0.2)


def _grid(figure: "Figure", panels: int, heights: Sequence[float]) -> "list[Axes]":
    """Lay out axes two in a row, with rows of the given heights; unused axes are hidden."""
    if panels == 1:
        return [figure.subplots()]
    axes = list(figure.subplots(len(heights), 2, squeeze=False, height_ratios=heights).flat)
    for unused in axes[panels:]:
        unused.set_visible(False)
    return axes[:panels]
