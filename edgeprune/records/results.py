"""The records of what was measured: accuracy and latency. A report is read back with these alone."""

from dataclasses import dataclass
from typing import Any

from edgeprune.records.names import Split


@dataclass(frozen=True)
class Rate:
    """A share of frames with its 95 % Wilson interval, where frames are in groups at their effective number."""

    top1: float
    ci95: tuple[float, float]
    frames: int


@dataclass(frozen=True)
class Accuracy:
    """How one network does on one split. `confusion[i][j]` counts frames of class i called class j.

    `groups` is how many groups of frames that are not independent there are, `design_effect` how much larger that makes
    the variance of top-1; both None where nobody knows which frames belong together.
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
    """Unpruned against pruned on the same frames: `drop` is baseline minus pruned, McNemar's test is paired."""

    baseline: Accuracy
    pruned: Accuracy
    drop: float
    drop_ci95: tuple[float, float]
    mcnemar_p: float


@dataclass(frozen=True)
class LatencySummary:
    """One model's latency over all rounds; `samples_path` holds every single time, in a file of `samples_sha256`.

    A percentile is None when there are too few samples to claim it.
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
    """What was measured where and how. `speedup` is baseline over candidate; absent with one model.

    `builds` says which build of their engines the models were in, in each round; None where nothing is built.
    `process_of_round` says which of the `processes` each round was measured in; both are None in records of older
    versions, whose rounds were all of one process.
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
