"""Engines that are built on this machine."""

from pathlib import Path

from edgeprune import registry
from edgeprune.errors import ConfigError
from edgeprune.files.whole import writable
from edgeprune.protocols import EngineBuilder, Progress
from edgeprune.records.device_run import BuiltEngine
from edgeprune.targets import Target


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
        model: ONNX file, typed for the precision.
        target: Target whose runtime builds on this machine.
        out: The engine to write.
        progress: Told of the phases.
        timing_cache: File of measured tactics, read and written.
        largest_batch: The most frames at once, where the model leaves it open.

    Raises:
        ConfigError: The target's engines are not built here, or it has none; what builds them is not installed.
        ModelError: The model cannot be read or built.
        DeviceError: Building asks for a GPU, and there is none.
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
