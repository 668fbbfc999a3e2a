"""Accuracy with its uncertainty, from the logits of a network; pure."""

import numpy as np
import numpy.typing as npt
from scipy import stats

from edgeprune.records import Accuracy, AccuracyComparison, Frames, Rate, Split

_Z95 = float(stats.norm.ppf(0.975))


def rate(right: int, frames: int) -> Rate:
    """A share with its 95 % interval (Wilson 1927)."""
    interval = stats.binomtest(right, frames).proportion_ci(0.95, method="wilson")
    return Rate(right / frames, (float(interval.low), float(interval.high)), frames)


def accuracy(logits: npt.NDArray[np.float32], frames: Frames, split: Split) -> Accuracy:
    """Top-1 in all, per SNR and per class.

    Args:
        logits: (N, classes).
        frames: The N frames they are of.
        split: Which split these are.
    """
    called = logits.argmax(axis=1)
    right = called == frames.labels
    classes = len(frames.classes)
    confusion = np.bincount(frames.labels * classes + called, minlength=classes * classes).reshape(classes, classes)
    overall = rate(int(right.sum()), len(right))
    by_snr = {}
    if frames.snrs is not None:
        for snr in np.unique(frames.snrs):
            at = right[frames.snrs == snr]
            by_snr[str(snr)] = rate(int(at.sum()), len(at))
    by_class = {}
    for label, name in enumerate(frames.classes):
        of = right[frames.labels == label]
        if len(of):
            by_class[name] = rate(int(of.sum()), len(of))
    return Accuracy(
        split=split,
        frames=len(right),
        top1=overall.top1,
        ci95=overall.ci95,
        by_snr=by_snr,
        by_class=by_class,
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
    )


def compare(
    baseline: npt.NDArray[np.float32], pruned: npt.NDArray[np.float32], frames: Frames, split: Split
) -> AccuracyComparison:
    """Two networks on the same frames.

    The interval of the drop is Agresti & Min's (2005) for paired proportions; the test is McNemar's exact one.

    Args:
        baseline: Logits of the unpruned network, (N, classes).
        pruned: Logits of the pruned one.
        frames: The N frames.
        split: Which split these are.
    """
    before = baseline.argmax(axis=1) == frames.labels
    after = pruned.argmax(axis=1) == frames.labels
    drop, interval, p_value = paired(before, after)
    return AccuracyComparison(
        baseline=accuracy(baseline, frames, split),
        pruned=accuracy(pruned, frames, split),
        drop=drop,
        drop_ci95=interval,
        mcnemar_p=p_value,
    )


def paired(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]) -> tuple[float, tuple[float, float], float]:
    """Top-1 that was lost between two networks on the same frames, its interval, and the p of McNemar's exact test.

    Args:
        before: Which frames the unpruned network named rightly, (N,).
        after: And the other one.
    """
    lost, gained = int((before & ~after).sum()), int((~before & after).sum())
    p_value = float(stats.binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0
    return (lost - gained) / len(before), paired_interval(lost, gained, len(before)), p_value


def paired_interval(lost: int, gained: int, frames: int) -> tuple[float, float]:
    """95 % interval of a paired difference (Agresti & Min 2005: half a pair more in each of the four cells)."""
    more, less, total = lost + 0.5, gained + 0.5, frames + 2
    difference = (more - less) / total
    half = _Z95 * np.sqrt(more + less - (more - less) ** 2 / total) / total
    return float(difference - half), float(difference + half)
