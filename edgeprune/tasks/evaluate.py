"""`eval`: accuracy of a model file or an exported model; the search for the fewest units within a bound on it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeprune import datasets, registry
from edgeprune.errors import ConfigError, ModelError
from edgeprune.files.bounds import claimed, parse_json
from edgeprune.files.store import from_plain
from edgeprune.frames.labelled import fit_to, refuse_class_name
from edgeprune.frames.splits import AUTO
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.network.compute import CPU, Compute
from edgeprune.network.model_file import ModelOptions
from edgeprune.protocols import Progress, Session
from edgeprune.records.frames import DataRef, Frames, Reading
from edgeprune.records.names import Split
from edgeprune.records.pruning import InputSpec
from edgeprune.records.results import Accuracy
from edgeprune.tasks.data.frames import find_data, frames_for, own_frames, splits_of, tell_frames, tell_skipped
from edgeprune.tasks.data.reading import ReadOptions, ReadOverrides, data_ref, handling_of, reading_of
from edgeprune.tasks.identify import settled, warn_low
from edgeprune.train.accuracy import accuracy
from edgeprune.train.evaluate import predict

_READ_FRAMES = 1024


def evaluate(
    path: Path,
    options: ModelOptions,
    data: Path | None,
    asked: ReadOverrides,
    split: Split,
    progress: Progress,
    compute: Compute = CPU,
) -> tuple[Accuracy, DataRef]:
    """Evaluate a model file or an exported model on one part of the data.

    Returns:
        The accuracy, and a reference to the data with their split.

    Raises:
        ConfigError: No such file, or an exported model without data.
    """
    if path.suffix == ".onnx":
        if data is None:
            raise ConfigError(f"{path} does not say what it was trained on", "Use `data=PATH`")
        return evaluate_onnx(path, data, asked, split, progress)
    return evaluate_checkpoint(checkpoints.load(path, options), data, asked, split, progress, compute)


def evaluate_checkpoint(
    model: Checkpoint,
    data: Path | None,
    asked: ReadOverrides,
    split: Split,
    progress: Progress,
    compute: Compute = CPU,
) -> tuple[Accuracy, DataRef]:
    """Evaluate a loaded model on one part of the data, by default of its own; returns its accuracy and the data."""
    handling = handling_of(model, asked)
    if data is None:
        data, parts = own_frames(model, handling)
    else:
        data = find_data(model, data)
        parts = frames_for(model, data, handling)
    tell_frames(parts, progress)
    known = model.input.normalisation != "unknown"
    model = settled(model, parts["validation"], progress, compute)
    found = measured(model, parts[split], split, progress, compute)
    if known:
        warn_low(model.name, model.classes, found.top1, progress)
    return found, data_ref(str(data), parts[split], handling)


def measured(model: Checkpoint, frames: Frames, split: Split, progress: Progress, compute: Compute = CPU) -> Accuracy:
    """Measure the accuracy of a model on the frames of one split."""
    tell_skipped(frames, progress)
    progress.stage(f"{model.name} on {len(frames)} {split} frames of {frames.source}")
    with compute.lent(model.model):
        logits = predict(model.model, frames.iq, model.input, progress, "frames")
    return accuracy(logits, frames, split)


def evaluate_onnx(
    path: Path, data: Path | Frames, asked: ReadOverrides, split: Split, progress: Progress
) -> tuple[Accuracy, DataRef]:
    """Evaluate an exported model with ONNX Runtime on one part of the data; returns its accuracy and the data.

    Classes and split come from the metadata that edgeprune writes.
    """
    runtime = registry.get("runtimes", "onnxruntime")
    with runtime.open(path, 1) as session:
        about = _Exported.read(session.metadata, path)
        channels, length = session.frame_shape
        handling = ReadOptions(
            seed=about.split_seed,
            method=asked.split or about.split,
            reading=reading_of(about.reading, length, asked),
            stream=asked.stream,
        )
        raw = data if isinstance(data, Frames) else datasets.read_or_keep(data, handling.reading, handling.stays)
        fitted = fit_to(raw, about.classes, InputSpec(channels, length))
        parts = splits_of(fitted, handling.seed, handling.method)
        tell_frames(parts, progress)
        frames = parts[split]
        tell_skipped(frames, progress)
        progress.stage(f"{path.name} on {len(frames)} {split} frames of {frames.source}")
        logits = _logits(session, frames, progress)
        if logits.shape[1:] != (len(about.classes),):
            raise ModelError(f"{path} names {len(about.classes)} classes and has outputs of shape {logits.shape[1:]}")
        found = accuracy(logits, frames, split)
    warn_low(path.name, about.classes, found.top1, progress)
    return found, data_ref(frames.source if isinstance(data, Frames) else str(data), frames, handling)


@dataclass(frozen=True)
class _Exported:
    """Metadata of an exported model."""

    classes: tuple[str, ...]
    split_seed: int
    split: str = AUTO
    reading: Reading | None = None

    @classmethod
    def read(cls, about: dict[str, str], path: Path) -> "_Exported":
        """Read the metadata of a model.

        Raises:
            ConfigError: Classes or split are missing, or not in the form that edgeprune writes.
            ModelError: A value is not JSON.
        """
        if not {"classes", "split_seed"} <= about.keys():
            raise ConfigError(f"{path} does not name its classes and split", "Export it with: edgeprune export")
        texts = {name: about[name] for name in ("classes", "split_seed", "reading") if name in about}
        with claimed(path, "a model that edgeprune exported", ModelError):
            plain = {name: parse_json(text.encode()) for name, text in texts.items()}
        read = from_plain(cls, {**plain, "split": about.get("split", AUTO)}, str(path))
        for name in read.classes:
            refuse_class_name(name, str(path))
        return read


def _logits(session: Session, frames: Frames, progress: Progress) -> npt.NDArray[np.float32]:
    """Compute logits frame by frame, which works with any batch size, also a fixed one of 1."""
    logits = []
    with progress.track("frames", len(frames)) as advance:
        for start in range(0, len(frames), _READ_FRAMES):
            some = frames.iq[start : start + _READ_FRAMES]
            logits += [session.run(some[index : index + 1]) for index in range(len(some))]
            advance(len(some), "")
    return np.concatenate(logits)


def fewest(least: int, most: int, holds: Callable[[int], bool]) -> int | None:
    """Find the smallest number that holds, by bisection; if one holds, all larger ones are assumed to hold.

    Args:
        least: The smallest number to try.
        most: The largest number to try.
        holds: Predicate, called for about log2(most - least) numbers, for none twice.

    Returns:
        A number that holds and whose predecessor does not or is below `least`; None if not even `most` holds.
    """
    low, high = least, most + 1
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return high if high <= most else None


def top1(model: Checkpoint, frames: Frames, progress: Progress, compute: Compute = CPU) -> float:
    """Compute the share of validation frames that a model classifies correctly."""
    with compute.lent(model.model):
        logits = predict(model.model, frames.iq, model.input, progress, f"{frames.source}: validation")
    return accuracy(logits, frames, "validation").top1
