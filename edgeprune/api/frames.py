"""Labeled frames, from a file or from arrays."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeprune import datasets
from edgeprune.files.store import array_sha256, canonical_sha256
from edgeprune.frames.labelled import checked
from edgeprune.records.frames import Frames, Reading
from edgeprune.tasks.data.reading import ReadOptions


def read_frames(
    path: str | Path,
    *,
    length: int = 128,
    hop: int | None = None,
    sample_rate_hz: float | None = None,
    skip_bad_files: bool = False,
    stream: bool | None = None,
) -> Frames:
    """Read labeled I/Q frames from a file or folder of any format that edgeprune knows.

    Args:
        path: File or folder, of a format in docs/data.md.
        length: Samples of a frame, for recordings that are cut into frames, as are the next three.
        hop: Samples from the start of one frame to the next; by default `length`.
        sample_rate_hz: Resample recordings to it.
        skip_bad_files: Leave out recordings that cannot be read, and list them in `skipped`.
        stream: Leave the samples in their file until they are used; by default only if they are too many for memory.

    Returns:
        Frames: `iq` (N, 2, length) float32, `labels` (N,), `snrs` (N,) in dB or None, `classes`.

    Raises:
        ConfigError: The file does not exist.
        DataError: The format is unknown, or the file is damaged.

    Example:
        >>> data = ep.read_frames("frames.npz")
    """
    handling = ReadOptions(reading=Reading(length, hop, sample_rate_hz, skip_bad_files), stream=stream)
    return datasets.read_or_keep(Path(path), handling.reading, handling.stays)


def wrap_frames(
    iq: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    classes: Sequence[str],
    snrs: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    name: str = "frames in memory",
) -> Frames:
    """Use labeled frames that are in memory already, checked as those of a file are.

    Args:
        iq: Raw samples (N, 2, length): in-phase and quadrature, any real type.
        labels: Place of each frame's class in `classes`, (N,).
        classes: Names of the classes.
        snrs: Signal-to-noise ratio of each frame in whole dB, (N,).
        groups: Number of the recording or transmitter of each frame, (N,): frames of one group are not independent,
            are never split apart, and widen the intervals of an accuracy.
        name: For messages and reports.

    Raises:
        DataError: A wrong shape or type, a value that is not finite, a label out of range.

    Example:
        >>> data = ep.wrap_frames(iq, labels, classes=["BPSK", "QPSK"], snrs=snrs)
    """
    samples, places = np.asarray(iq), np.asarray(labels)
    snr_of, group_of = (None if column is None else np.asarray(column) for column in (snrs, groups))
    sha256 = canonical_sha256([list(classes), *map(array_sha256, (samples, places, snr_of, group_of))])
    return checked(samples, list(classes), places, snr_of, groups=group_of, source=name, sha256=sha256)
