"""Splits by recording: neighbors share samples, and all frames of a recording share its transmitter and channel."""

import zlib

import numpy as np

from edgeprune.errors import DataError
from edgeprune.frames.splits.cells import TRAIN_SHARE, VALIDATION_SHARE, Indices, Parts, bounds, cells, joined
from edgeprune.records.frames import FrameTable
from edgeprune.records.names import SPLITS, Split


def _places(table: FrameTable) -> tuple[Indices, Indices]:
    """Recording and start of each frame.

    Raises:
        DataError: The file does not contain them.
    """
    if table.recordings is None or table.starts is None:
        raise DataError(
            f"{table.source} does not say which recordings its frames are from", "Split it with 'stratified'"
        )
    return table.recordings, table.starts


def recordings_suffice(table: FrameTable) -> bool:
    """Whether every class at every SNR is in at least as many recordings as there are parts."""
    recordings, _ = _places(table)
    return all(len(np.unique(recordings[cell])) >= len(SPLITS) for _, _, cell in cells(table))


def by_recording(table: FrameTable, seed: int) -> Parts:
    """Distribute whole recordings, the shortest first: one to each part that lacks a cell, then where most are missing.

    Raises:
        DataError: A part is left without a class at an SNR.
    """
    recordings, _ = _places(table)
    return whole_groups(table, recordings, seed)


def whole_groups(table: FrameTable, groups: Indices, seed: int) -> Parts:
    """Split any groups of frames as `by_recording` splits recordings.

    Args:
        table: Table of the frames.
        groups: Number of the group of each frame, (N,).
        seed: Seed of the order in which groups of one size are distributed.

    Raises:
        DataError: A part is left without a class at an SNR.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    found = list(cells(table))
    counts = np.zeros((group_of.max() + 1, len(found)))
    for column, (_, _, cell) in enumerate(found):
        np.add.at(counts[:, column], group_of[cell], 1)
    shares = np.array([TRAIN_SHARE, VALIDATION_SHARE, 1 - TRAIN_SHARE - VALIDATION_SHARE])
    wanted = shares[:, None] * counts.sum(axis=0)
    given = np.zeros_like(wanted)
    part_of = np.empty(len(counts), dtype=np.int64)
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    for group in shuffled[np.argsort(counts[shuffled].sum(axis=1), kind="stable")]:
        present = counts[group] > 0
        empty = (given[:, present] == 0).sum(axis=1)
        lacking = np.where(empty > 0, -shares, (wanted - given)[:, present].sum(axis=1))  # the smallest empty one first
        part_of[group] = np.lexsort((lacking, empty))[-1]
        given[part_of[group]] += counts[group]
    short = np.argwhere(given == 0)
    if len(short):
        part, column = short[0]
        name, snr, _ = found[column]
        what, instead = ("groups", "stratified") if groups is table.groups else ("recordings", "spans")
        raise DataError(
            f"{table.source}: too few {what} of {name} at {snr} dB for a {SPLITS[part]} split of its own",
            f"Split by {instead!r}",
        )
    return {name: np.flatnonzero(part_of[group_of] == index) for index, name in enumerate(SPLITS)}


def by_span(table: FrameTable, seed: int) -> Parts:
    """Cut each cell of each recording into three spans of time, with train in the middle.

    Frames that overlap another part are left out.

    Raises:
        DataError: A part is left empty.
    """
    recordings, starts = _places(table)
    parts: dict[Split, list[Indices]] = {name: [] for name in SPLITS}
    for name, snr, cell in cells(table):
        for recording in np.unique(recordings[cell]):
            here = cell[recordings[cell] == recording]
            here = here[np.argsort(starts[here], kind="stable")]
            generator = np.random.default_rng([seed, zlib.crc32(name.encode()), snr & 0xFFFFFFFF, int(recording)])
            sizes = np.diff([0, *bounds(len(here)), len(here)]) if len(here) >= len(SPLITS) else [len(here), 0, 0]
            order = [1, 0, 2] if generator.integers(2) else [2, 0, 1]  # train between the others, which are small
            spans = np.split(here, np.cumsum([sizes[part] for part in order])[:-1])
            for part, span in zip(order, spans, strict=True):
                parts[SPLITS[part]].append(span)
    found = joined(parts)
    found["validation"] = _apart(table, found["validation"], found["test"])
    found["train"] = _apart(table, found["train"], np.concatenate([found["validation"], found["test"]]))
    empty = [name for name in SPLITS if not len(found[name])]
    if empty:
        raise DataError(
            f"{table.source}: recordings are too short for a {empty[0]} split that shares no samples with another",
            "Cut frames with a longer `hop`, or add recordings",
        )
    return found


def _apart(table: FrameTable, some: Indices, others: Indices) -> Indices:
    """Select those of `some` that share no sample with any of `others`."""
    recordings, starts = _places(table)
    length = table.shape[1]
    stride = np.int64(starts.max() - starts.min() + 2 * length)  # recordings laid end to end, with a gap
    _, number = np.unique(recordings, return_inverse=True)
    place = number * stride + (starts - starts.min())
    taken = np.sort(place[others])
    nearest = np.searchsorted(taken, place[some] - length, side="right")
    clear = (nearest == len(taken)) | (taken[np.minimum(nearest, len(taken) - 1)] >= place[some] + length)
    found: Indices = some[clear]
    return found
