"""Labelled frames: checked once where they come in, split the same way for every command, fitted to a network.

The split is stratified by (modulation, SNR). Each cell is shuffled by a generator seeded with the split seed, the
class name and the SNR, so that a cell is split alike whatever other cells the file holds. A file that names its own
split keeps it.
"""

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeprune.errors import DataError
from edgeprune.records import SPLITS, Frames, InputSpec, Split

TRAIN_SHARE = 0.72
VALIDATION_SHARE = 0.08


def checked(
    iq: npt.NDArray[np.generic],
    names: Sequence[str],
    label_of: npt.NDArray[np.generic],
    snrs: npt.NDArray[np.generic] | None,
    *,
    split: npt.NDArray[np.generic] | None = None,
    source: str,
    sha256: str,
) -> Frames:
    """Make frames of arrays from outside.

    Args:
        iq: Samples (N, 2, L), any real type.
        names: Class names in the order that `label_of` counts; sorted in the result.
        label_of: Index into `names` for each frame, (N,).
        snrs: dB, (N,), or None.
        split: Index into SPLITS for each frame, (N,), or None.
        source: File name for messages.
        sha256: Of the file.

    Raises:
        DataError: No frames, a wrong shape or type, a value that is not finite or whole, lengths that differ, a label
            out of range.
    """
    samples = _samples(iq, source)
    for what, array in (("labels", label_of), ("SNRs", snrs), ("split", split)):
        if array is not None and array.shape != (len(iq),):
            raise DataError(f"{source} holds {len(iq)} frames but {what} of shape {array.shape}")
        if array is not None and not _is_whole(array):
            raise DataError(f"{source} holds {what} of type {array.dtype} that are not whole numbers")
    labels = np.asarray(label_of, dtype=np.int64)
    if labels.min() < 0 or labels.max() >= len(names):
        raise DataError(f"{source} holds labels {labels.min()}..{labels.max()} for {len(names)} classes")
    if split is not None and (split.min() < 0 or split.max() >= len(SPLITS)):
        raise DataError(f"{source} holds split values {split.min()}..{split.max()}, not 0 to {len(SPLITS) - 1}")
    if len(set(names)) != len(names):
        raise DataError(f"{source} names a class twice: {', '.join(sorted(names))}")
    order = sorted(range(len(names)), key=lambda index: names[index])
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return Frames(
        iq=samples,
        labels=rank[labels],
        snrs=None if snrs is None else np.asarray(snrs, dtype=np.int64),
        classes=tuple(names[index] for index in order),
        split=None if split is None else np.asarray(split, dtype=np.int8),
        source=source,
        sha256=sha256,
    )


def _samples(iq: npt.NDArray[np.generic], source: str) -> npt.NDArray[np.float32]:
    """The samples in float32, checked."""
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
        bad = int(np.argmin(finite))
        raise DataError(
            f"{source}: {int((~finite).sum())} of {len(iq)} frames hold NaN or infinity, the first is frame {bad}",
            "Remove them before use",
        )
    return samples


def _is_whole(array: npt.NDArray[np.generic]) -> bool:
    """Whether every value is a whole number, of whatever numeric type."""
    if np.issubdtype(array.dtype, np.integer):
        return True
    if not np.issubdtype(array.dtype, np.floating):
        return False
    values = array.astype(np.float64)
    return bool(np.isfinite(values).all() and (values == np.floor(values)).all())


def split_frames(frames: Frames, seed: int) -> dict[Split, npt.NDArray[np.int64]]:
    """Indices of the frames of each split, sorted.

    Args:
        frames: The frames; their own split wins over the seed.
        seed: Of the shuffle within each (modulation, SNR) cell.

    Raises:
        DataError: A cell has fewer than 3 frames, so that it cannot be in every split.
    """
    if frames.split is not None:
        return {name: np.flatnonzero(frames.split == index) for index, name in enumerate(SPLITS)}
    parts: dict[Split, list[npt.NDArray[np.int64]]] = {name: [] for name in SPLITS}
    snrs = np.zeros(len(frames), dtype=np.int64) if frames.snrs is None else frames.snrs
    for label, snr in np.unique(np.stack([frames.labels, snrs], axis=1), axis=0):
        cell = np.flatnonzero((frames.labels == label) & (snrs == snr))
        name = frames.classes[label]
        if len(cell) < len(SPLITS):
            raise DataError(
                f"{frames.source} holds {len(cell)} frames of {name} at {snr} dB; a split takes {len(SPLITS)} or more"
            )
        generator = np.random.default_rng([seed, zlib.crc32(name.encode()), int(snr) & 0xFFFFFFFF])
        shuffled = generator.permutation(cell)
        validation = max(1, round(VALIDATION_SHARE * len(cell)))
        train = max(1, min(round(TRAIN_SHARE * len(cell)), len(cell) - validation - 1))
        bounds = [train, train + validation]
        for split_name, part in zip(SPLITS, np.split(shuffled, bounds), strict=True):
            parts[split_name].append(part)
    return {name: np.sort(np.concatenate(part)) for name, part in parts.items()}


def take(frames: Frames, indices: npt.NDArray[np.int64]) -> Frames:
    """Some of the frames, in the order of the indices."""
    return Frames(
        iq=frames.iq[indices],
        labels=frames.labels[indices],
        snrs=None if frames.snrs is None else frames.snrs[indices],
        classes=frames.classes,
        split=None if frames.split is None else frames.split[indices],
        source=frames.source,
        sha256=frames.sha256,
    )


def fit_to(frames: Frames, classes: tuple[str, ...], shape: InputSpec) -> Frames:
    """The frames with their labels counted in a network's classes.

    Raises:
        DataError: Frames of another shape than the network takes, or of a class that it does not know.
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
    return Frames(
        iq=frames.iq,
        labels=place[frames.labels],
        snrs=frames.snrs,
        classes=classes,
        split=frames.split,
        source=frames.source,
        sha256=frames.sha256,
    )
