"""Splits by group: frames of one stream, transmitter or recording stay together in one part."""

import zlib

import numpy as np

from edgeprune.errors import DataError
from edgeprune.frames.splits.cells import Indices, Parts, bounds, cells, joined
from edgeprune.frames.splits.contiguous import guard_of
from edgeprune.frames.splits.recordings import whole_groups
from edgeprune.records.frames import FrameTable
from edgeprune.records.names import SPLITS, Split


def by_group(table: FrameTable, seed: int) -> Parts:
    """Shuffle the groups of each cell and cut them near 72, 8 and 20 % of its frames.

    If every frame is a group of its own, this is the stratified split. Groups with frames in several cells are
    distributed as recordings are.

    Raises:
        DataError: The file does not say which frames belong together, or a cell has fewer than three groups.
    """
    if table.groups is None:
        raise DataError(f"{table.source} does not say which frames belong together", "Split it with 'stratified'")
    found = list(cells(table))
    if sum(len(np.unique(table.groups[cell])) for _, _, cell in found) > len(np.unique(table.groups)):
        return whole_groups(table, table.groups, seed)
    parts: dict[Split, list[Indices]] = {name: [] for name in SPLITS}
    for name, snr, cell in found:
        _, first, group_of = np.unique(table.groups[cell], return_index=True, return_inverse=True)
        if len(first) < len(SPLITS):
            raise DataError(
                f"{table.source} holds {len(first)} groups of {name} at {snr} dB; a split takes {len(SPLITS)} or more, "
                "since a group is whole in one part",
                "Split it with 'stratified', and take its accuracy for optimistic",
            )
        generator = np.random.default_rng([seed, zlib.crc32(name.encode()), snr & 0xFFFFFFFF])
        shuffled = generator.permutation(np.argsort(first))  # in the order of the file before
        frames = np.cumsum(np.bincount(group_of)[shuffled])
        train, end = (int(np.argmin(np.abs(frames - bound))) + 1 for bound in bounds(len(cell)))
        train = min(train, len(shuffled) - 2)
        end = min(max(end, train + 1), len(shuffled) - 1)
        for split_name, some in zip(SPLITS, np.split(shuffled, [train, end]), strict=True):
            parts[split_name].append(cell[np.isin(group_of, some)])
    return joined(parts)


def runs(table: FrameTable) -> Indices:
    """Number of the run of neighbors that each frame is in, (N,): a run is a twentieth of a cell, or one frame.

    If frames were cut from recordings, a cell is within one recording, in order of time; otherwise in the order of the
    file. Frames of one run are dependent; those of different runs are assumed to be independent.
    """
    numbers = np.empty(len(table), dtype=np.int64)
    first = 0
    for _, _, cell in cells(table):
        recordings = np.zeros(len(cell), dtype=np.int64) if table.recordings is None else table.recordings[cell]
        for recording in np.unique(recordings):
            here = cell[recordings == recording]
            if table.starts is not None:
                here = here[np.argsort(table.starts[here], kind="stable")]
            within = np.arange(len(here)) // max(1, guard_of(len(here)))
            numbers[here] = first + within
            first += int(within[-1]) + 1
    return numbers
