"""Measurement protocol: two models in each of several processes, warmed up, in interleaved rounds.

Rounds go baseline, pruned, pruned, baseline, ... so that drift of the machine (heat, clock, neighbors) affects both
alike. The placement of the models in memory differs from process to process, so several processes load them in turn.
Every time of every round is kept.
"""

import gc
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edgeprune.bench import estimate, machine, samples, stats
from edgeprune.errors import ConfigError, DataError
from edgeprune.files.store import file_sha256
from edgeprune.protocols import Progress, Runtime, Session
from edgeprune.records.results import BenchReport, LatencySummary

Role = Literal["baseline", "pruned"]
Frames = npt.NDArray[np.float32]

_STRETCH = 4  # a round lasts up to this many times `round_ms` when a p99 needs the samples
_SETTLING = (
    0.1  # share of a round run untimed before it: caches hold the other model, whose idle threads may still spin
)
_MIN_SETTLING = 3
_MIN_LAST_BURST = 4


@dataclass(frozen=True)
class BenchSettings:
    """Settings of a measurement.

    Attributes:
        precision: Precision of the models' weights and arithmetic, for the report.
        batch: Frames in one inference.
        threads: Threads of one inference.
        rounds: Rounds of each model; even, to balance the order, and at least 6 to compare two.
        round_ms: Length of one round of one model.
        warmup_ms: Time that each model runs before anything counts, in each process.
        processes: Number of processes that share the rounds; no more than there are rounds.
    """

    precision: str
    batch: int
    threads: int
    rounds: int
    round_ms: float
    warmup_ms: float
    processes: int = 1

    def of_processes(self) -> list[range]:
        """Rounds of each process, by their number from 0."""
        shares = np.array_split(np.arange(self.rounds), min(self.processes, self.rounds))
        return [range(int(share[0]), int(share[-1]) + 1) for share in shares]


@dataclass(frozen=True)
class Setup:
    """Conditions of a measurement: see the fields of BenchReport. `device` holds facts of the machine."""

    runtime: str
    mode: str
    precision: str
    batch: int
    threads: int
    device: dict[str, Any]


@dataclass(frozen=True)
class MeasuredRounds:
    """Measurements of one process.

    Attributes:
        rounds: Milliseconds of each inference of each model, one array a round.
        others_cores: Cores that other processes kept busy during the measurement, on average.
        stolen_cores: Cores that the hypervisor gave to other machines during the measurement, on average.
    """

    rounds: Mapping[Role, Sequence[samples.Round]]
    others_cores: float
    stolen_cores: float


Elsewhere: TypeAlias = Callable[[Mapping[Role, Path], Frames, BenchSettings, range], MeasuredRounds]
"""`measure_rounds` in a separate process, with the runtime bound."""


def measure(
    baseline: Path,
    pruned: Path | None,
    frames: Frames,
    runtime: Runtime,
    settings: BenchSettings,
    out_dir: Path,
    progress: Progress,
    elsewhere: Elsewhere | None = None,
) -> BenchReport:
    """Measure one model, or two against each other, on this machine.

    All inferences use the same batch, the first frames given: the time of a convolution or matrix product does not
    depend on values, except for denormal numbers, which do not occur in real frames.

    Args:
        baseline: Exported model.
        pruned: Exported model to compare with it, or None.
        frames: Real frames, raw, (N, channels, length) with N at least the batch.
        runtime: Runtime that executes the models.
        settings: Settings of the measurement.
        out_dir: Folder for the raw samples, the folder of the report.
        progress: Updated between rounds, or between processes where there are several.
        elsewhere: Starts the processes; None measures all rounds in this one.

    Raises:
        ConfigError: Too few rounds to compare two models, or `out_dir` cannot be written.
        DataError: Too few frames, or they do not fit a model.
        ModelError: A model cannot be loaded or run.
        DeviceError: The clock returned something other than a time.
    """
    if pruned is not None and settings.rounds < stats.MIN_ROUNDS:
        raise ConfigError(
            f"rounds is {settings.rounds}; comparing two models takes at least {stats.MIN_ROUNDS}",
            "Fewer rounds cannot hold a 95 % interval",
        )
    if len(frames) < settings.batch:
        raise DataError(
            f"{len(frames)} frames cannot fill a batch of {settings.batch}", "Give more frames, or a smaller `batch`"
        )
    batch = np.ascontiguousarray(frames[: settings.batch])
    paths: dict[Role, Path] = {"baseline": baseline} if pruned is None else {"baseline": baseline, "pruned": pruned}
    device = machine.facts(runtime.facts())
    if elsewhere is None:
        shares = [range(settings.rounds)]
        parts = [measure_rounds(paths, batch, runtime, settings, shares[0], progress)]
    else:
        shares, parts = settings.of_processes(), []
        with progress.track("Measuring in processes", len(shares)) as advance:
            for share in shares:
                parts.append(elsewhere(paths, batch, settings, share))
                advance(1, _told(parts[-1]))
    rounds = {role: [times for part in parts for times in part.rounds[role]] for role in paths}
    others_cores, stolen_cores = (
        float(np.mean([getattr(part, name) for part in parts])) for name in ("others_cores", "stolen_cores")
    )
    warnings = of_machine(device, settings.threads, others_cores, stolen_cores)
    hashes = {role: file_sha256(path) for role, path in paths.items()}
    setup = Setup(runtime.name, runtime.mode, settings.precision, settings.batch, settings.threads, device)
    processes = [number for number, share in enumerate(shares, 1) for _ in share]
    return conclude(rounds, hashes, setup, warnings, out_dir, processes)


