"""Latency of exported models on this machine, with the settings of a target."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeprune import registry
from edgeprune.bench import protocol
from edgeprune.files.whole import writable
from edgeprune.protocols import Progress
from edgeprune.records.results import BenchReport
from edgeprune.targets import Precision, Target
from edgeprune.tasks.bench.process import elsewhere


@dataclass(frozen=True)
class BenchChoices:
    """Overrides of a target's measurement settings; None keeps the target's."""

    batch: int = 1
    threads: int | None = None
    rounds: int | None = None
    round_ms: float | None = None
    processes: int | None = None


def bench_settings(target: Target, precision: Precision, choices: BenchChoices) -> protocol.BenchSettings:
    """Make the measurement settings of a target, with overrides."""
    bench = target.bench
    return protocol.BenchSettings(
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
    settings: protocol.BenchSettings,
    out: Path,
    progress: Progress,
) -> BenchReport:
    """Measure one exported model, or two against each other, on this machine: see `protocol.measure`.

    With one process the rounds are measured in this one, and so they are by a runtime that only this process knows.
    """
    runtime = registry.get("runtimes", target.runtime)
    alone = registry.in_this_process_only("runtimes", target.runtime)
    if alone and settings.processes > 1:
        progress.note(f"{target.runtime} is registered in this process alone, which measures all rounds")
    processes = elsewhere(target.runtime) if settings.processes > 1 and not alone else None
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
