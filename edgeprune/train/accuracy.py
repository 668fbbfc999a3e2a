"""Accuracy with its uncertainty, from the logits of a network. Pure.

Where dependent frames are grouped, intervals are those of independent frames at the effective number of frames.
Otherwise frames are assumed to be independent.
"""

import numpy as np
import numpy.typing as npt
from scipy import stats

from edgeprune.records.frames import Frames
from edgeprune.records.names import Split
from edgeprune.records.results import Accuracy, AccuracyComparison, Rate
from edgeprune.train.design_effect import Effect, Grouping, grouping_of

_Z95 = float(stats.norm.ppf(0.975))


def rate(right: int, frames: int, share: float = 1.0) -> Rate:
    """A share with its 95 % interval (Wilson 1927).

    Args:
        right: Number of correctly classified frames.
        frames: Number of frames in all.
        share: Ratio of the effective to the actual number of frames.
    """
    top1, square = right / frames, _Z95**2 / (frames * share)
    half = np.sqrt(top1 * (1 - top1) * square + square**2 / 4)
    low, high = ((top1 + square / 2 + side) / (1 + square) for side in (-half, half))
    return Rate(top1, (max(float(low), 0.0), min(float(high), 1.0)), frames)


def _rate_and_effect(right: npt.NDArray[np.bool_], grouping: Grouping | None) -> tuple[Rate, Effect | None]:
    """Rate of correctly classified frames, with its design effect.

    Args:
        right: Whether each frame is classified correctly, (N,).
        grouping: Grouping of the frames, if it is known.
    """
    count, frames = int(right.sum()), len(right)
    if grouping is None:
        return rate(count, frames), None
    effect = grouping.effect(right, count / frames * (1 - count / frames))
    return rate(count, frames, effect.share), effect


def accuracy(logits: npt.NDArray[np.float32], frames: Frames, split: Split) -> Accuracy:
    """Top-1 in all, per SNR and per class.

    Args:
        logits: (N, classes).
        frames: The N frames.
        split: Split that the frames are from.
    """
    called = logits.argmax(axis=1)
    right = called == frames.labels
    classes = len(frames.classes)
    confusion = np.bincount(frames.labels * classes + called, minlength=classes * classes).reshape(classes, classes)
    grouping = grouping_of(frames)
    overall, effect = _rate_and_effect(right, grouping)

    def at(chosen: npt.NDArray[np.bool_]) -> Rate:
        return _rate_and_effect(right[chosen], grouping.at(chosen) if grouping else None)[0]

    by_snr = {}
    if frames.snrs is not None:
        for snr in np.unique(frames.snrs):
            by_snr[str(snr)] = at(frames.snrs == snr)
    by_class = {}
    for label, name in enumerate(frames.classes):
        of = frames.labels == label
        if of.any():
            by_class[name] = at(of)
    return Accuracy(
        split=split,
        frames=len(right),
        top1=overall.top1,
        ci95=overall.ci95,
        by_snr=by_snr,
        by_class=by_class,
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        groups=len(grouping) if grouping else None,
        design_effect=effect.design_effect if effect else None,
    )


def compare(
    baseline: npt.NDArray[np.float32], pruned: npt.NDArray[np.float32], frames: Frames, split: Split
) -> AccuracyComparison:
    """Compare two networks on the same frames.

    The interval of the drop is Agresti & Min's (2005) for paired proportions; the test is McNemar's exact one. For
    grouped frames both use the effective number of frames.

    Args:
        baseline: Logits of the unpruned network, (N, classes).
        pruned: Logits of the pruned network, (N, classes).
        frames: The N frames.
        split: Split that the frames are from.
    """
    before = baseline.argmax(axis=1) == frames.labels
    after = pruned.argmax(axis=1) == frames.labels
    drop, interval, p_value = paired(before, after, grouping_of(frames))
    return AccuracyComparison(
        baseline=accuracy(baseline, frames, split),
        pruned=accuracy(pruned, frames, split),
        drop=drop,
        drop_ci95=interval,
        mcnemar_p=p_value,
    )


def paired(
    before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_], grouping: Grouping | None = None
) -> tuple[float, tuple[float, float], float]:
    """Top-1 lost between two networks on the same frames, its interval, and the p-value of McNemar's exact test.

    Args:
        before: Frames that the unpruned network classified correctly, (N,).
        after: Frames that the other network classified correctly, (N,).
        grouping: Grouping of the frames, if it is known.
    """
    lost, gained, frames = int((before & ~after).sum()), int((~before & after).sum()), len(before)
    drop, share = (lost - gained) / frames, 1.0
    if grouping is not None:
        change = before.astype(np.int64) - after
        share = grouping.effect(change, (lost + gained) / frames - drop**2).share
    interval = paired_interval(lost * share, gained * share, frames * share)
    fewer, discordant = round(lost * share), round((lost + gained) * share)
    return drop, interval, float(stats.binomtest(fewer, discordant).pvalue) if discordant else 1.0


def paired_interval(lost: float, gained: float, frames: float) -> tuple[float, float]:
    """95 % interval of a paired difference (Agresti & Min 2005: half a pair more in each of the four cells).

    Numbers are whole unless they are effective numbers.
    """
    more, less, total = lost + 0.5, gained + 0.5, frames + 2
    difference = (more - less) / total
    half = _Z95 * np.sqrt(more + less - (more - less) ** 2 / total) / total
    return float(difference - half), float(difference + half)
