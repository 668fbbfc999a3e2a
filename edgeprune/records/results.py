"""Records of measurements: accuracy and latency. A report is read back with these alone."""

from dataclasses import dataclass
from typing import Any

from edgeprune.records.names import Split


@dataclass(frozen=True)
class Rate:
    """Share of frames with its 95 % Wilson interval; for grouped frames at their effective number."""

    top1: float
    ci95: tuple[float, float]
    frames: int


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of one network on one split. `confusion[i][j]` counts frames of class i classified as class j.

    `groups` is the number of groups of dependent frames, and `design_effect` the factor by which they increase the
    variance of top-1; both are None if the groups are unknown.
    """

    split: Split
    frames: int
    top1: float
    ci95: tuple[float, float]
    by_snr: dict[str, Rate]
    by_class: dict[str, Rate]
    confusion: tuple[tuple[int, ...], ...]
    groups: int | None = None
    design_effect: float | None = None


@dataclass(frozen=True)
class AccuracyComparison:
    """Unpruned and pruned network on the same frames: `drop` is baseline minus pruned, McNemar's test is paired."""

    baseline: Accuracy
    pruned: Accuracy
    drop: float
    drop_ci95: tuple[float, float]
    mcnemar_p: float


@dataclass(frozen=True)
class LatencySummary:
    """Latency of one model over all rounds; `samples_path` holds every single time, in a file of `samples_sha256`.

    A percentile is None if there are too few samples to claim it.
    """

    median_ms: float
    mean_ms: float
    samples: int
    samples_path: str
    round_medians_ms: tuple[float, ...]
    p90_ms: float | None = None
    p99_ms: float | None = None
    samples_sha256: str | None = None


@dataclass(frozen=True)
class BenchReport:
    """Latency measurement and its conditions. `speedup` is baseline over candidate; absent with one model.

    `builds` is the build of the engines for each round; None if nothing is built. `process_of_round` is the process
    that measured each round, of `processes`; both are None in records of older versions, whose rounds were all of one
    process.
    """

    runtime: str
    precision: str
    batch: int
    threads: int
    mode: str
    rounds: int
    device: dict[str, Any]
    baseline: LatencySummary
    warnings: tuple[str, ...]
    pruned: LatencySummary | None = None
    speedup: float | None = None
    speedup_ci95: tuple[float, float] | None = None
    builds: tuple[int, ...] | None = None
    processes: int | None = None
    process_of_round: tuple[int, ...] | None = None
