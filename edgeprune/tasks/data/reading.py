"""Reading and splitting of a command's frames: as given, else as in the training of the model."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from edgeprune.errors import unknown_name
from edgeprune.frames.splits import AUTO, METHODS
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.records.frames import DataRef, Frames, FrameTable, Reading

SPLIT_SEED = 2016
_COPIES = 3  # of the samples, at most at a time: as read, split, and normalized


@dataclass(frozen=True)
class ReadOptions:
    """Reading and splitting of frames.

    Attributes:
        seed: Seed of the split.
        method: Method of the split, one of `splits.METHODS`.
        reading: Cutting of recordings into frames; None for the default.
        stream: Leave samples in their file until they are used; None to do so if they are too many for memory.
        checked: Sha256 of a split of the same file that is known to have no frame in two parts.

    Raises:
        ConfigError: The split method is unknown.
    """

    seed: int = SPLIT_SEED
    method: str = AUTO
    reading: Reading | None = None
    stream: bool | None = None
    checked: str | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown_name("split", self.method, METHODS)

    def stays(self, table: FrameTable) -> bool:
        """Return whether the samples of these frames stay in their file."""
        if self.stream is not None:
            return self.stream
        return _COPIES * 4 * len(table) * table.shape[0] * table.shape[1] > available_bytes()


@dataclass(frozen=True)
class ReadOverrides:
    """Options for reading and splitting given by the user, which override those of the training.

    Attributes:
        split: One of `splits.METHODS`; None for the model's.
        reading: Fields of a `Reading` that override the model's.
        stream: As in `ReadOptions`.
    """

    split: str | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)
    stream: bool | None = None


def handling_of(model: Checkpoint, overrides: ReadOverrides | None = None) -> ReadOptions:
    """Read and split as in the training of the model, but for the overrides; recordings are cut to its length."""
    overrides, trained = overrides or ReadOverrides(), model.data
    return ReadOptions(
        seed=trained.split_seed if trained else SPLIT_SEED,
        method=overrides.split or (trained.split if trained else AUTO),
        reading=reading_of(trained.reading if trained else None, model.input.length, overrides),
        stream=overrides.stream,
        checked=trained.split_sha256 if trained else None,
    )


def reading_of(before: Reading | None, length: int, overrides: ReadOverrides) -> Reading:
    """Cut recordings for a network of that length as before, but for the overrides."""
    return replace(before or Reading(length=length), **overrides.reading)


def data_ref(source: str, part: Frames, handling: ReadOptions) -> DataRef:
    """Make the reference to the data that a model file keeps, from one part of their split."""
    return DataRef(
        source=source,
        sha256=part.sha256,
        split_seed=handling.seed,
        split=handling.method,
        split_sha256=part.split_sha256,
        reading=handling.reading if part.recordings is not None else None,
    )


_GROUP = Path("/sys/fs/cgroup")


def available_bytes(group: Path = _GROUP) -> int:
    """Memory in bytes that this process may still use: what is free, or less in a container with a memory limit.

    Args:
        group: Folder of the control group with the limit (Linux, version 2).
    """
    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):  # no control groups, or no bound: the text 'max'
        bound, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        free = min(free, max(0, bound - used))
    return free
