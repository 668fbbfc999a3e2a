"""The frozen records of how something asked for was reached: a bound on latency or accuracy, a width, a precision."""

from dataclasses import dataclass

from edgeprune.records.pruning import LayerChain


@dataclass(frozen=True)
class Timing:
    """A network that keeps some units, timed in turns with the unpruned one; `samples_path` holds every single time.

    `ratio` is its latency over the unpruned network's: both are loaded anew several times, and the ratio in the middle
    counts; its interval reaches over all of them. `predicted_ms` was said before it was measured, if anything.
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
    """How the units that stay were chosen under a latency budget.

    Attributes:
        target: What the budget is for; precision and batch likewise.
        baseline_ms: Median latency of the unpruned network, in the quieter of all timings.
        fixed_ms: What always stays costs.
        costs_ms: What each droppable unit costs where it computes what it does in the unpruned network.
        probes: Networks the costs were fitted to.
        candidates: Networks that were chosen and then measured, in their order; they count for the costs too.
        kept: The units of the network that was taken, by index.
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
class Trial:
    """A network of so many units after fine-tuning, and its loss of top-1 on the validation split."""

    units: int
    validation_top1: float
    drop: float


@dataclass(frozen=True)
class Trials:
    """The numbers of units that were tried, in their order, and the one that was taken.

    `baseline_top1` is the unpruned network's on the validation split.
    """

    baseline_top1: float
    trials: tuple[Trial, ...]
    keep: int


@dataclass(frozen=True)
class AccuracyBound:
    """The bound on the loss of top-1 on the validation split, and the numbers of units that were tried to hold it."""

    max_drop: float
    baseline_top1: float
    result: Trial
    trials: tuple[Trial, ...] = ()


@dataclass(frozen=True)
class Narrowing:
    """Channels removed after layers, and the network that is left.

    Attributes:
        method: What chose them.
        channels: How many outputs of convolutions and linear layers went.
        macs_before: Multiply-accumulates of the network whose layers were pruned.
        sizes: (inputs, outputs) of each module that changed, before and after.
        chain: Units of the narrower network.
    """

    method: str
    channels: int
    macs_before: int
    sizes: dict[str, tuple[tuple[int, int], tuple[int, int]]]
    chain: LayerChain


@dataclass(frozen=True)
class PrecisionTrial:
    """The pruned network in one precision.

    Attributes:
        precision: Which.
        median_ms: Median latency of one inference on the target.
        validation_drop: Top-1 that the precision costs on the validation split.
        size_bytes: Size of the file.
    """

    precision: str
    median_ms: float
    validation_drop: float
    size_bytes: int


@dataclass(frozen=True)
class PrecisionChoice:
    """The precisions that were measured and the one that was taken: the fastest that loses at most `max_drop`.

    Where none does, it is the one that loses least.
    """

    max_drop: float
    candidates: tuple[PrecisionTrial, ...]
    chosen: str
