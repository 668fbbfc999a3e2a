"""Frames that are read on demand from any kind of file."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeprune.errors import DataError
from edgeprune.files.bounds import claimed
from edgeprune.files.store import file_sha256
from edgeprune.frames.labelled import checked_samples, framed, refuse_silent_classes
from edgeprune.protocols import FrameSource
from edgeprune.records.frames import Frames, FrameTable, Reading

BLOCK_BYTES = 1 << 25


@dataclass(frozen=True)
class Source:
    """A format's `FrameSource`.

    Attributes:
        table: Table of the frames.
        files: Files that they are in; their bytes are the identity of the source.
        block: Reads the stored samples of the frames start to stop, (stop - start, 2, L), of any real type.
        notes: Actions and assumptions in reading.
        skipped: Files that were left out.
        forward_only: Whether reading backwards takes as long as reading everything before.
    """

    table: FrameTable
    files: tuple[Path, ...]
    block: Callable[[int, int], npt.NDArray[np.generic]]
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    forward_only: bool = False

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Read the samples of the frames start to stop, (stop - start, 2, L).

        Raises:
            DataError: The file is damaged there, or holds NaN or infinity.
        """
        with claimed(self.files[0], f"whole: frames {start} to {stop} cannot be read", DataError):
            return checked_samples(self.block(start, stop), self.table.source, start)

    def sha256(self) -> str:
        """SHA-256 of the file, or of the names and hashes of several."""
        if len(self.files) == 1:
            return file_sha256(self.files[0])
        listed = "".join(f"{file_sha256(file)}  {file.name}\n" for file in self.files)
        return hashlib.sha256(listed.encode()).hexdigest()


class Streamed(ABC):
    """Format that is read a few frames at a time, or whole on request."""

    @abstractmethod
    def open(self, path: Path, reading: Reading) -> AbstractContextManager[FrameSource]:
        """Open the frames of a file for use within a `with` block."""

    def read(self, path: Path) -> Frames:
        """Read every frame.

        Raises:
            DataError: Anything that violates the format.
        """
        with self.open(path, Reading()) as source:
            return whole(source)


def blocks(table: FrameTable) -> Iterator[tuple[int, int]]:
    """Yield bounds of ranges of frames of a few megabytes each, in order."""
    rows = max(1, BLOCK_BYTES // (4 * table.shape[0] * table.shape[1]))
    for start in range(0, len(table), rows):
        yield start, min(start + rows, len(table))


def whole(source: FrameSource) -> Frames:
    """Read all frames of a source into memory.

    Raises:
        DataError: The file is damaged, or a class is silent.
    """
    table = source.table
    iq = np.empty((len(table), *table.shape), dtype=np.float32)
    heard = np.empty(len(table), dtype=np.bool_)
    for start, stop in blocks(table):
        iq[start:stop] = source.read(start, stop)
        heard[start:stop] = (iq[start:stop] != 0).any(axis=(1, 2))
    refuse_silent_classes(table, heard)
    return replace(framed(table, iq, source.sha256()), skipped=source.skipped)


def in_memory(frames: Frames, table: FrameTable, path: Path) -> Source:
    """Wrap frames that a format read whole."""
    return Source(table, (path,), lambda start, stop: frames.iq[start:stop])
