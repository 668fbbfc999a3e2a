"""Drawings of accuracy: against SNR, by class, and as the training went."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprune.records.results import Rate, TrainingResult
from edgeprune.report.plots import canvas
from edgeprune.report.plots.canvas import Drawing, Plot
from edgeprune.report.schema.measured import AccuracySection
from edgeprune.text import numerals as n

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_NUMBERED_CLASSES = 12
_LABELLED_SHARE = 0.01  # a cell of a confusion matrix with less carries no number


def against_snr(accuracy: AccuracySection) -> Plot:
    """Top-1 accuracy of both networks at each SNR, with its intervals."""
    before, after = accuracy.baseline.at_snr(), accuracy.pruned.at_snr()

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        paint_by_snr(axes, [(before, canvas.BASELINE, "s", "before"), (after, canvas.PRUNED, "o", "after")])
        axes.legend(loc="best")

    told = "; ".join(
        f"{n.signed(snr)} dB: {n.percent(rate.top1)} before, {n.percent(after[snr].top1)} after"
        for snr, rate in before.items()
    )
    return Plot(
        "snr",
        "Accuracy against SNR",
        "Bars are 95 % intervals. Both networks were tested on the same frames.",
        f"Top-1 accuracy of both networks against SNR. {told}.",
        Drawing("snr", (6.4, 4.0), paint),
    )


def paint_by_snr(axes: "Axes", series: Sequence[tuple[dict[str, Rate], str, str, str]]) -> None:
    """Top-1 accuracy at each SNR with its intervals.

    Args:
        axes: To draw on.
        series: One or two networks at the same SNRs: rates by SNR in dB, color, marker and label of each.
    """
    levels = np.array([float(snr) for snr in series[0][0]])
    step = float(np.diff(levels).min()) if len(levels) > 1 else 1.0
    for place, (rates, colour, marker, label) in enumerate(series):
        aside = 0.08 * step * (place - (len(series) - 1) / 2)
        _with_intervals(axes, levels + aside, rates, colour, marker, label)
    axes.set_xlabel("labeled SNR, dB")
    axes.set_ylabel("top-1 accuracy, %")
    ends = np.array([rate.ci95 for rates, _, _, _ in series for rate in rates.values()])
    axes.set_ylim(max(0.0, 100 * ends[:, 0].min() - 2), min(100.5, 100 * ends[:, 1].max() + 1))
    if len(levels) <= 12:
        axes.set_xticks(levels)
    canvas.only_grid(axes, "y")


def _with_intervals(
    axes: "Axes", levels: np.ndarray, rates: dict[str, Rate], colour: str, marker: str, label: str
) -> None:
    top1 = np.array([rate.top1 for rate in rates.values()])
    ends = np.array([rate.ci95 for rate in rates.values()]).T
    reach = np.clip(np.abs(ends - top1), 0, None)
    style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5, "capsize": 3, "elinewidth": 1.2}
    axes.errorbar(levels, 100 * top1, yerr=100 * reach, label=label, **style)


def confusion(
    confused: Sequence[Sequence[int]], classes: tuple[str, ...], name: str = "confusion", which: str = ""
) -> Plot:
    """Plot the confusion matrix, every row summing to 100 %.

    Args:
        confused: Number of frames of class i that were classified as class j.
        classes: Names of the classes.
        name: Name of the drawing.
        which: 'before' or 'after' pruning, or ''.
    """
    counts = np.array(confused, dtype=np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    names = [canvas.shorten(label) for label in classes]

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        size = 9 if len(names) <= _MOST_NUMBERED_CLASSES else 7.5
        axes.imshow(canvas.shades(shares), interpolation="none")
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
        axes.set_yticks(range(len(names)), names, fontsize=size)
        axes.tick_params(length=0)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        axes.grid(visible=False)
        axes.spines[["top", "right", "left", "bottom"]].set(visible=True, color=canvas.GRID)
        if len(names) <= _MOST_NUMBERED_CLASSES:
            _number_cells(axes, shares)

    off_diagonal = shares - np.diag(np.diag(shares))
    worst = np.unravel_index(int(off_diagonal.argmax()), shares.shape)
    told = f"{names[worst[0]]} classified as {names[worst[1]]}, {n.percent(float(shares[worst]))} of its frames"
    return Plot(
        name,
        f"Confusion, {which}" if which else "Confusion",
        f"Share of each class's frames, in %. Most frequent confusion: {told}.",
        f"Confusion matrix{f' {which} pruning' if which else ''}. Most frequent confusion: {told}.",
        Drawing(name, (6.4, 5.9), paint),
    )


def _number_cells(axes: "Axes", shares: np.ndarray) -> None:
    for row, column in np.argwhere(shares >= _LABELLED_SHARE):
        share = shares[row, column]
        colour = "white" if share > 0.5 else canvas.INK
        axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8.5, color=colour)


def training(result: TrainingResult) -> Plot:
    """Loss and validation accuracy over the epochs of fine-tuning."""
    epochs = [epoch.epoch for epoch in result.epochs]
    best = result.best_epoch

    def paint(figure: "Figure") -> None:
        loss, accuracy = figure.subplots(2, 1, sharex=True)
        dots = "o" if len(epochs) == 1 else ""  # a line takes two
        train_loss = [epoch.train_loss for epoch in result.epochs]
        validation_loss = [epoch.validation_loss for epoch in result.epochs]
        loss.plot(epochs, train_loss, color=canvas.BASELINE, linestyle="--", marker=dots, label="training")
        loss.plot(epochs, validation_loss, color=canvas.PRUNED, marker=dots, label="validation")
        loss.set_ylabel("loss")
        loss.legend(loc="upper center", ncols=2)
        top1 = [100 * epoch.validation_top1 for epoch in result.epochs]
        accuracy.plot(epochs, top1, color=canvas.PRUNED)
        accuracy.plot([best], [100 * result.best_validation_top1], "o", color=canvas.PRUNED, markersize=7)
        accuracy.set_ylabel("top-1, %")
        accuracy.set_xlabel("epoch")
        canvas.whole_numbers(accuracy.xaxis)
        figure.align_ylabels()
        for axes in (loss, accuracy):
            axes.axvline(best, color=canvas.MUTED, linewidth=1, linestyle=":")
            canvas.only_grid(axes, "y")

    kept = f"epoch {best} ({n.percent(result.best_validation_top1)} on the validation split)"
    how = "with" if result.distilled else "without"
    return Plot(
        "training",
        "Fine-tuning",
        f"In {result.precision}, {how} distillation from the original network. The weights of {kept} were kept.",
        f"Loss and validation accuracy over {len(epochs)} epochs. The weights of {kept} were kept.",
        Drawing("training", (6.4, 4.0), paint),
    )
