"""Splits into training, validation and test frames: one method each, decided from labels alone."""

import hashlib
from collections.abc import Callable, Mapping

import numpy as np

from edgeprune.errors import unknown_name
from edgeprune.frames.splits.cells import Indices, Parts, stratified
from edgeprune.frames.splits.contiguous import contiguous
from edgeprune.frames.splits.groups import by_group, runs
from edgeprune.frames.splits.published import amr_benchmark, authors, itu_2018
from edgeprune.frames.splits.recordings import by_recording, by_span, recordings_suffice
from edgeprune.records.frames import FrameTable
from edgeprune.records.names import SPLITS, Split

AUTO = "auto"
_SPLITTERS: dict[str, Callable[[FrameTable, int], Parts]] = {
    "stratified": stratified,
    "groups": by_group,
    "recordings": by_recording,
    "spans": by_span,
    "contiguous": contiguous,
    "authors-800-200": authors,
    "amr-benchmark-2016": amr_benchmark,
    "itu-2018": itu_2018,
}
METHODS = (AUTO, *_SPLITTERS)


def split_table(table: FrameTable, seed: int, method: str = AUTO) -> Parts:
    """Split the frames; gives the sorted indices of each split.

    Args:
        table: Table of the frames.
        seed: Random seed, for the seeded methods.
        method: One of METHODS. 'auto' takes the first that applies: the split in the file; 'groups' if the file says
            which frames belong together; for frames of recordings, 'recordings' if every class occurs at every SNR in
            three or more of them, otherwise 'spans'; 'stratified'.

    Raises:
        ConfigError: No such method.
        DataError: The frames cannot be split this way.
    """
    if method not in METHODS:
        raise unknown_name("split", method, METHODS)
    if method == AUTO and table.split is not None:
        return {name: np.flatnonzero(table.split == index) for index, name in enumerate(SPLITS)}
    return _SPLITTERS[_chosen(table) if method == AUTO else method](table, seed)


def groups_of(table: FrameTable, method: str = AUTO) -> Indices | None:
    """Group of each frame, (N,), where frames of one group are dependent; None if unknown.

    The groups are those in the file, otherwise whole recordings. For splits that cut recordings or cells in time,
    groups are runs of neighbors.

    Args:
        table: Table of the frames.
        method: Method by which these were split, one of METHODS.
    """
    if table.groups is not None:
        return table.groups
    used = _chosen(table) if method == AUTO and table.split is None else method
    if used in ("contiguous", "spans"):
        return runs(table)
    return table.recordings


def _chosen(table: FrameTable) -> str:
    if table.groups is not None:
        return "groups"
    if table.recordings is None:
        return "stratified"
    return "recordings" if recordings_suffice(table) else "spans"


def split_sha256(parts: Mapping[Split, Indices]) -> str:
    """SHA-256 of a split: of the name and the sorted indices of each part; equal splits of equal frames agree."""
    digest = hashlib.sha256()
    for name in SPLITS:
        digest.update(f"{name} {len(parts[name])} ".encode())
        digest.update(np.sort(parts[name]).astype("<i8").tobytes())
    return digest.hexdigest()
