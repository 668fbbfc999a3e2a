"""Labeled frames: checked once on input, split the same way for every command, fitted to a network.

The splits are in `frames/splits`: a file with its own split keeps it, and frames that overlap or are from one recording
stay together.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edgeprune.errors import DataError
from edgeprune.frames import splits
from edgeprune.frames.duplicates import refuse_shared
from edgeprune.records.frames import Frames, FrameTable
from edgeprune.records.names import SPLITS, Split
from edgeprune.records.pruning import InputSpec

_MOST = 2**62
_MOST_DB = 2**15 - 1
_MOST_CLASSES = 10_000
_MOST_LETTERS = 256


def checked(
    iq: npt.NDArray[np.generic],
    names: Sequence[str],
    label_of: npt.NDArray[np.generic],
    snrs: npt.NDArray[np.generic] | None,
    *,
    split: npt.NDArray[np.generic] | None = None,
    recordings: npt.NDArray[np.generic] | None = None,
    starts: npt.NDArray[np.generic] | None = None,
    groups: npt.NDArray[np.generic] | None = None,
    source: str,
    sha256: str,
) -> Frames:
    """Build frames from external arrays.

    Args:
        iq: Samples (N, 2, L), any real type.
        names: Class names in the order of `label_of`; sorted in the result.
        label_of: Index into `names` for each frame, (N,).
        snrs: SNR in dB, (N,), or None.
        split: Index into SPLITS for each frame, (N,), or None.
        recordings: Recording that each frame was cut from, (N,), or None.
        starts: Index of its first sample in the recording, (N,), or None.
        groups: Group of dependent frames that each frame is in, (N,), or None.
        source: File name for messages.
        sha256: SHA-256 of the file.

    Raises:
        DataError: No frames, a wrong shape or type, a value that is not finite or whole, different lengths, a label
            out of range, or a class whose samples are all zero.
    """
    samples = checked_samples(iq, source)
    places = {"split": split, "recordings": recordings, "starts": starts, "groups": groups}
    table = checked_table(len(iq), samples.shape[1:], names, label_of, snrs, source=source, **places)
    refuse_silent_classes(table, (samples != 0).any(axis=(1, 2)))
    return framed(table, samples, sha256)


def checked_table(
    count: int,
    shape: tuple[int, ...],
    names: Sequence[str],
    label_of: npt.NDArray[np.generic],
    snrs: npt.NDArray[np.generic] | None,
    *,
    split: npt.NDArray[np.generic] | None = None,
    recordings: npt.NDArray[np.generic] | None = None,
    starts: npt.NDArray[np.generic] | None = None,
    groups: npt.NDArray[np.generic] | None = None,
    source: str,
) -> FrameTable:
    """Build the checked table of `count` frames of a shape (channels, length); other arguments as for `checked`.

    Raises:
        DataError: A value that is not whole, different lengths, or a label out of range.
    """
    places = {"recordings": recordings, "starts": starts, "groups": groups}
    given = {"labels": label_of, "SNRs": snrs, "split": split, **places}
    for what, array in given.items():
        if array is not None:
            _check_column(what, array, count, source)
    _check_names(names, source)
    labels = np.asarray(label_of, dtype=np.int64)
    if not count:
        raise DataError(f"{source} holds no frames")
    if labels.min() < 0 or labels.max() >= len(names):
        bad = int(np.argmax((labels < 0) | (labels >= len(names))))
        raise DataError(
            f"{source} holds labels {labels.min()}..{labels.max()} for {len(names)} classes, the first at frame {bad}"
        )
    if split is not None and (split.min() < 0 or split.max() >= len(SPLITS)):
        raise DataError(f"{source} holds split values {split.min()}..{split.max()}, not 0 to {len(SPLITS) - 1}")
    order = sorted(range(len(names)), key=lambda index: names[index])
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return FrameTable(
        labels=rank[labels],
        snrs=None if snrs is None else np.asarray(snrs, dtype=np.int64),
        classes=tuple(names[index] for index in order),
        split=None if split is None else np.asarray(split, dtype=np.int8),
        source=source,
        shape=(shape[0], shape[1]),
        recordings=None if recordings is None else np.asarray(recordings, dtype=np.int64),
        starts=None if starts is None else np.asarray(starts, dtype=np.int64),
        groups=None if groups is None else np.asarray(groups, dtype=np.int64),
    )


def _check_column(what: str, array: npt.NDArray[np.generic], count: int, source: str) -> None:
    """Refuse labels, SNRs and the like that are not one whole number a frame, of a plausible size."""
    if array.shape != (count,):
        raise DataError(f"{source} holds {count} frames but {what} of shape {array.shape}")
    if not _is_whole(array):
        raise DataError(f"{source} holds {what} of type {array.dtype} that are not whole numbers")
    most = _MOST_DB if what == "SNRs" else _MOST
    if count and not -most <= array.min() <= array.max() <= most:
        raise DataError(f"{source} holds {what} of {array.min()} to {array.max()}; allowed is {-most} to {most}")


def _check_names(names: Sequence[str], source: str) -> None:
    refuse_many_classes(len(names), source)
    for name in names:
        refuse_class_name(name, source)
    if len(set(names)) != len(names):
        raise DataError(f"{source} names a class twice: {', '.join(sorted(names))}")


def refuse_many_classes(count: int, source: str) -> None:
    """Refuse more classes than any data set has.

    Raises:
        DataError: There are more.
    """
    if count > _MOST_CLASSES:
        raise DataError(f"{source} names {count} classes; allowed are {_MOST_CLASSES}")


def refuse_class_name(name: str, source: str) -> None:
    """Refuse a class name that is too long or cannot be written as text.

    Raises:
        DataError: The name is one of these.
    """
    if len(name) > _MOST_LETTERS or any("\ud800" <= letter <= "\udfff" for letter in name):
        raise DataError(
            f"{source} holds the class name {name[:40]!r} of {len(name)} letters",
            f"Allowed are {_MOST_LETTERS}, in UTF-8",
        )


def checked_samples(iq: npt.NDArray[np.generic], source: str, first: int = 0) -> npt.NDArray[np.float32]:
    """Check samples (N, 2, L) and convert them to float32.

    Args:
        iq: Samples of any real type.
        source: File name for messages.
        first: Index of the first of these frames in the file, for messages.

    Raises:
        DataError: No frames, a wrong shape or type, NaN or infinity.
    """
    if iq.ndim != 3 or iq.shape[1] != 2 or iq.shape[2] < 1 or not np.issubdtype(iq.dtype, np.number):
        raise DataError(f"{source} holds {iq.dtype} frames of shape {iq.shape}, not real numbers (N, 2, L)")
    if np.iscomplexobj(iq):
        raise DataError(f"{source} holds complex frames {iq.shape}", "Split them into I and Q rows: (N, 2, L)")
    if not len(iq):
        raise DataError(f"{source} holds no frames")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is found below
        samples = np.ascontiguousarray(iq, dtype=np.float32)
    finite = np.isfinite(samples).all(axis=(1, 2))
    if not finite.all():
        bad = first + int(np.argmin(finite))
        raise DataError(
            f"{source}: {int((~finite).sum())} of {len(iq)} frames hold NaN or infinity, the first is frame {bad}",
            "Remove them before use",
        )
    return samples


def refuse_silent_classes(table: FrameTable, heard: npt.NDArray[np.bool_]) -> None:
    """Refuse a class whose frames have only samples of zero.

    Args:
        table: Table of the frames.
        heard: Whether a frame has a sample other than zero, (N,).

    Raises:
        DataError: There is such a class; the message names it.
    """
    frames = np.bincount(table.labels, minlength=len(table.classes))
    loud = np.bincount(table.labels[heard], minlength=len(table.classes))
    silent = np.flatnonzero((frames > 0) & (loud == 0))
    if len(silent):
        first = int(np.argmax(table.labels == silent[0]))
        raise DataError(
            f"{table.source}: all {frames[silent[0]]} frames of {table.classes[silent[0]]} are zero, "
            f"the first is frame {first}",
            "Remove the class, or make the file again",
        )


def framed(table: FrameTable, samples: npt.NDArray[np.float32], sha256: str) -> Frames:
    """Combine a table with the samples (N, channels, length) and the SHA-256 of their file."""
    return Frames(
        iq=samples,
        labels=table.labels,
        snrs=table.snrs,
        classes=table.classes,
        split=table.split,
        source=table.source,
        sha256=sha256,
        recordings=table.recordings,
        starts=table.starts,
        groups=table.groups,
    )


def table_of(frames: Frames) -> FrameTable:
    """Table of the frames: everything but the samples."""
    return FrameTable(
        labels=frames.labels,
        snrs=frames.snrs,
        classes=frames.classes,
        split=frames.split,
        source=frames.source,
        shape=(frames.iq.shape[1], frames.iq.shape[2]),
        recordings=frames.recordings,
        starts=frames.starts,
        groups=frames.groups,
    )


def _is_whole(array: npt.NDArray[np.generic]) -> bool:
    """Whether every value is a whole number, of any numeric type."""
    if np.issubdtype(array.dtype, np.integer):
        return True
    if not np.issubdtype(array.dtype, np.floating):
        return False
    values = array.astype(np.float64)
    return bool(np.isfinite(values).all() and (values == np.floor(values)).all())


def split_frames(frames: Frames, seed: int, method: str = splits.AUTO) -> dict[Split, npt.NDArray[np.int64]]:
    """Split the frames; gives the sorted indices of each split.

    Args:
        frames: The frames; with 'auto' their own split takes precedence.
        seed: Random seed.
        method: One of `splits.METHODS`.

    Raises:
        ConfigError: No such method.
        DataError: The frames cannot be split this way, or their own split has a frame in two parts.
    """
    parts = splits.split_table(table_of(frames), seed, method)
    if frames.split is not None and method == splits.AUTO:
        refuse_shared(frames.iq, parts, frames.source)
    return parts


def take(frames: Frames, indices: npt.NDArray[np.int64]) -> Frames:
    """Select frames, in the order of the indices."""
    some = framed(take_table(table_of(frames), indices), frames.iq[indices], frames.sha256)
    return replace(some, split_sha256=frames.split_sha256, skipped=frames.skipped)


def take_table(table: FrameTable, indices: npt.NDArray[np.int64]) -> FrameTable:
    """Select rows of the table, in the order of the indices."""
    return replace(
        table,
        labels=table.labels[indices],
        snrs=None if table.snrs is None else table.snrs[indices],
        split=None if table.split is None else table.split[indices],
        recordings=None if table.recordings is None else table.recordings[indices],
        starts=None if table.starts is None else table.starts[indices],
        groups=None if table.groups is None else table.groups[indices],
    )


def fit_to(frames: Frames, classes: tuple[str, ...], shape: InputSpec) -> Frames:
    """Re-index the frames' labels by a network's classes.

    Raises:
        DataError: The frames have another shape than the network takes, or a class that it does not know.
    """
    if frames.iq.shape[1:] != (shape.channels, shape.length):
        raise DataError(
            f"{frames.source} holds frames of {frames.iq.shape[1]} x {frames.iq.shape[2]} samples, "
            f"the network takes {shape.channels} x {shape.length}"
        )
    unknown = [name for name in frames.classes if name not in classes]
    if unknown:
        raise DataError(
            f"{frames.source} holds classes that the network does not know: {', '.join(unknown)}",
            f"It knows {', '.join(classes)}",
        )
    place = np.array([classes.index(name) for name in frames.classes], dtype=np.int64)
    return replace(frames, labels=place[frames.labels], classes=classes)
