"""Which frames are for training, validation and test: one way of splitting a file, all told from labels alone."""

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
    """Indices of the frames of each split, sorted.

    Args:
        table: Table of the frames.
        seed: Random seed, for the seeded methods.
        method: One of METHODS. 'auto' takes the split that the file names; else 'groups' where the file says which
            frames belong together; else, for frames of recordings, 'recordings' where every class is at every SNR in
            three or more of them, and 'spans' where not; else 'stratified'.

    Raises:
        ConfigError: No such method.
        DataError: The frames cannot be split so.
    """
    if method not in METHODS:
        raise unknown_name("split", method, METHODS)
    if method == AUTO and table.split is not None:
        return {name: np.flatnonzero(table.split == index) for index, name in enumerate(SPLITS)}
    return _SPLITTERS[_chosen(table) if method == AUTO else method](table, seed)


def groups_of(table: FrameTable, method: str = AUTO) -> Indices | None:
    """Number of the group of each frame, (N,), where frames of one group are not independent; None when nobody knows.

    They are those that the file names, else whole recordings. Splits that cut recordings or cells in time have runs of
    neighbours for groups.

    Args:
        table: Table of the frames.
        method: How these were split, one of METHODS.
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
    """Sha256 of a split: of the name and the sorted indices of each part. The same frames split alike have the same."""
    digest = hashlib.sha256()
    for name in SPLITS:
        digest.update(f"{name} {len(parts[name])} ".encode())
        digest.update(np.sort(parts[name]).astype("<i8").tobytes())
    return digest.hexdigest()
