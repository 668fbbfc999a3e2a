"""Drawings of the chain of units: kept units, similarity, and the search for segments."""

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprune.report.plots import canvas
from edgeprune.report.plots.canvas import Drawing, Plot
from edgeprune.report.schema.schema import PlanSection, UnitDecision
from edgeprune.text import numerals as n

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_NUMBERED_UNITS = 40
_MOST_SEGMENTS_SHOWN = 12


def strip(plan: PlanSection) -> Plot:
    """Plot the chain before and after, unit by unit, with the bounds of the segments."""
    units = sorted(plan.decisions, key=lambda decision: decision.index)
    kept = [unit.index for unit in units if unit.kept]

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        axes.plot([-0.5, len(units) - 0.5], [1.25, 1.25], color=canvas.MUTED, linewidth=1, zorder=0)
        axes.plot([-0.5, len(units) - 0.5], [0, 0], color=canvas.MUTED, linewidth=1, zorder=0)
        for unit in units:
            _box(axes, unit, 1.25, len(units))
            if unit.kept:
                _box(axes, unit, 0, len(units))
        for number, (first, last) in enumerate(plan.segments, start=1):
            axes.plot([first - 0.4, last + 0.4], [-0.72, -0.72], color=canvas.INK, linewidth=1.6)
            label = f"segment {number}" if last - first >= 3 else str(number)
            axes.text((first + last) / 2, -0.86, label, ha="center", va="top", color=canvas.MUTED)
        axes.set(xlim=(-0.8, len(units) - 0.2), ylim=(-1.35, 2.35))
        axes.set_yticks([1.25, 0], [f"before, {len(units)} units", f"after, {len(kept)} units"])
        axes.set_xticks([])
        axes.grid(visible=False)
        axes.spines[["left", "bottom"]].set_visible(False)
        _legend(axes)

    told = f"Units {', '.join(map(str, kept))} of {len(units)} are kept"
    return Plot(
        "strip",
        "Which units are kept",
        f"{told}. A dropped unit leaves only its shortcut, or nothing.",
        f"The chain of units before and after pruning. {told}.",
        Drawing("strip", (12.0, 2.5), paint),
        wide=True,
    )


def _box(axes: "Axes", unit: UnitDecision, height: float, units: int) -> None:
    from matplotlib.patches import FancyBboxPatch

    if not unit.kept:
        look: dict[str, Any] = {
            "facecolor": canvas.PAPER,
            "edgecolor": canvas.MUTED,
            "linestyle": (0, (2, 2)),
            "linewidth": 1.0,
        }
        ink = canvas.MUTED
    else:
        colour = canvas.PRUNED if unit.drop else canvas.INK
        look = {"facecolor": colour, "edgecolor": colour, "linewidth": 1.0}
        ink = canvas.PAPER
    corner = "round,pad=0,rounding_size=0.12"
    axes.add_patch(FancyBboxPatch((unit.index - 0.4, height - 0.4), 0.8, 0.8, boxstyle=corner, **look))
    if units <= _MOST_NUMBERED_UNITS:
        axes.text(unit.index, height, str(unit.index), ha="center", va="center_baseline", fontsize=9.5, color=ink)


def _legend(axes: "Axes") -> None:
    from matplotlib.patches import Patch

    dashed: dict[str, Any] = {"facecolor": canvas.PAPER, "edgecolor": canvas.MUTED, "linestyle": (0, (2, 2))}
    handles = [
        Patch(color=canvas.PRUNED, label="kept"),
        Patch(color=canvas.INK, label="cannot be dropped"),
        Patch(label="dropped", **dashed),
    ]
    axes.legend(handles=handles, loc="upper right", ncols=3, borderaxespad=0)


def similarity(plan: PlanSection) -> Plot:
    """Plot the similarity of the outputs of every two units, with segments boxed and kept units dotted."""
    matrix = np.array(plan.similarity.matrix)
    floor = float(np.clip(np.floor(10 * matrix.min()) / 10, 0, 0.9))
    kept = [unit.index for unit in plan.decisions if unit.kept]

    def paint(figure: "Figure") -> None:
        from matplotlib.patches import Rectangle

        axes, scale = figure.subplots(1, 2, width_ratios=(30, 1))
        axes.imshow(canvas.shades((matrix - floor) / (1 - floor)), interpolation="none")
        for first, last in plan.segments:
            corner, length = (first - 0.5, first - 0.5), last - first + 1
            axes.add_patch(Rectangle(corner, length, length, fill=False, ec=canvas.INK, lw=1.8, clip_on=False))
        axes.plot(kept, kept, "o", markersize=5, markerfacecolor=canvas.PAPER, markeredgecolor=canvas.INK)
        axes.set(xlabel="unit", ylabel="unit")
        for axis in (axes.xaxis, axes.yaxis):
            canvas.whole_numbers(axis)
        axes.grid(visible=False)
        axes.spines[["top", "right", "left", "bottom"]].set(visible=True, color=canvas.GRID)
        ramp = np.linspace(0, 1, 64)[:, None]
        scale.imshow(canvas.shades(ramp), aspect="auto", origin="lower", extent=(0, 1, floor, 1), interpolation="none")
        scale.set_xticks([])
        scale.yaxis.tick_right()
        scale.yaxis.set_label_position("right")
        scale.set_ylabel(f"similarity, {canvas.shorten(plan.metric)}")
        scale.grid(visible=False)
        scale.spines[["top", "right", "left", "bottom"]].set(visible=True, color=canvas.GRID)

    bounds = ", ".join(f"{first} to {last}" for first, last in plan.segments)
    return Plot(
        "similarity",
        "How similar the units are",
        "Dark color: the two units have nearly the same output. Boxes are segments, and dots are the units kept.",
        f"Pairwise similarity of {len(matrix)} units. Segments: units {bounds}.",
        Drawing("similarity", (6.4, 5.4), paint),
    )


def segment_losses(plan: PlanSection) -> Plot:
    """Plot the loss of the segmentation for each number of segments."""
    losses = plan.segmentation.losses[:_MOST_SEGMENTS_SHOWN]
    chosen = len(plan.segments)

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        axes.plot(range(1, len(losses) + 1), losses, color=canvas.PRUNED, marker="o", markersize=5)
        if chosen <= len(losses):
            ring: dict[str, Any] = {
                "markersize": 13,
                "markerfacecolor": "none",
                "markeredgecolor": canvas.INK,
                "markeredgewidth": 1.4,
            }
            axes.plot([chosen], [losses[chosen - 1]], "o", **ring)
        canvas.whole_numbers(axes.xaxis)
        axes.set(xlabel="number of segments", ylabel="within-segment sum of squares")
        axes.set_ylim(bottom=0)
        canvas.only_grid(axes, "y")

    how = "the default: seven, or one per kept unit if fewer" if plan.segmentation.chosen == "auto" else "given"
    shown = "; ".join(f"{number}: {n.significant(loss)}" for number, loss in enumerate(losses, start=1))
    return Plot(
        "segments",
        "Number of segments",
        f"The ring marks the {chosen} segments of this run ({how}).",
        f"Loss of the best segmentation for each number of segments. {shown}. {chosen} were used.",
        Drawing("segments", (6.4, 5.4), paint),
    )
