"""Trend page: one plot a figure over the commits, with its steps. One file, without network access."""

import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import PackageLoader

from edgeprune.gate.history import Trend
from edgeprune.report.pages.page import environment
from edgeprune.report.plots.canvas import ACCENT, MUTED, PRUNED, Drawing, Plot, only_grid
from edgeprune.text.numerals import relative, significant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {
    "median_ms": "Median latency, ms",
    "p99_ms": "99th percentile of latency, ms",
    "speedup": "Speed-up over the unpruned model",
    "top1": "Top-1 accuracy",
    "onnx_bytes": "Size of the ONNX file, bytes",
    "engine_bytes": "Size of the engine, bytes",
    "energy_mj": "Energy of an inference, mJ",
}
_INSEPARABLE = re.compile(r"(?<=\d) (?=(?:%|ms)(?:\W|$))")
_MOST_TICKS = 12


def render(trends: Sequence[Trend]) -> str:
    """Render the whole page."""
    labels = list(dict.fromkeys(trend.label for trend in trends))
    groups = [(label, [_plot(trend, number) for number, trend in _of(trends, label)]) for label in labels]
    loader = PackageLoader("edgeprune.gate", "templates")
    page = environment(_INSEPARABLE, loader).get_template("trend.html.j2")
    return page.render(groups=groups, findings=[text for trend in trends for text in told(trend)]) + "\n"


def told(trend: Trend) -> list[str]:
    """Describe each step of a trend in a sentence."""
    title, _, unit = TITLES[trend.name].partition(",")
    return [
        f"{title} of {trend.label} changed by {relative(step.before, step.after)} at {trend.points[step.at].commit}: "
        f"{significant(step.before)} to {significant(step.after)}{unit}"
        for step in trend.steps
    ]


def _of(trends: Sequence[Trend], label: str) -> list[tuple[int, Trend]]:
    return [(number, trend) for number, trend in enumerate(trends) if trend.label == label]


def _ticks(points: int, steps: Sequence[int]) -> list[int]:
    """Choose the points whose commits are named: the first of each level, and others evenly if there is room."""
    every = -(-points // _MOST_TICKS)
    even = (place for place in range(0, points, every) if all(abs(place - step) >= every for step in steps))
    return sorted({*steps, *even})


def _plot(trend: Trend, number: int) -> Plot:
    values = [point.value for point in trend.points]
    bounds = [0, *(step.at for step in trend.steps), len(values)]

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        axes.plot(range(len(values)), values, "o", color=MUTED, markersize=4)
        for low, high in itertools.pairwise(bounds):
            axes.plot([low, high - 1], [float(np.median(values[low:high]))] * 2, color=PRUNED)
        for step in trend.steps:
            axes.axvline(step.at - 0.5, color=ACCENT, linestyle="--", linewidth=1.2)
        places = _ticks(len(values), [step.at for step in trend.steps])
        axes.set_xticks(places, [trend.points[place].commit for place in places], rotation=45, ha="right")
        axes.margins(y=0.25)
        only_grid(axes, "y")

    name = f"trend-{number}"
    found = told(trend)
    alt = " ".join(f"{text}." for text in found) or f"{TITLES[trend.name]} over {len(values)} reports, without a step."
    caption = alt if found else f"{len(values)} reports, no step."
    return Plot(name, TITLES[trend.name], caption, alt, Drawing(name, (7.4, 3.4), paint))
