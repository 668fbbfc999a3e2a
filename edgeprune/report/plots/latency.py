"""Drawings of latency: every single time, and how it went from round to round."""

import itertools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeprune.records.results import BenchReport
from edgeprune.report.plots import canvas
from edgeprune.report.plots.canvas import Drawing, Plot
from edgeprune.report.schema.measured import LatencySection
from edgeprune.text import numerals as n

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Times = npt.NDArray[np.float64]
_BINS = 90
_SHOWN_PERCENT = (0, 99.5)
_FAR_APART = 10  # times longer: then an axis is logarithmic
_CLOSE = 1.5  # times longer at most: then an axis need not begin at zero


def distribution(
    latency: LatencySection | BenchReport,
    before_ms: Times,
    after_ms: Times | None,
    names: tuple[str, str] = ("before", "after"),
) -> Plot:
    """Histograms of all single times with their medians; logarithmic when the two are far apart."""
    samples = [(latency.baseline.median_ms, before_ms, canvas.BASELINE, names[0])]
    if latency.pruned is not None and after_ms is not None:
        samples.append((latency.pruned.median_ms, after_ms, canvas.PRUNED, names[1]))
    ends = np.array([np.percentile(times_ms, _SHOWN_PERCENT) for _, times_ms, _, _ in samples])
    logarithmic, low, high = _reach(float(ends.min()), float(ends.max()))
    edges = np.geomspace(low, high, _BINS + 1) if logarithmic else np.linspace(low, high, _BINS + 1)

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        for median_ms, times_ms, colour, label in samples:
            share = 100 * np.histogram(times_ms, edges)[0] / len(times_ms)
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.35)
            axes.stairs(share, edges, color=colour, linewidth=1.2)
            named = f"{label}, median {n.milliseconds(median_ms)}"
            line = "--" if colour == canvas.BASELINE else "-"
            axes.axvline(median_ms, color=colour, linewidth=1.6, linestyle=line, label=named)
        if logarithmic:
            axes.set_xscale("log")
        _plain_numbers(axes.xaxis, logarithmic)
        axes.set_xlim(low, high)
        axes.set_xlabel("latency of one inference, ms" + (" (logarithmic)" if logarithmic else ""))
        axes.set_ylabel("share of inferences per bin, %")
        canvas.only_grid(axes, "y")
        columns = 2 if max(map(len, names)) <= canvas.LONGEST_NAME else 1
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns)

    told = "; ".join(f"{label}: median {n.milliseconds(median_ms)}" for median_ms, _, _, label in samples)
    longest = ", ".join(f"{n.milliseconds(float(times_ms.max()))} {label}" for _, times_ms, _, label in samples)
    return Plot(
        "latency",
        "Latency of every inference",
        f"Vertical lines are medians. The slowest 0.5 % are outside the plot, but count in the figures; "
        f"longest: {longest}.",
        f"Histograms of latency. {told}.",
        Drawing("latency", (6.4, 4.0), paint),
    )


def rounds(latency: LatencySection) -> Plot:
    """Plot the median of each round, which shows drift and throttling."""
    summaries = [(latency.baseline, canvas.BASELINE, "s", "before")]
    if latency.pruned is not None:
        summaries.append((latency.pruned, canvas.PRUNED, "o", "after"))
    medians = [median for summary, _, _, _ in summaries for median in summary.round_medians_ms]
    logarithmic, low, high = _reach(min(medians), max(medians))
    begins = _begins(latency)

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        for summary, colour, marker, label in summaries:
            times_ms = summary.round_medians_ms
            axes.plot(range(1, len(times_ms) + 1), times_ms, color=colour, marker=marker, markersize=4.5, label=label)
        for first in begins:
            axes.axvline(first - 0.5, color=canvas.MUTED, linewidth=0.8, linestyle=":")
        canvas.whole_numbers(axes.xaxis)
        axes.set_xlabel("round")
        if logarithmic:
            axes.set_yscale("log")
        axes.set_ylim(low, high)
        _plain_numbers(axes.yaxis, logarithmic)
        axes.set_ylabel("median of the round, ms" + (" (logarithmic)" if logarithmic else ""))
        canvas.only_grid(axes, "y")
        axes.legend(loc="best")

    told = "; ".join(
        f"{label}: {n.significant(min(s.round_medians_ms))} to {n.milliseconds(max(s.round_medians_ms))}"
        for s, _, _, label in summaries
    )
    return Plot(
        "rounds",
        "Latency of each round",
        f"The networks took turns ({latency.rounds} rounds). Flat lines mean that the device did not drift."
        + (" Dotted lines mark the start of another process." if begins else ""),
        f"Median latency of each round. {told}.",
        Drawing("rounds", (6.4, 4.0), paint),
    )


def _begins(latency: LatencySection) -> list[int]:
    """Numbers, from 1, of the rounds with which another process begins; none where every round has its own."""
    of_round = latency.process_of_round or ()
    if latency.processes == latency.rounds:
        return []
    return [number for number, pair in enumerate(itertools.pairwise(of_round), 2) if pair[0] != pair[1]]


def _reach(shortest_ms: float, longest_ms: float) -> tuple[bool, float, float]:
    """Decide whether an axis for these times is logarithmic, and return that with its two limits."""
    ratio = longest_ms / shortest_ms
    if ratio > _FAR_APART:
        return True, shortest_ms / 1.15, longest_ms * 1.15
    margin = 0.05 * longest_ms if ratio > _CLOSE else 0.15 * (longest_ms - shortest_ms) + 0.01 * longest_ms
    return False, 0.0 if ratio > _CLOSE else shortest_ms - margin, longest_ms + margin


def _plain_numbers(axis: "Axis", logarithmic: bool) -> None:
    """Write the numbers on an axis in plain decimals on any scale."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    if logarithmic:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
