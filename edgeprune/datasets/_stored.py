"""Samples that stay in their file until somebody asks for some of them."""

import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeprune.protocols import FrameSource

_NEAR_BYTES = 1 << 16  # reading over such a gap is faster than another read
_MOST_BYTES = 1 << 24  # of one read

Rows = npt.NDArray[np.int64]


class StoredSamples:
    """The samples of frames in a file, float32 (N, channels, length), in place of an array of that shape.

    A slice reads the frames that it names; an array of places gives the samples of those frames, still in the file.
    What takes an array reads them all.

    Args:
        source: Source of all frames of the file.
        rows: Which of them these are, in this order; None for all.
        held: What keeps the file open; closed when nobody can read from it any more.
        reopen: Opens the file again in another process, for some rows of it.
    """

    def __init__(
        self,
        source: FrameSource,
        rows: Rows | None = None,
        held: ExitStack | None = None,
        reopen: "Callable[[Rows], StoredSamples] | None" = None,
    ) -> None:
        self._source = source
        self._reopen = reopen
        self._rows = np.arange(len(source.table)) if rows is None else rows
        self._whole = self  # the one that holds the file
        if held is not None:
            weakref.finalize(self, held.close)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frames, channels, length)."""
        return (len(self), *self._source.table.shape)

    def __getitem__(self, rows: slice | Rows) -> "npt.NDArray[np.float32] | StoredSamples":
        """Read the frames of a slice, or choose some without reading them.

        Raises:
            DataError: The file is damaged there, or holds NaN or infinity.
        """
        if isinstance(rows, slice):
            return gathered(self._source, self._rows[rows])
        chosen = StoredSamples(self._source, self._rows[rows], reopen=self._reopen)
        chosen._whole = self._whole
        return chosen

    def __reduce__(self) -> tuple[Any, ...]:
        """What another process opens the same frames with."""
        if self._reopen is None:
            raise TypeError("frames that stay in a file which nobody can open again")
        return self._reopen, (self._rows,)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[np.generic]:
        """All of them in memory, for what cannot do with some at a time; always a copy."""
        return gathered(self._source, self._rows).astype(dtype or np.float32, copy=False)


def gathered(source: FrameSource, rows: Rows) -> npt.NDArray[np.float32]:
    """The frames of some places in a file, in the order of the places, (n, channels, length).

    They are read in the order of the file, near ones at once with what lies between them.

    Raises:
        DataError: The file is damaged there, or holds NaN or infinity.
    """
    channels, length = source.table.shape
    found = np.empty((len(rows), channels, length), dtype=np.float32)
    order = np.argsort(rows, kind="stable")
    places = rows[order]
    size = 4 * channels * length
    near, most = max(1, _NEAR_BYTES // size), max(1, _MOST_BYTES // size)
    cut = (np.diff(places) > near) | (np.diff(places // most) > 0)
    for piece in np.split(np.arange(len(rows)), np.flatnonzero(cut) + 1):
        if len(piece):
            first, last = int(places[piece[0]]), int(places[piece[-1]])
            found[order[piece]] = source.read(first, last + 1)[places[piece] - first]
    return found
