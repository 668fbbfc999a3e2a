"""Accuracy, export and latency of models as the commands want them."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeprune import checkpoint as checkpoints
from edgeprune import registry
from edgeprune.bench import protocol
from edgeprune.checkpoint import Checkpoint
from edgeprune.errors import ConfigError
from edgeprune.export import export
from edgeprune.network.compute import CPU, Compute
from edgeprune.protocols import Progress
from edgeprune.records import BenchReport, Frames, OnnxModel, Split
from edgeprune.store import to_plain
from edgeprune.targets import Precision, Target
from edgeprune.tasks.inputs import SPLIT_SEED, frames_for, split_of, split_seed_of, spread, writable
from edgeprune.tasks.lowering import Lowered, bound, calibration, train_for_int8
from edgeprune.tasks.measuring_process import elsewhere

CHECKED_FRAMES = 512


@dataclass(frozen=True)
class BenchChoices:
    """What the command line changes of a target's way to measure; None leaves it."""

    batch: int = 1
    threads: int | None = None
    rounds: int | None = None
    round_ms: float | None = None
    processes: int | None = None


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
    reading = model.data.reading if model.data else None
    return {
        "classes": json.dumps(list(model.classes)),
        "checkpoint_sha256": model.sha256,
        "plan": json.dumps(to_plain(model.plan) if model.plan else None),
        "split_seed": str(split_seed_of(model)),
        "split": split_of(model),
        **({} if reading is None else {"reading": json.dumps(to_plain(reading))}),
    }


def export_model(
    model: Checkpoint,
    data: Path,
    target: Target,
    out: Path,
    lowered: Lowered,
    batch: int,
    progress: Progress,
    compute: Compute = CPU,
) -> OnnxModel:
    """Export a model for a target and check it against torch on frames of the validation split.

    Raises:
        ConfigError: `out` cannot be written.
        DataError: The calibration set cannot be used.
        ModelError: It cannot be exported, or the export gives other answers.
    """
    writable(out)
    parts = frames_for(model, data)
    if lowered.qat_epochs is not None:
        progress.stage(f"fine-tune {model.name} for int8")
        state, place = out.with_name(f"{out.name}.state"), out.with_name(f"{out.stem}-qat.pt")
        trained, _ = train_for_int8(model, parts, lowered.qat_epochs, SPLIT_SEED, state, progress, compute)
        model = checkpoints.save(place, trained)
        state.unlink(missing_ok=True)
    progress.stage(f"export {model.name} for {target.name} in {lowered.precision}")
    return export_checked(model, parts, target, out, lowered, batch, progress)


def export_checked(
    model: Checkpoint,
    parts: dict[Split, Frames],
    target: Target,
    out: Path,
    lowered: Lowered,
    batch: int,
    progress: Progress,
) -> OnnxModel:
    """Export a model whose frames are split already: checked and bounded on validation, calibrated on train."""
    return export(
        model.model,
        model.input,
        spread(parts["validation"], CHECKED_FRAMES, SPLIT_SEED).iq,
        target,
        out,
        onnx_metadata(model),
        progress,
        batch_size=batch,
        precision=lowered.precision,
        calibration=calibration(lowered, model, parts),
        bound=bound(lowered, parts),
    )


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
        processes=choices.processes or bench.processes,
    )


def bench_here(
    baseline: Path,
    pruned: Path | None,
    frames: npt.NDArray[np.float32],
    target: Target,
    settings: protocol.Settings,
    out: Path,
    progress: Progress,
) -> BenchReport:
    """Measure one exported model, or two against each other, on this machine: see `protocol.measure`.

    With one process the rounds are measured in this one.
    """
    runtime = registry.get("runtimes", target.runtime)
    processes = elsewhere(target.runtime) if settings.processes > 1 else None
    return protocol.measure(baseline, pruned, frames, runtime, settings, out, progress, processes)


def bench_files(
    baseline: Path,
    other: Path | None,
    target: Target,
    choices: BenchChoices,
    out: Path,
    progress: Progress,
    precision: Precision | None = None,
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
    settings = bench_settings(target, precision or target.precisions[0], choices)
    return bench_here(baseline, other, noise, target, settings, out, progress)
