"""Records of how a constraint was met: a bound on latency or accuracy, a width, a precision."""

from dataclasses import dataclass

from edgeprune.records.pruning import LayerChain
from edgeprune.records.results import Trial


@dataclass(frozen=True)
class Timing:
    """Network that keeps some units, timed in turns with the unpruned one; `samples_path` holds every single time.

    `ratio` is its latency over the unpruned network's. Both are loaded anew several times: the ratio is the median, and
    its interval covers all of them. `predicted_ms` is the prediction before the measurement, if any.
    """

    kept: tuple[int, ...]
    onnx_sha256: str
    median_ms: float
    baseline_ms: float
    ratio: float
    ratio_ci95: tuple[float, float]
    samples_path: str
    predicted_ms: float | None = None


@dataclass(frozen=True)
class LatencyPlan:
    """Selection of the kept units under a latency budget.

    Attributes:
        target: Target of the budget; likewise its precision and batch.
        baseline_ms: Median latency of the unpruned network, from the quieter of all timings.
        fixed_ms: Latency of the units that are always kept.
        costs_ms: Latency of each droppable unit that computes what it does in the unpruned network.
        probes: Networks to which the costs were fitted.
        candidates: Networks that were selected and then measured, in order; the costs are fitted to them too.
        kept: Indices of the kept units in the final network.
        predicted_ms: Predicted latency of that network, before it was measured.
    """

    target: str
    precision: str
    batch: int
    budget_ms: float
    baseline_ms: float
    fixed_ms: float
    costs_ms: dict[int, float]
    probes: tuple[Timing, ...]
    candidates: tuple[Timing, ...]
    kept: tuple[int, ...]
    predicted_ms: float


@dataclass(frozen=True)
class Trials:
    """Numbers of units that were tried, in order, and the one that was chosen.

    `baseline_top1` is that of the unpruned network on the validation split.
    """

    baseline_top1: float
    trials: tuple[Trial, ...]
    keep: int


@dataclass(frozen=True)
class AccuracyBound:
    """Bound on the loss of top-1 on the validation split, and the numbers of units that were tried to meet it."""

    max_drop: float
    baseline_top1: float
    result: Trial
    trials: tuple[Trial, ...] = ()


@dataclass(frozen=True)
class Narrowing:
    """Channels removed after layers, and the resulting network.

    Attributes:
        method: Method that chose the channels.
        channels: Number of removed outputs of convolutions and linear layers.
        macs_before: Multiply-accumulates of the network whose layers were pruned.
        sizes: (inputs, outputs) of each module that changed, before and after.
        chain: Units of the narrower network.
    """

    method: str
    channels: int
    macs_before: int
    sizes: dict[str, tuple[tuple[int, int], tuple[int, int]]]
    chain: LayerChain
