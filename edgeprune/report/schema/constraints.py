"""The sections of report.json on requirements other than a number of units: latency, accuracy, width."""

from pydantic import Field

from edgeprune.records.results import Count, Interval, Milliseconds, RelativePath, Sha256, Share, Trial
from edgeprune.report.schema.measured import Part


class TimedNetwork(Part):
    """A network with some of the units, not trained further, timed in turns with the unpruned one."""

    units: Count
    kept: tuple[int, ...]
    predicted_ms: Milliseconds | None = Field(
        default=None, description="Median predicted before the timing; absent for a probe."
    )
    ratio: float = Field(gt=0, description="Latency over the unpruned network's, by the fast end of each round.")
    ratio_ci95: Interval
    median_ms: Milliseconds
    baseline_ms: Milliseconds
    onnx_sha256: Sha256
    samples_path: RelativePath


class LatencyPlanSection(Part):
    """Choice of units under the latency budget, from networks timed before any training."""

    baseline_ms: Milliseconds = Field(
        description="Median latency of the unpruned network, in the quieter of all timings."
    )
    fixed_ms: float = Field(ge=0, description="Latency of the units that are always kept.")
    costs_ms: dict[str, float] = Field(description="Latency of each droppable unit, by its index.")
    probes: tuple[TimedNetwork, ...] = Field(description="Networks to which the costs were fitted.")
    candidates: tuple[TimedNetwork, ...] = Field(description="Networks that were chosen and then timed, in order.")


class AccuracyBoundSection(Part):
    """The bound on the loss of top-1 on the validation split."""

    max_drop: Share
    baseline_top1: Share
    pruned_top1: Share
    drop: float
    trials: tuple[Trial, ...] = Field(description="Numbers of units that were tried, in order; empty if none were.")


class NarrowedModule(Part):
    """Numbers of input and output channels of one module."""

    path: str
    before: tuple[int, int]
    after: tuple[int, int]


class WidthSection(Part):
    """Channels removed after the layers, before fine-tuning."""

    method: str
    channels: Count = Field(description="Number of removed outputs of convolutions and linear layers.")
    macs_before: Count = Field(description="MACs of the network after its layers were pruned.")
    modules: tuple[NarrowedModule, ...]
