"""Samples that stay in their file until they are requested."""

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
    """Samples of frames in a file, float32 (N, channels, length), in place of an array of that shape.

    A slice reads its frames; an array of indices selects frames whose samples stay in the file. Conversion to an array
    reads all of them.

    Args:
        source: Source of all frames of the file.
        rows: Indices of the frames, in this order; None for all.
        held: Stack that keeps the file open; closed when nothing can read from it any more.
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
        """Shape (frames, channels, length)."""
        return (len(self), *self._source.table.shape)

    def __getitem__(self, rows: slice | Rows) -> "npt.NDArray[np.float32] | StoredSamples":
        """Read the frames of a slice, or select some without reading them.

        Raises:
            DataError: The file is damaged there, or holds NaN or infinity.
        """
        if isinstance(rows, slice):
            return gathered(self._source, self._rows[rows])
        chosen = StoredSamples(self._source, self._rows[rows], reopen=self._reopen)
        chosen._whole = self._whole
        return chosen

    def __reduce__(self) -> tuple[Any, ...]:
        """Describe how another process opens the same frames."""
        if self._reopen is None:
            raise TypeError("frames that stay in a file which nobody can open again")
        return self._reopen, (self._rows,)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[np.generic]:
        """Read all of them into memory, for code that cannot work in parts; always a copy."""
        return gathered(self._source, self._rows).astype(dtype or np.float32, copy=False)


def gathered(source: FrameSource, rows: Rows) -> npt.NDArray[np.float32]:
    """Read frames of a file by their indices, in the order of the indices, (n, channels, length).

    They are read in the order of the file; nearby ones are read at once with everything between them.

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
