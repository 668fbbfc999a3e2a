"""All drawings of a report, in the order of the page; figures that were not measured have none."""

from dataclasses import dataclass

from edgeprune.report.plots import accuracy as accuracy_plots
from edgeprune.report.plots import chain as chain_plots
from edgeprune.report.plots import latency as latency_plots
from edgeprune.report.plots.canvas import Plot
from edgeprune.report.plots.latency import Times
from edgeprune.report.schema.schema import Report


@dataclass(frozen=True)
class Samples:
    """Every single time of the two networks in milliseconds, as read from the files beside the report."""

    before_ms: Times
    after_ms: Times | None


def accuracy(report: Report) -> list[Plot]:
    """Draw accuracy against SNR and the two confusion matrices."""
    if report.accuracy is None:
        return []
    before, after = report.accuracy.baseline, report.accuracy.pruned
    return [
        *([accuracy_plots.against_snr(report.accuracy)] if before.by_snr else []),
        *([accuracy_plots.training(report.training)] if report.training and report.training.epochs else []),
        accuracy_plots.confusion(before.confusion, report.classes, "confusion-before", "before"),
        accuracy_plots.confusion(after.confusion, report.classes, "confusion-after", "after"),
    ]


def latency(report: Report, samples: Samples | None) -> list[Plot]:
    """Draw all single times, if their files exist, and the medians of the rounds."""
    if report.latency is None:
        return []
    drawn = [latency_plots.distribution(report.latency, samples.before_ms, samples.after_ms)] if samples else []
    return [*drawn, latency_plots.rounds(report.latency)] if report.latency.baseline.round_medians_ms else drawn


def chain(report: Report) -> list[Plot]:
    """Draw the kept units, their similarity, and the search for segments."""
    losses = report.plan.segmentation.losses
    return [
        chain_plots.strip(report.plan),
        chain_plots.similarity(report.plan),
        *([chain_plots.segment_losses(report.plan)] if len(losses) > 1 else []),
    ]
