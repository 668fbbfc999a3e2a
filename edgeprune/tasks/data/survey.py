"""One pass over a data set, a few megabytes at a time: its counts, its scale, and its faults."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeprune.datasets import blocks
from edgeprune.frames.duplicates import fingerprints, overlapping, repeated
from edgeprune.frames.labelled import refuse_silent_classes
from edgeprune.frames.splits.order import OrderDependence, described, looked_at, order_dependence
from edgeprune.protocols import FrameSource, Progress
from edgeprune.records.frames import FrameTable

_WHITE = 2.0  # standard deviations of the correlation of white noise
_SIGNAL = 0.5  # neighboring samples of an oversampled signal correlate more than this


@dataclass(frozen=True)
class Scale:
    """Magnitude of the samples."""

    mean_abs: float
    rms: float
    max_abs: float


@dataclass(frozen=True)
class Survey:
    """Results of a pass over all frames.

    Attributes:
        scale: Scale of all samples.
        rms_by_class: Root mean square of the samples of each class.
        silent: Indices of frames whose samples are all zero.
        fingerprints: Hash of each frame, (N,).
        repeats: Indices of frames that repeat an earlier one.
        overlaps: Number of frames that begin half a frame into the one before.
        correlation_by_class: Mean correlation of a sample with the next, by absolute value, at the highest SNR.
        order: Whether successive frames resemble each other; None if there are too few.
    """

    scale: Scale
    rms_by_class: dict[str, float]
    silent: npt.NDArray[np.int64]
    fingerprints: npt.NDArray[np.uint64]
    repeats: npt.NDArray[np.int64]
    overlaps: int
    correlation_by_class: dict[str, float]
    order: OrderDependence | None


def survey(source: FrameSource, progress: Progress) -> Survey:
    """Examine every frame once.

    Raises:
        DataError: The file is damaged, holds NaN, or a class of zeros.
    """
    table = source.table
    power, correlation = np.empty(len(table)), np.empty(len(table))
    prints = np.empty(len(table), dtype=np.uint64)
    sum_abs, max_abs, overlaps = 0.0, 0.0, 0
    last: npt.NDArray[np.float32] | None = None
    order = _Order(table)
    with progress.track("frames", len(table)) as advance:
        for start, stop in blocks(table):
            iq = source.read(start, stop)
            samples = (iq[:, 0] + 1j * iq[:, 1]).astype(np.complex128)
            size = np.abs(samples)
            sum_abs, max_abs = sum_abs + float(size.sum()), max(max_abs, float(size.max()))
            power[start:stop] = (size**2).mean(axis=1)
            correlation[start:stop] = _correlation(samples)
            prints[start:stop] = fingerprints(iq)
            order.add(start, iq)
            neighbours = iq if last is None else np.concatenate([last, iq])
            if iq.shape[2] > 1:
                overlaps += int(overlapping(neighbours, iq.shape[2] // 2).sum())
            last = iq[-1:]
            advance(stop - start, "")
    heard = power > 0
    refuse_silent_classes(table, heard)
    counts = np.bincount(table.labels, minlength=len(table.classes))
    powers = np.bincount(table.labels, weights=power, minlength=len(table.classes))
    present = np.flatnonzero(counts)
    first = repeated(prints)
    return Survey(
        scale=Scale(sum_abs / (len(table) * table.shape[1]), float(np.sqrt(power.mean())), max_abs),
        rms_by_class={table.classes[label]: float(np.sqrt(powers[label] / counts[label])) for label in present},
        silent=np.flatnonzero(~heard),
        fingerprints=prints,
        repeats=np.flatnonzero((first != np.arange(len(table))) & heard),
        overlaps=overlaps,
        correlation_by_class=_at_the_highest_snr(table, correlation),
        order=order.tested(),
    )


class _Order:
    """Features of the first frames of each cell, collected block by block.

    Args:
        table: Table of all frames.
    """

    def __init__(self, table: FrameTable) -> None:
        self._cells = looked_at(table)
        self._place = np.full(len(table), -1)
        for first, cell in zip(np.cumsum([0, *map(len, self._cells)]), self._cells, strict=False):
            self._place[cell] = first + np.arange(len(cell))
        self._described: dict[int, npt.NDArray[np.float64]] = {}

    def add(self, start: int, iq: npt.NDArray[np.float32]) -> None:
        """Add the features of the examined frames in a block, (n, 2, length)."""
        places = self._place[start : start + len(iq)]
        chosen = np.flatnonzero(places >= 0)
        self._described.update(zip(places[chosen].tolist(), described(iq[chosen]), strict=True))

    def tested(self) -> OrderDependence | None:
        """Test all cells."""
        groups = [np.stack([self._described[int(place)] for place in self._place[cell]]) for cell in self._cells]
        return order_dependence(groups)


def _correlation(samples: npt.NDArray[np.complex128]) -> npt.NDArray[np.float64]:
    """Compute the absolute correlation of each sample with the next, for each frame (N, L)."""
    products = np.abs((samples[:, 1:] * samples[:, :-1].conj()).sum(axis=1))
    powers = (np.abs(samples) ** 2).sum(axis=1)
    ratio: npt.NDArray[np.float64] = products / np.maximum(powers, np.finfo(np.float64).tiny)
    return ratio


def _at_the_highest_snr(table: FrameTable, values: npt.NDArray[np.float64]) -> dict[str, float]:
    clear = np.ones(len(table), dtype=np.bool_) if table.snrs is None else table.snrs == table.snrs.max()
    found = {}
    for label in np.unique(table.labels[clear]):
        found[table.classes[label]] = float(values[clear & (table.labels == label)].mean())
    return found


def faults(table: FrameTable, found: Survey) -> list[str]:
    """List the faults of the frames of this file, one sentence each."""
    told = []
    if len(found.silent):
        told.append(f"{len(found.silent)} frames are all zero, the first is frame {found.silent[0]}")
    if len(found.repeats):
        told.append(f"{len(found.repeats)} frames are there before, the first is frame {found.repeats[0]}")
    if found.overlaps:
        said = "; they are split by spans" if table.recordings is not None else "; a random split leaks"
        told.append(f"{found.overlaps} frames overlap the one before by half{said}")
    told += _ordered(table, found.order)
    told += _noise_only(table, found)
    told += _uneven_counts(table)
    return told


def _ordered(table: FrameTable, order: OrderDependence | None) -> list[str]:
    """Report whether neighbors resemble each other in a file that does not say which frames belong together."""
    if order is None or not order.shown or table.recordings is not None or table.groups is not None:
        return []
    then = (
        "a random split puts them on both sides, which 'contiguous' does not"
        if table.split is None
        else "its own split may have put them on both sides"
    )
    return [
        f"frames that follow one another resemble each other (correlation {order.correlation:.2f}, p at most "
        f"{order.p_value:g}, up to {order.reach_frames} frames apart): {then}"
    ]


def _noise_only(table: FrameTable, found: Survey) -> list[str]:
    """Report classes that are white noise while others are signals."""
    limit = _WHITE / np.sqrt(table.shape[1])
    by_class = found.correlation_by_class
    if not by_class or max(by_class.values()) < _SIGNAL:
        return []
    at = "" if table.snrs is None else f" even at {table.snrs.max()} dB"
    return [f"{name} is only noise{at}" for name, value in by_class.items() if value < limit]


def _uneven_counts(table: FrameTable) -> list[str]:
    told = []
    present = np.bincount(table.labels, minlength=len(table.classes))
    absent = [name for name, count in zip(table.classes, present, strict=True) if not count]
    if absent:
        told.append(f"no frames of {', '.join(absent)}")
    if table.snrs is not None:
        _, counts = np.unique(np.stack([table.labels, table.snrs]), axis=1, return_counts=True)
        if counts.min() != counts.max():
            told.append(f"classes and SNRs have {counts.min()} to {counts.max()} frames each, not equally many")
        cells = int((present > 0).sum()) * len(np.unique(table.snrs))
        if len(counts) < cells:
            told.append(f"{cells - len(counts)} of {cells} pairs of class and SNR have no frames")
    return told
