"""Records of labeled frames: in memory, as a table beside their file, and by reference in a model file."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, repr=False)
class Frames:
    """Labeled I/Q frames.

    Attributes:
        iq: Raw samples, float32 (N, channels, length), in memory; otherwise a reader of the rows that a slice requests
            (`datasets.StoredSamples`).
        labels: Index into `classes`, int64 (N,).
        snrs: Labeled signal-to-noise ratio in dB, int64 (N,), or None if the source has none.
        classes: Names of the modulations, sorted.
        split: Index into `SPLITS` for each frame, int8 (N,), if the source defines the split itself, otherwise None.
        source: Name of the file, for messages and reports.
        sha256: SHA-256 of the file.
        recordings: Recording that each frame was cut from, int64 (N,), or None if unknown.
        starts: Index of its first sample in that recording, int64 (N,), if `recordings` is known.
        split_sha256: SHA-256 of the split that these frames are a part of, or None.
        skipped: Files that were left out in reading, each with the reason.
        groups: Number of the group of each frame, int64 (N,), or None if unknown. Frames of one group share a stream, a
            transmitter or a channel and are not independent.
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

    def __repr__(self) -> str:
        _, channels, length = self.iq.shape
        snrs = "" if self.snrs is None or not len(self) else f", SNR {self.snrs.min()} to {self.snrs.max()} dB"
        return f"{len(self)} frames of {channels}×{length} samples, {len(self.classes)} classes{snrs}: {self.source}"


@dataclass(frozen=True)
class FrameTable:
    """Everything known of labeled frames except their samples; small enough for memory even when those are not.

    `shape` is channels and length of a frame; the other fields are as in `Frames`.
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
    """Options for cutting frames from recordings; ignored by formats that contain frames.

    Attributes:
        length: Samples of a frame.
        hop: Samples from one frame to the next; None for `length`, so that frames do not overlap.
        sample_rate_hz: Sample rate to which recordings are resampled; None leaves each as it is.
        skip_bad_files: Whether to leave out and list unreadable files, instead of refusing all.
    """

    length: int = 128
    hop: int | None = None
    sample_rate_hz: float | None = None
    skip_bad_files: bool = False


@dataclass(frozen=True)
class DataRef:
    """Data that a network was trained on, and their split.

    Attributes:
        source: Path or name of the file or folder.
        sha256: SHA-256 of the file, or of the names and hashes of several.
        split_seed: Seed of the split.
        split: Method of the split, a name in `splits.METHODS`.
        split_sha256: SHA-256 of the split itself (`splits.split_sha256`); None in model files that do not record it.
        reading: Cutting of recordings into frames; None for data that contain frames.
    """

    source: str
    sha256: str
    split_seed: int
    split: str = "auto"
    split_sha256: str | None = None
    reading: Reading | None = None
