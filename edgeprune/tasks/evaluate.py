"""`eval`: accuracy of a model file or an exported model, of frames that may be more than memory holds."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeprune import datasets, registry
from edgeprune.errors import ConfigError
from edgeprune.files.store import from_plain
from edgeprune.frames.labelled import fit_to
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
from edgeprune.tasks.data.frames import frames_for, own_frames, splits_of, tell_skipped
from edgeprune.tasks.data.reading import Asked, Handling, data_ref, handling_of, reading_of
from edgeprune.train.accuracy import accuracy
from edgeprune.train.evaluate import predict

_READ_FRAMES = 1024


def evaluate(
    path: Path,
    options: ModelOptions,
    data: Path | None,
    asked: Asked,
    split: Split,
    progress: Progress,
    compute: Compute = CPU,
) -> tuple[Accuracy, DataRef]:
    """Accuracy of a model file or an exported model on one part of the data, and how these were split.

    Raises:
        ConfigError: No such file, or an exported model without data.
    """
    if path.suffix == ".onnx":
        if data is None:
            raise ConfigError(f"{path} does not say what it was trained on", "Use --data PATH")
        return evaluate_onnx(path, data, asked, split, progress)
    return evaluate_checkpoint(checkpoints.load(path, options), data, asked, split, progress, compute)


def evaluate_checkpoint(
    model: Checkpoint,
    data: Path | None,
    asked: Asked,
    split: Split,
    progress: Progress,
    compute: Compute = CPU,
) -> tuple[Accuracy, DataRef]:
    """Accuracy of a loaded model on one part of the data, or of its own, and how these were split."""
    handling = handling_of(model, asked)
    data, parts = own_frames(model, handling) if data is None else (data, frames_for(model, data, handling))
    frames = parts[split]
    tell_skipped(frames, progress)
    progress.stage(f"{model.name} on {len(frames)} {split} frames of {frames.source}")
    with compute.lent(model.model):
        logits = predict(model.model, frames.iq, model.input, progress, "frames")
    found = accuracy(logits, frames, split)
    return found, data_ref(str(data), frames, handling)


def evaluate_onnx(path: Path, data: Path, asked: Asked, split: Split, progress: Progress) -> tuple[Accuracy, DataRef]:
    """Accuracy of an exported model on one part of the data, run by ONNX Runtime, and how these were split.

    The classes and the split are those of its metadata where edgeprune exported it.
    """
    runtime = registry.get("runtimes", "onnxruntime")
    with runtime.open(path, 1) as session:
        about = session.metadata
        if not {"classes", "split_seed"} <= about.keys():
            raise ConfigError(f"{path} does not name its classes and split", "Export it with: edgeprune export")
        classes = tuple(json.loads(about["classes"]))
        channels, length = session.frame_shape
        handling = _exported(about, length, asked, str(path))
        raw = datasets.read_or_keep(data, handling.reading, handling.stays)
        fitted = fit_to(raw, classes, InputSpec(channels, length))
        frames = splits_of(fitted, handling.seed, handling.method)[split]
        tell_skipped(frames, progress)
        progress.stage(f"{path.name} on {len(frames)} {split} frames of {frames.source}")
        found = accuracy(_logits(session, frames, progress), frames, split)
    return found, data_ref(str(data), frames, handling)


def _exported(about: dict[str, str], length: int, asked: Asked, path: str) -> Handling:
    """As when the model was trained, as far as its metadata tell, but for what is asked."""
    before = from_plain(Reading, json.loads(about["reading"]), path) if "reading" in about else None
    return Handling(
        seed=int(about["split_seed"]),
        method=asked.split or about.get("split", AUTO),
        reading=reading_of(before, length, asked),
        stream=asked.stream,
    )


def _logits(session: Session, frames: Frames, progress: Progress) -> npt.NDArray[np.float32]:
    """Answers of a session frame by frame, which fits a fixed batch of 1 as well as any."""
    answers = []
    with progress.track("frames", len(frames)) as advance:
        for start in range(0, len(frames), _READ_FRAMES):
            some = frames.iq[start : start + _READ_FRAMES]
            answers += [session.run(some[index : index + 1]) for index in range(len(some))]
            advance(len(some), "")
    return np.concatenate(answers)
