"""Frames for a command: the data of a model, split and normalized."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgeprune import datasets
from edgeprune.datasets import StoredSamples
from edgeprune.errors import ConfigError, DataError, EdgepruneError
from edgeprune.files.prefetch import ahead
from edgeprune.files.shipped import shipped
from edgeprune.files.store import read_json
from edgeprune.frames.duplicates import fingerprints, refuse_shared_prints
from edgeprune.frames.labelled import fit_to, refuse_silent_classes, table_of, take
from edgeprune.frames.splits import AUTO, groups_of, split_sha256, split_table
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.network.normalisation import normalise
from edgeprune.protocols import Progress
from edgeprune.records.frames import DataRef, Frames
from edgeprune.records.names import SPLITS, Split
from edgeprune.records.pruning import InputSpec
from edgeprune.tasks.data.reading import SPLIT_SEED, ReadOptions, handling_of


def find_data(model: Checkpoint, given: Path | None) -> Path:
    """Find the frames to use: the given file or folder, the data of the training, or shipped frames of them.

    "shipped" names the shipped frames, unless there is a file of that name.

    Raises:
        ConfigError: None of them exists.
    """
    if given == Path("shipped") and not given.exists():
        return _shipped_for(model)
    if given is not None:
        return given
    if model.data is not None and _unchanged(Path(model.data.source), model.data):
        return Path(model.data.source)
    return _shipped_for(model)


def _shipped_for(model: Checkpoint) -> Path:
    """Find the shipped frames that a model was trained on, or that are a part of its training data.

    Raises:
        ConfigError: No such frames are shipped.
    """
    trained_on = "" if model.data is None else model.data.sha256
    for manifest in sorted(shipped("calib_data").glob("*/manifest.json")):
        described: dict[str, Any] = read_json(manifest)
        if trained_on in (described["sha256"], described["source"]["sha256"]):
            return manifest.parent / str(described["file"])
    raise ConfigError("no data were given, and no shipped frames are of what this model names", "Use `data=PATH`")


def _unchanged(path: Path, wanted: DataRef) -> bool:
    """Return whether a file or folder is unchanged."""
    with contextlib.suppress(EdgepruneError):
        return datasets.sha256_of(path, wanted.reading) == wanted.sha256
    return False


def frames_for(model: Checkpoint, data: Path | Frames, handling: ReadOptions | None = None) -> dict[Split, Frames]:
    """Read the frames of a file or folder, fit them to a model, and split them as in its training.

    Args:
        model: The model.
        data: The file or folder, or frames that were read already.
        handling: Options that replace those of the training.

    Raises:
        ConfigError: The file does not exist, or the split method is unknown.
        DataError: The frames do not fit the model, or a split is empty.
    """
    handling = handling or handling_of(model)
    if isinstance(data, Path):
        data = datasets.read_or_keep(data, handling.reading, handling.stays)
    return fitted(model, data, handling)


def own_frames(model: Checkpoint, handling: ReadOptions) -> tuple[Path, dict[Split, Frames]]:
    """Find a model's own data and read them as `find_data` and `frames_for` do, but hash the file only once.

    Raises:
        ConfigError: Neither the training data nor a shipped set that matches the model exists.
        DataError: The frames do not fit the model, or a split is empty.
    """
    if model.data is not None:
        path = Path(model.data.source)
        try:
            frames = datasets.read_or_keep(path, handling.reading, handling.stays)
            if frames.sha256 == model.data.sha256:
                return path, fitted(model, frames, handling)
        except EdgepruneError:
            if _unchanged(path, model.data):
                raise
    path = _shipped_for(model)
    return path, frames_for(model, path, handling)


def fitted(model: Checkpoint, frames: Frames, handling: ReadOptions) -> dict[Split, Frames]:
    """Relabel frames with indices of a model's classes, and split them.

    Raises:
        DataError: The frames do not fit the model, a split is empty, or a frame is in two splits.
    """
    known = handling.checked if model.data and model.data.sha256 == frames.sha256 else None
    return splits_of(fit_to(frames, model.classes, model.input), handling.seed, handling.method, known)


def split_seed_of(model: Checkpoint) -> int:
    """Return the seed of the split of a model's data."""
    return handling_of(model).seed


def split_of(model: Checkpoint) -> str:
    """Return the method of the split of a model's data, a name in `splits.METHODS`."""
    return handling_of(model).method


