"""Every cell shuffled and cut, by a generator seeded with the split seed, the class name and the SNR.

So a cell is split alike whatever other cells the file holds.
"""

import zlib

import numpy as np

from edgeprune.errors import DataError
from edgeprune.frames.splits.cells import Indices, Parts, bounds, cells, joined
from edgeprune.records.frames import FrameTable
from edgeprune.records.names import SPLITS, Split


def stratified(table: FrameTable, seed: int) -> Parts:
    """72, 8 and 20 % of each cell.

    Raises:
        DataError: A cell has fewer than 3 frames, so that it cannot be in every split.
    """
    parts: dict[Split, list[Indices]] = {name: [] for name in SPLITS}
    for name, snr, cell in cells(table):
        if len(cell) < len(SPLITS):
            raise DataError(
                f"{table.source} holds {len(cell)} frames of {name} at {snr} dB; a split takes {len(SPLITS)} or more"
            )
        generator = np.random.default_rng([seed, zlib.crc32(name.encode()), int(snr) & 0xFFFFFFFF])
        shuffled = generator.permutation(cell)
        for split_name, part in zip(SPLITS, np.split(shuffled, bounds(len(cell))), strict=True):
            parts[split_name].append(part)
    return joined(parts)