def measure_rounds(
    models: Mapping[Role, Path],
    batch: Frames,
    runtime: Runtime,
    settings: BenchSettings,
    numbers: range,
    progress: Progress,
) -> MeasuredRounds:
    """Load the models in this process, warm them up and measure some of the rounds.

    Args:
        models: The exported models.
        batch: Input of every inference, (batch, channels, length).
        runtime: Runtime that executes the models.
        settings: Settings of the measurement.
        numbers: Numbers of the rounds; the baseline is first in the even ones.
        progress: Updated between rounds.
    """
    with ExitStack() as stack:
        sessions = {role: stack.enter_context(runtime.open(path, settings.threads)) for role, path in models.items()}
        counts = {role: _count(_warm_up(session, batch, settings), settings) for role, session in sessions.items()}
        before = machine.cpu_time()
        rounds = _interleaved(sessions, counts, batch, numbers, progress)
        return MeasuredRounds(rounds, *machine.busy_cores(before, machine.cpu_time()))


def conclude(
    rounds: Mapping[Role, Sequence[samples.Round]],
    sha256: Mapping[Role, str],
    setup: Setup,
    warnings: Sequence[str],
    out_dir: Path,
    processes: Sequence[int],
    builds: Sequence[int] | None = None,
) -> BenchReport:
    """Store the raw samples of a measurement, made here or on a device, and draw the conclusions from them.

    Args:
        rounds: Milliseconds of each inference, one array a round, of the baseline and, if measured, the pruned model.
        sha256: SHA-256 of each measured model or engine.
        setup: Conditions of the measurement.
        warnings: Known disturbances.
        out_dir: Folder for `samples-baseline.npz` and `samples-pruned.npz`.
        processes: Process of each round, rising.
        builds: Build of the engines that both models were in, for each round; None where nothing is built.

    Raises:
        ConfigError: Too few rounds to compare, or `out_dir` cannot be written.
        DeviceError: A time is not a positive number.
    """
    names, how = {role: f"samples-{role}.npz" for role in rounds}, asdict(setup)
    summaries = {role: stats.summarise(times, names[role]) for role, times in rounds.items()}
    notes = [*warnings, *(note for role, summary in summaries.items() for note in of_samples(role, summary))]
    speedup = None
    if "pruned" in summaries:
        medians = summaries["baseline"].round_medians_ms, summaries["pruned"].round_medians_ms
        speedup = estimate.speedup(*medians, processes, builds)
        notes += of_speedup(speedup)
    for role, times in rounds.items():
        samples.write(out_dir / names[role], times, {"model_sha256": sha256[role], **how})
        summaries[role] = replace(summaries[role], samples_sha256=file_sha256(out_dir / names[role]))
    return BenchReport(
        **how,
        rounds=len(rounds["baseline"]),
        baseline=summaries["baseline"],
        warnings=tuple(notes),
        pruned=summaries.get("pruned"),
        speedup=speedup.ratio if speedup else None,
        speedup_ci95=speedup.ci95 if speedup else None,
        builds=None if builds is None else tuple(builds),
        processes=len(set(processes)),
        process_of_round=tuple(processes),
    )


