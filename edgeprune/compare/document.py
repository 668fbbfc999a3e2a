"""The content of compare.json: every figure of every cell, and the rows of the table. Records of plain values; pure."""

from dataclasses import dataclass
from typing import Any, Literal

from edgeprune.records.results import EpochMetrics

SCHEMA = "edgeprune-compare/1"
Kind = Literal["unpruned", "layers", "channels", "none", "network"]


@dataclass(frozen=True)
class Cost:
    """Cost of a network for one frame.

    Attributes:
        params: Number of parameters.
        macs: Multiply-accumulates of its convolutions, linear and recurrent layers.
        flops: FLOPs as the paper counts them: MACs plus two operations for each output of batch norm (thop, evaluation
            mode).
    """

    params: int
    macs: int
    flops: int


@dataclass(frozen=True)
class Stat:
    """A figure over `n` seeds: its mean, and its sample standard deviation, absent with one seed."""

    mean: float
    n: int
    sd: float | None = None


@dataclass(frozen=True)
class CellLatency:
    """Latency of one network, measured in turns with the network `against`.

    A percentile is absent where there are too few samples for it.
    """

    median_ms: float
    samples: int
    samples_path: str
    p90_ms: float | None = None
    p99_ms: float | None = None
    against: str | None = None
    against_median_ms: float | None = None
    speedup: float | None = None
    speedup_ci95: tuple[float, float] | None = None


@dataclass(frozen=True)
class Loss:
    """Accuracy lost against the unpruned network on the same frames: the paired difference and McNemar's test."""

    drop: float
    ci95: tuple[float, float]
    mcnemar_p: float


@dataclass(frozen=True)
class UnprunedFigures:
    """Figures of an unpruned network on one data set."""

    id: str
    model: str
    data: str
    sha256: str
    frames: int
    cost: Cost
    top1: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class CellFigures:
    """Figures of one finished cell.

    Attributes:
        id: Name of the cell and of its folder in `cells/`.
        subject: The model or reference network.
        data: Name of the data set.
        kind: Kind of the method.
        method: Name of the method; for a reference network, name of the network.
        ratio: Share of the droppable units that was removed, or absent.
        seed: Random seed.
        cost: Cost of the network.
        frames: Number of test frames.
        top1: Accuracy on the test frames.
        ci95: 95 % interval of `top1` (Wilson; for frames in groups, with their effective number).
        by_snr: Accuracy at each SNR in dB.
        curve: Epochs of the training.
        best_epoch: Epoch whose weights were kept; absent without training.
        loss: Loss against the unpruned network; absent for a reference network.
        units: Units of the unpruned chain; absent where no layers were chosen.
        kept: Units that were kept.
        fixed: Units that cannot be dropped.
        segments: First and last unit of each segment.
        latency: Measured latency.
    """

    id: str
    subject: str
    data: str
    kind: Kind
    method: str
    seed: int
    cost: Cost
    frames: int
    top1: float
    ci95: tuple[float, float]
    by_snr: dict[str, float]
    curve: tuple[EpochMetrics, ...]
    latency: CellLatency
    ratio: float | None = None
    best_epoch: int | None = None
    loss: Loss | None = None
    units: int | None = None
    kept: tuple[int, ...] | None = None
    fixed: tuple[int, ...] | None = None
    segments: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True)
class FailedCell:
    """A cell without figures, and the reason; it is left out of all means."""

    id: str
    subject: str
    data: str
    method: str
    seed: int
    reason: str
    ratio: float | None = None


@dataclass(frozen=True)
class TableRow:
    """One line of the table: a method on a model at a ratio, over its seeds.

    Attributes:
        number: Position in the table, from 1; it labels the points of the plot.
        data: Name of the data set.
        subject: The model or reference network.
        kind: Kind of the method; 'unpruned' is the model as given.
        method: Name of the method.
        ratio: Share of the droppable units that was removed, or absent.
        failed: Seeds without figures.
        before: Accuracy of the unpruned model; absent for a reference network.
        top1: Accuracy after, over the seeds.
        change: After minus before.
        params, macs, flops: Cost of the network; FLOPs as the paper counts them.
        params_change, flops_change: After minus before; absent for a reference network.
        params_removed, macs_removed, flops_removed: Shares of the unpruned network's cost that were removed; absent for
            a reference network.
        latency_ms: Latency of one inference over the seeds: the unpruned network's median over all cells, divided by
            the speed-up, which cancels the drift of the machine. For a network measured alone, its own median.
        speedup: Speed-up over the unpruned network, measured in turns; absent if there is none.
        on_front: Whether the row is Pareto-optimal in its panel, by accuracy and speed.
        cells: Ids of the cells.
    """

    number: int
    data: str
    subject: str
    kind: Kind
    method: str
    failed: int
    top1: Stat
    params: Stat
    macs: Stat
    flops: Stat
    latency_ms: Stat
    cells: tuple[str, ...]
    ratio: float | None = None
    before: float | None = None
    change: Stat | None = None
    params_change: Stat | None = None
    flops_change: Stat | None = None
    params_removed: Stat | None = None
    macs_removed: Stat | None = None
    flops_removed: Stat | None = None
    speedup: Stat | None = None
    on_front: bool = False


@dataclass(frozen=True)
class DataFacts:
    """One data set: its file and hash."""

    name: str
    source: str
    sha256: str
    split_seed: int


@dataclass(frozen=True)
class Measurement:
    """Settings of the latency measurements, and warnings about disturbances."""

    target: str
    runtime: str
    precision: str
    batch: int
    threads: int
    mode: str
    rounds: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Content of compare.json."""

    title: str
    created: str
    edgeprune_version: str
    commands: tuple[str, ...]
    packages: dict[str, str]
    machine: dict[str, Any]
    grid: dict[str, Any]
    data: tuple[DataFacts, ...]
    measurement: Measurement
    unpruned: tuple[UnprunedFigures, ...]
    rows: tuple[TableRow, ...]
    cells: tuple[CellFigures, ...]
    failed: tuple[FailedCell, ...]
    warnings: tuple[str, ...]
    plots: tuple[str, ...] = ()
    git_commit: str | None = None
