"""Contiguous cuts of cells, for frames that follow one another in time and resemble their neighbors.

Neighboring frames that were cut from one transmission share its message and the state of the channel. A random split
puts them on both sides, so the network has nearly seen its test frames.
"""

import zlib

import numpy as np

from edgeprune.errors import DataError
from edgeprune.frames.splits.cells import Indices, Parts, bounds, cells, joined
from edgeprune.records.frames import FrameTable
from edgeprune.records.names import SPLITS, Split

_GUARD_ONE_IN = 20


def contiguous(table: FrameTable, seed: int) -> Parts:
    """Take 20 and 8 % at the two ends of each cell for test and validation, and what is between them for training.

    A guard of a twentieth of the cell is left out of the train part at either end. The seed, the class name and the
    SNR determine at which end the test frames are.

    Raises:
        DataError: A cell has fewer than 3 frames, so that it cannot be in every split; or the frames are of recordings.
    """
    if table.recordings is not None:
        raise DataError(
            f"{table.source} says where in its recordings frames are from; this split goes by their order alone",
            "Split it by 'spans'",
        )
    parts: dict[Split, list[Indices]] = {name: [] for name in SPLITS}
    for name, snr, cell in cells(table):
        if len(cell) < len(SPLITS):
            raise DataError(
                f"{table.source} holds {len(cell)} frames of {name} at {snr} dB; a split takes {len(SPLITS)} or more"
            )
        generator = np.random.default_rng([seed, zlib.crc32(name.encode()), snr & 0xFFFFFFFF])
        ordered = cell[::-1] if generator.integers(2) else cell
        train, end = bounds(len(cell))
        validation, middle, test = np.split(ordered, [end - train, end])
        guard = min(guard_of(len(cell)), (len(middle) - 1) // 2)
        for split_name, part in zip(SPLITS, (middle[guard : len(middle) - guard], validation, test), strict=True):
            parts[split_name].append(part)
    return joined(parts)


def guard_of(count: int) -> int:
    """Number of frames left out on either side of the train part of a cell of `count` frames: a twentieth, rounded."""
    return (count + _GUARD_ONE_IN // 2) // _GUARD_ONE_IN
