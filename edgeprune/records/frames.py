"""The records of labelled frames: in memory, as a table beside their file, and by name in a model file."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class Frames:
    """Labelled I/Q frames.

    Attributes:
        iq: Raw samples, float32 (N, channels, length), in memory; of frames that are not, what reads the rows that a
            slice asks for (`datasets.StoredSamples`).
        labels: Index into `classes`, int64 (N,).
        snrs: Labelled signal-to-noise ratio in dB, int64 (N,), or None when the source has none.
        classes: Names of the modulations, sorted.
        split: Index into `SPLITS` for each frame, int8 (N,), when the source fixes the split itself, else None.
        source: Name of the file, for messages and reports.
        sha256: SHA-256 of the file.
        recordings: Which recording each frame was cut from, int64 (N,), or None when nobody knows.
        starts: Place of its first sample in that recording, int64 (N,), when `recordings` is known.
        split_sha256: SHA-256 of the split that these frames are a part of, or None.
        skipped: Files that were left out in reading, each with the reason.
        groups: Number of the group of each frame, int64 (N,): frames of one group share a stream, a transmitter or a
            channel and are not independent; None when nobody knows.
    """

    iq: "npt.NDArray[np.float32]"
    labels: "npt.NDArray[np.int64]"
    snrs: "npt.NDArray[np.int64] | None"
    classes: tuple[str, ...]
    split: "npt.NDArray[np.int8] | None"
    source: str
    sha256: str
    recordings: "npt.NDArray[np.int64] | None" = None
    starts: "npt.NDArray[np.int64] | None" = None
    split_sha256: str | None = None
    skipped: tuple[str, ...] = ()
    groups: "npt.NDArray[np.int64] | None" = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class FrameTable:
    """What is known of labelled frames besides their samples; small enough to be in memory when those are not.

    `shape` is channels and length of a frame; the rest is as in `Frames`.
    """

    labels: "npt.NDArray[np.int64]"
    snrs: "npt.NDArray[np.int64] | None"
    classes: tuple[str, ...]
    split: "npt.NDArray[np.int8] | None"
    source: str
    shape: tuple[int, int]
    recordings: "npt.NDArray[np.int64] | None" = None
    starts: "npt.NDArray[np.int64] | None" = None
    groups: "npt.NDArray[np.int64] | None" = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Reading:
    """How frames are cut from recordings; formats that hold frames already have no use for it.

    Attributes:
        length: Samples of a frame.
        hop: Samples from one frame to the next; None for `length`, so that frames do not overlap.
        sample_rate_hz: Recordings of another rate are resampled to it; None leaves each as it is.
        skip_bad_files: Leave out files that cannot be read, and list them, instead of refusing all.
    """

    length: int = 128
    hop: int | None = None
    sample_rate_hz: float | None = None
    skip_bad_files: bool = False


@dataclass(frozen=True)
class DataRef:
    """Which data a network was trained on and how they were split.

    Attributes:
        source: Path or name of the file or folder.
        sha256: SHA-256 of the file, or of the names and hashes of several.
        split_seed: Seed of the split.
        split: How they were split, a name in `splits.METHODS`.
        split_sha256: SHA-256 of the split itself (`splits.split_sha256`); None in model files that do not record it.
        reading: How frames were cut from recordings; None for frames that were cut already.
    """

    source: str
    sha256: str
    split_seed: int
    split: str = "auto"
    split_sha256: str | None = None
    reading: Reading | None = None
