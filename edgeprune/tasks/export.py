"""Export of models for a target, and engines built from them on this machine."""

import json
from pathlib import Path

from edgeprune import registry
from edgeprune.errors import ConfigError
from edgeprune.export import export
from edgeprune.files.store import to_plain
from edgeprune.files.whole import writable
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.network.compute import CPU, Compute
from edgeprune.protocols import EngineBuilder, Progress
from edgeprune.records.device_run import BuiltEngine
from edgeprune.records.frames import Frames
from edgeprune.records.names import Split
from edgeprune.records.pruning import OnnxModel
from edgeprune.targets import Precision, Target
from edgeprune.tasks.data.frames import frames_for, split_of, split_seed_of, spread, tell_frames
from edgeprune.tasks.data.reading import SPLIT_SEED
from edgeprune.tasks.identify import looked_at
from edgeprune.tasks.precision import PrecisionOptions, bound, calibration, train_for_int8

CHECKED_FRAMES = 512


def precision_of(target: Target, wanted: str | None) -> Precision:
    """Choose the precision to use: the target's first by default.

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
    """Make the metadata of an exported file."""
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
    options: PrecisionOptions,
    batch: int,
    progress: Progress,
    compute: Compute = CPU,
) -> OnnxModel:
    """Export a model for a target and check it against torch on frames of the validation split.

    Raises:
        ConfigError: `out` cannot be written.
        DataError: The calibration set cannot be used.
        ModelError: The model cannot be exported, or the outputs of the export differ from torch's.
    """
    writable(out)
    parts = frames_for(model, data)
    tell_frames(parts, progress)
    return export_lowered(model, parts, target, out, options, batch, progress, compute)


def export_lowered(
    model: Checkpoint,
    parts: dict[Split, Frames],
    target: Target,
    out: Path,
    options: PrecisionOptions,
    batch: int,
    progress: Progress,
    compute: Compute = CPU,
) -> OnnxModel:
    """Export a model on frames that are already split, after training it for int8 if requested."""
    model = looked_at(model, parts["validation"], progress, compute)
    if options.qat_epochs is not None:
        progress.stage(f"quantization-aware training of {model.name}")
        state, place = out.with_name(f"{out.name}.state"), out.with_name(f"{out.stem}-qat.pt")
        trained, _ = train_for_int8(model, parts, options.qat_epochs, SPLIT_SEED, state, progress, compute)
        model = checkpoints.save(place, trained)
        state.unlink(missing_ok=True)
    progress.stage(f"export {model.name} for {target.name} in {options.precision}")
    return export_checked(model, parts, target, out, options, batch, progress)


def export_checked(
    model: Checkpoint,
    parts: dict[Split, Frames],
    target: Target,
    out: Path,
    options: PrecisionOptions,
    batch: int,
    progress: Progress,
) -> OnnxModel:
    """Export a model on frames that are already split: checked and bounded on validation, calibrated on train."""
    return export(
        model.model,
        model.input,
        spread(parts["validation"], CHECKED_FRAMES, SPLIT_SEED).iq,
        target,
        out,
        onnx_metadata(model),
        progress,
        batch_size=batch,
        precision=options.precision,
        calibration=calibration(options, model, parts),
        bound=bound(options, parts),
    )


def build_engine(
    model: Path,
    target: Target,
    out: Path,
    progress: Progress,
    timing_cache: Path | None = None,
    largest_batch: int = 256,
) -> BuiltEngine:
    """Build an engine of an exported model.

    Args:
        model: ONNX file in the precision of the engine.
        target: Target whose runtime builds on this machine.
        out: The engine to write.
        progress: Reporter of the phases.
        timing_cache: File of measured tactics, read and written.
        largest_batch: Maximum number of frames in one inference, if the model has a dynamic batch.

    Raises:
        ConfigError: The target's engines are built on the device, it has none, or their builder is not installed.
        ModelError: The model cannot be read or built.
        DeviceError: The builder needs a GPU, and there is none.
    """
    if target.on_device:
        raise ConfigError(
            f"{target.name} is another machine, and its engines are built there",
            "Measuring builds them: edgeprune bench --device HOST",
        )
    runtime = registry.get("runtimes", target.runtime)
    if not isinstance(runtime, EngineBuilder):
        raise ConfigError(f"{target.name} runs ONNX files as they are", "It needs no engine")
    writable(out)
    progress.stage(f"build {model.name} for {target.name}")
    return runtime.build(model, target, out, progress, timing_cache, largest_batch)
