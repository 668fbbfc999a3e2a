"""Accuracy, export and latency of models as the commands want them."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeprune import checkpoint as checkpoints
from edgeprune import datasets, registry
from edgeprune.bench import protocol
from edgeprune.checkpoint import Checkpoint
from edgeprune.errors import ConfigError
from edgeprune.export import Calibration, export
from edgeprune.frames import fit_to
from edgeprune.model_file import ModelOptions
from edgeprune.protocols import Progress, Session
from edgeprune.records import Accuracy, BenchReport, Frames, InputSpec, OnnxModel, Split
from edgeprune.store import to_plain
from edgeprune.targets import Precision, Target
from edgeprune.tasks.inputs import SPLIT_SEED, find_data, frames_for, split_seed_of, splits_of, spread, writable
from edgeprune.train.accuracy import accuracy
from edgeprune.train.evaluate import predict

CHECKED_FRAMES = 512
CALIBRATION_FRAMES = 1024


@dataclass(frozen=True)
class BenchChoices:
    """What the command line changes of a target's way to measure; None leaves it."""

    batch: int = 1
    threads: int | None = None
    rounds: int | None = None
    round_ms: float | None = None


def precision_of(target: Target, wanted: str | None) -> Precision:
    """The precision to use.

    Raises:
        ConfigError: The target does not allow it.
    """
    if wanted is None:
        return target.precisions[0]
    for allowed in target.precisions:
        if allowed == wanted:
            return allowed
    raise ConfigError(f"{target.name} does not run {wanted}", f"Allowed: {', '.join(target.precisions)}")


def onnx_metadata(model: Checkpoint) -> dict[str, str]:
    """What an exported file says of itself."""
    return {
        "classes": json.dumps(list(model.classes)),
        "checkpoint_sha256": model.sha256,
        "plan": json.dumps(to_plain(model.plan) if model.plan else None),
        "split_seed": str(split_seed_of(model)),
    }


def calibration(precision: Precision, train: Frames) -> Calibration | None:
    """What the scales of int8 are found with: frames spread over those for training."""
    return Calibration(spread(train, CALIBRATION_FRAMES, SPLIT_SEED).iq) if precision == "int8" else None


def export_model(
    model: Checkpoint, data: Path, target: Target, out: Path, precision: Precision, batch: int, progress: Progress
) -> OnnxModel:
    """Export a model for a target and check it against torch on frames of the validation split.

    Raises:
        ConfigError: `out` cannot be written.
        ModelError: It cannot be exported, or the export gives other answers.
    """
    writable(out)
    parts = frames_for(model, data)
    progress.stage(f"export {model.name} for {target.name} in {precision}")
    return export_checked(model, parts, target, out, precision, batch, progress)


def export_checked(
    model: Checkpoint,
    parts: dict[Split, Frames],
    target: Target,
    out: Path,
    precision: Precision,
    batch: int,
    progress: Progress,
) -> OnnxModel:
    """Export a model whose frames are split already: checked on validation, calibrated on train."""
    return export(
        model.model,
        model.input,
        spread(parts["validation"], CHECKED_FRAMES, SPLIT_SEED).iq,
        target,
        out,
        onnx_metadata(model),
        progress,
        batch_size=batch,
        precision=precision,
        calibration=calibration(precision, parts["train"]),
    )


def evaluate(path: Path, options: ModelOptions, data: Path | None, split: Split, progress: Progress) -> Accuracy:
    """Accuracy of a model file or an exported model on one split.

    Raises:
        ConfigError: No such file, or an exported model without data.
    """
    if path.suffix == ".onnx":
        if data is None:
            raise ConfigError(f"{path} does not say what it was trained on", "Use --data PATH")
        return evaluate_onnx(path, data, split, progress)
    model = checkpoints.load(path, options)
    return evaluate_checkpoint(model, find_data(model, data), split, progress)


def evaluate_checkpoint(model: Checkpoint, data: Path, split: Split, progress: Progress) -> Accuracy:
    """Accuracy of a loaded model on one split."""
    frames = frames_for(model, data)[split]
    progress.stage(f"{model.name} on {len(frames)} {split} frames of {frames.source}")
    return accuracy(predict(model.model, frames.iq, model.input, progress, "frames"), frames, split)


def evaluate_onnx(path: Path, data: Path, split: Split, progress: Progress) -> Accuracy:
    """Accuracy of an exported model on one split, run by ONNX Runtime.

    The classes and the split are those of its metadata where edgeprune exported it.
    """
    runtime = registry.get("runtimes", "onnxruntime")
    with runtime.open(path, 1) as session:
        about = session.metadata
        if not {"classes", "split_seed"} <= about.keys():
            raise ConfigError(f"{path} does not name its classes and split", "Export it with: edgeprune export")
        classes = tuple(json.loads(about["classes"]))
        raw = datasets.read(data)
        shape = InputSpec(raw.iq.shape[1], raw.iq.shape[2])
        frames = splits_of(fit_to(raw, classes, shape), int(about["split_seed"]))[split]
        progress.stage(f"{path.name} on {len(frames)} {split} frames of {frames.source}")
        return accuracy(_logits(session, frames, progress), frames, split)


def _logits(session: Session, frames: Frames, progress: Progress) -> npt.NDArray[np.float32]:
    """Answers of a session frame by frame, which fits a fixed batch of 1 as well as any."""
    answers = []
    with progress.track("frames", len(frames)) as advance:
        for index in range(len(frames)):
            answers.append(session.run(frames.iq[index : index + 1]))
            if index % 256 == 255:
                advance(256, "")
        advance(len(frames) % 256, "")
    return np.concatenate(answers)


def bench_settings(target: Target, precision: Precision, choices: BenchChoices) -> protocol.Settings:
    """How to measure on a target, with what the command line changes."""
    bench = target.bench
    return protocol.Settings(
        precision=precision,
        batch=choices.batch,
        threads=choices.threads or target.threads,
        rounds=choices.rounds or bench.rounds,
        round_ms=choices.round_ms or bench.round_ms,
        warmup_ms=bench.warmup_ms,
    )


def bench_files(
    baseline: Path, other: Path | None, target: Target, choices: BenchChoices, out: Path, progress: Progress
) -> BenchReport:
    """Measure one exported model, or two against each other, on frames of noise; raw samples go to the folder `out`.

    Raises:
        ConfigError: No such file, or `out` cannot be written.
        ModelError: A file cannot be run.
    """
    runtime = registry.get("runtimes", target.runtime)
    with runtime.open(baseline, 1) as session:
        channels, length = session.frame_shape
    writable(out / "samples")
    noise = np.random.default_rng(0).standard_normal((choices.batch, channels, length), dtype=np.float32)
    progress.stage(f"measure on {target.name}")
    settings = bench_settings(target, target.precisions[0], choices)
    return protocol.measure(baseline, other, noise, runtime, settings, out, progress)
