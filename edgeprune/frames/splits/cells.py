"""Cells of a split: the frames of one modulation at one SNR."""

import zlib
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from edgeprune.errors import DataError
from edgeprune.records.frames import FrameTable
from edgeprune.records.names import SPLITS, Split

Indices = npt.NDArray[np.int64]
Parts = dict[Split, Indices]

TRAIN_SHARE = 0.72
VALIDATION_SHARE = 0.08


def cells(table: FrameTable) -> Iterator[tuple[str, int, Indices]]:
    """Name, SNR in dB (0 if unknown) and frames of each (modulation, SNR), sorted by both."""
    snrs = np.zeros(len(table), dtype=np.int64) if table.snrs is None else table.snrs
    order = np.lexsort((snrs, table.labels))
    keys = np.stack([table.labels[order], snrs[order]], axis=1)
    bounds = np.flatnonzero((keys[1:] != keys[:-1]).any(axis=1)) + 1
    for cell in np.split(order, bounds):
        yield table.classes[table.labels[cell[0]]], int(snrs[cell[0]]), cell


def bounds(count: int) -> list[int]:
    """Positions at which `count` frames are cut into train, validation and test, each of at least one."""
    validation = max(1, round(VALIDATION_SHARE * count))
    train = max(1, min(round(TRAIN_SHARE * count), count - validation - 1))
    return [train, train + validation]


def joined(parts: Mapping[Split, list[Indices]]) -> Parts:
    """Join the pieces of each part, sorted."""
    return {name: np.sort(np.concatenate(part)) for name, part in parts.items()}


def stratified(table: FrameTable, seed: int) -> Parts:
    """Split each cell into 72, 8 and 20 %.

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
