"""What goes into a command: the data of a model, split and normalised, and a place for the result."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeprune import datasets
from edgeprune.checkpoint import Checkpoint
from edgeprune.duplicates import refuse_shared
from edgeprune.errors import ConfigError, DataError
from edgeprune.frames import fit_to, split_frames, take
from edgeprune.normalisation import normalise
from edgeprune.records import Frames, InputSpec, Split
from edgeprune.resources import shipped
from edgeprune.store import file_sha256, read_json, replacing

SPLIT_SEED = 2016


def find_data(model: Checkpoint, given: Path | None) -> Path:
    """The file of frames to use: the one given, the one the model was trained on, or the shipped set that matches.

    Raises:
        ConfigError: None of them exists.
    """
    if given is not None:
        return given
    if model.data is not None:
        named = Path(model.data.source)
        if named.is_file() and file_sha256(named) == model.data.sha256:
            return named
    for manifest in sorted(shipped("calib_data").glob("*/manifest.json")):
        described: dict[str, Any] = read_json(manifest)
        if described["classes"] == list(model.classes) and described["length"] == model.input.length:
            return manifest.parent / str(described["file"])
    raise ConfigError("no data were given, and no shipped set has this model's classes and length", "Use --data PATH")


def frames_for(model: Checkpoint, path: Path) -> dict[Split, Frames]:
    """The frames of a file, fitted to a model and split as when it was trained.

    Raises:
        DataError: The frames do not fit the model, or a split is empty.
    """
    frames = fit_to(datasets.read(path), model.classes, model.input)
    return splits_of(frames, split_seed_of(model))


def split_seed_of(model: Checkpoint) -> int:
    """The seed that a model's data were split by."""
    return model.data.split_seed if model.data else SPLIT_SEED


def splits_of(frames: Frames, seed: int) -> dict[Split, Frames]:
    """The frames of each split.

    Raises:
        DataError: A split is empty, or a frame is in two of them.
    """
    indices = split_frames(frames, seed)
    refuse_shared(frames.iq, indices, frames.source)
    parts = {name: take(frames, chosen) for name, chosen in indices.items()}
    empty = [name for name, part in parts.items() if not len(part)]
    if empty:
        raise DataError(f"{frames.source} holds no frames for {' and '.join(empty)}")
    return parts


def spread(frames: Frames, count: int, seed: int) -> Frames:
    """At most `count` frames, spread evenly over the order of the file and then shuffled."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(np.int64))
    return take(frames, np.random.default_rng(seed).permutation(chosen))


def at_most(parts: dict[Split, Frames], count: int | None) -> dict[Split, Frames]:
    """The same splits with at most so many frames to train on, spread over all; None leaves them."""
    return parts if count is None else {**parts, "train": spread(parts["train"], count, SPLIT_SEED)}


def batches(frames: Frames, shape: InputSpec, size: int) -> Iterator[torch.Tensor]:
    """Normalised frames in batches (size, channels, length), without a smaller last one unless it is the only one."""
    iq = normalise(torch.from_numpy(frames.iq), shape.normalisation)
    yield from (batch for batch in torch.split(iq, size) if len(batch) == size or len(frames) < size)


def writable(path: Path) -> None:
    """Find out before long work that its result can be written.

    Raises:
        ConfigError: It cannot.
    """
    probe = path.with_name(f".{path.name}.probe")
    with replacing(probe):
        pass
    probe.unlink()