def _told(part: MeasuredRounds) -> str:
    return ", ".join(f"{role} {np.median(np.concatenate(times)):.3f} ms" for role, times in part.rounds.items())


def _warm_up(session: Session, batch: Frames, settings: BenchSettings) -> float:
    """Run in bursts of 1, 2, 4, ... for at least the warm-up time; returns the median ms of the last burst."""
    count, spent_ms = 1, 0.0
    while True:
        times = session.time(batch, count)
        median_ms = float(stats.round_medians([times])[0])
        spent_ms += float(times.sum())
        if spent_ms >= settings.warmup_ms and count >= _MIN_LAST_BURST:
            return median_ms
        count *= 2


def _count(inference_ms: float, settings: BenchSettings) -> int:
    """Number of inferences in a round: enough to fill it and for a p90; for a p99 if a little stretch allows it."""
    filling = settings.round_ms / inference_ms
    for_p90, for_p99 = (stats.MIN_SAMPLES[percent] / settings.rounds for percent in (90, 99))
    return math.ceil(max(filling, for_p90, min(for_p99, _STRETCH * filling)))


def _interleaved(
    sessions: Mapping[Role, Session], counts: Mapping[Role, int], batch: Frames, numbers: range, progress: Progress
) -> dict[Role, list[samples.Round]]:
    """Time every round of every model in ms, reversing the order of the models after each round."""
    times: dict[Role, list[samples.Round]] = {role: [] for role in sessions}
    order = tuple(sessions)
    with progress.track("Measuring", len(numbers) * len(sessions)) as advance:
        for number in numbers:
            for role in order if number % 2 == 0 else order[::-1]:
                with _without_garbage_collection():
                    sessions[role].time(batch, max(_MIN_SETTLING, math.ceil(_SETTLING * counts[role])))
                    measured = sessions[role].time(batch, counts[role])
                times[role].append(measured)
                advance(1, f"{role} {np.median(measured):.3f} ms")
    return times


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


_MAX_OTHERS_CORES = 0.2
_MAX_STOLEN_CORES = 0.02
_MAX_VARIATION = 0.05


def of_machine(device: dict[str, Any], threads: int, others_cores: float, stolen_cores: float) -> list[str]:
    """Warn about the state of the machine during the measurement.

    Args:
        device: Facts of the machine.
        threads: Threads the model ran on.
        others_cores: Cores that other processes kept busy during the measurement, on average.
        stolen_cores: Cores that the hypervisor gave to other machines during the measurement, on average.
    """
    warnings = []
    usable = device.get("usable_cores")
    if usable is not None and threads > usable:
        warnings.append(f"{threads} threads shared {usable:g} usable cores: fewer threads may be faster")
    if others_cores > _MAX_OTHERS_CORES:
        warnings.append(f"the machine was not quiet: other processes kept {others_cores:.1f} cores busy meanwhile")
    if stolen_cores > _MAX_STOLEN_CORES:
        warnings.append(f"the hypervisor took {stolen_cores:.2f} cores away meanwhile")
    governor = device.get("governor", "performance")
    if governor != "performance":
        warnings.append(
            f"the CPU frequency governor is {governor!r}, not 'performance': the clock may have changed meanwhile"
        )
    return warnings


def of_samples(role: str, summary: LatencySummary) -> list[str]:
    """Warn about one model's times; `role` is 'baseline' or 'pruned'."""
    warnings = []
    spread = stats.variation(summary.round_medians_ms)
    if spread > _MAX_VARIATION:
        warnings.append(
            f"the {role}'s round medians vary by {spread:.0%} (standard deviation), more than {_MAX_VARIATION:.0%}"
        )
    for percent, value in ((90, summary.p90_ms), (99, summary.p99_ms)):
        if value is None:
            needed = stats.MIN_SAMPLES[percent]
            warnings.append(f"the {role}'s p{percent} is not claimed: {summary.samples} samples, {needed} needed")
    return warnings


def of_speedup(speedup: stats.Speedup) -> list[str]:
    """Warn when the pruned model is not shown to be faster."""
    low, high = speedup.ci95
    if stats.is_faster(speedup.ci95):
        return []
    outcome = "the pruned model is slower" if high < 1 else "no speed-up was shown"
    return [f"{outcome}: {speedup.ratio:.3f} times, 95 % interval {low:.3f} to {high:.3f}"]