def splits_of(frames: Frames, seed: int, method: str = AUTO, known: str | None = None) -> dict[Split, Frames]:
    """Split frames; groups of dependent frames are kept where they are known.

    Args:
        frames: All frames.
        seed: Seed of the split.
        method: One of `splits.METHODS`.
        known: Sha256 of a split of these frames that was checked before; if the frames are not in memory, that split is
            not checked again.

    Raises:
        ConfigError: The split method is unknown.
        DataError: A split is empty, or a frame is in two splits.
    """
    table = table_of(frames)
    indices = split_table(table, seed, method)
    sha256 = split_sha256(indices)
    frames = replace(frames, groups=groups_of(table, method))
    if not stored(frames) or sha256 != known:
        refuse_shared_prints(_prints(frames), indices, frames.source)
    parts = {name: replace(take(frames, chosen), split_sha256=sha256) for name, chosen in indices.items()}
    empty = [name for name, part in parts.items() if not len(part)]
    if empty:
        raise DataError(f"{frames.source} holds no frames for {' and '.join(empty)}")
    return parts


def stored(frames: Frames) -> bool:
    """Return whether samples are still in their file and not in memory."""
    return isinstance(frames.iq, StoredSamples)


def _prints(frames: Frames) -> npt.NDArray[np.uint64]:
    """Compute the fingerprint of each frame, (N,).

    Raises:
        DataError: Samples that are read for the first time are damaged, or those of a class are all zero.
    """
    if not stored(frames):
        return fingerprints(frames.iq)
    table = table_of(frames)
    prints, heard = np.empty(len(table), dtype=np.uint64), np.empty(len(table), dtype=np.bool_)
    for place, iq in _read_ahead(frames):
        prints[place] = fingerprints(iq)
        heard[place] = (iq != 0).any(axis=(1, 2))
    refuse_silent_classes(table, heard)
    return prints


def prints_of(frames: Frames) -> npt.NDArray[np.uint64]:
    """Compute the fingerprint of each frame, (N,), block by block for frames in a file."""
    if not stored(frames):
        return fingerprints(frames.iq)
    return np.concatenate([fingerprints(iq) for _, iq in _read_ahead(frames)])


def _read_ahead(frames: Frames) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """Yield frames from a file block by block with their places, read ahead of use."""
    places = [slice(*pair) for pair in datasets.blocks(table_of(frames))]
    yield from zip(places, ahead(partial(frames.iq.__getitem__, place) for place in places), strict=True)


def spread(frames: Frames, count: int, seed: int) -> Frames:
    """Take at most `count` frames into memory, spread evenly over the order of the file and then shuffled."""
    some = take(frames, np.random.default_rng(seed).permutation(_evenly(frames, count)))
    return replace(some, iq=some.iq[:])


def _evenly(frames: Frames, count: int) -> npt.NDArray[np.int64]:
    return np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(np.int64))


def in_memory(frames: Frames, count: int, seed: int) -> Frames:
    """Return frames in memory unchanged; of those in a file, take at most `count`, spread over it."""
    return spread(frames, count, seed) if stored(frames) else frames


def at_most(parts: dict[Split, Frames], count: int | None, split: Split = "train") -> dict[Split, Frames]:
    """Limit one split to `count` frames, spread over all of it; None does not limit it."""
    if count is None:
        return parts
    whole = parts[split]
    few = take(whole, _evenly(whole, count)) if stored(whole) else spread(whole, count, SPLIT_SEED)
    return {**parts, split: few}


def tell_frames(parts: Mapping[Split, Frames], progress: Progress) -> None:
    """Note the frames that a command works on: source, number and split."""
    counts = ", ".join(f"{len(parts[name])} {name}" for name in SPLITS)
    progress.note(f"frames of {parts['train'].source}: {counts}")


def tell_skipped(frames: Frames, progress: Progress) -> None:
    """Note the files that were skipped in reading, with the reason."""
    for line in frames.skipped:
        progress.note(f"skipped: {line}")


def batches(frames: Frames, shape: InputSpec, size: int) -> Iterator[torch.Tensor]:
    """Yield normalized frames in batches (size, channels, length); a smaller last batch is dropped if it has others."""
    iq = normalise(torch.from_numpy(frames.iq), shape.normalisation)
    yield from (batch for batch in torch.split(iq, size) if len(batch) == size or len(frames) < size)
