"""The sections of report.json on what was asked for beside a number of units: a latency, an accuracy, a width."""

from pydantic import Field

from edgeprune.records.results import Count, Interval, Milliseconds, RelativePath, Sha256, Share, Trial
from edgeprune.report.schema.measured import Part


class TimedNetwork(Part):
    """A network that keeps some units, weights as they are, timed in turns with the unpruned one."""

    units: Count
    kept: tuple[int, ...]
    predicted_ms: Milliseconds | None = Field(default=None, description="Said before it was timed; absent for a probe.")
    ratio: float = Field(gt=0, description="Its latency over the unpruned network's, by the fast end of each round.")
    ratio_ci95: Interval
    median_ms: Milliseconds
    baseline_ms: Milliseconds
    onnx_sha256: Sha256
    samples_path: RelativePath


class LatencyPlanSection(Part):
    """How the units were chosen under the latency budget, from networks timed before any training."""

    baseline_ms: Milliseconds = Field(
        description="Median latency of the unpruned network, in the quieter of all timings."
    )
    fixed_ms: float = Field(ge=0, description="What always stays costs.")
    costs_ms: dict[str, float] = Field(description="What each droppable unit costs, by its index.")
    probes: tuple[TimedNetwork, ...] = Field(description="What the costs were fitted to.")
    candidates: tuple[TimedNetwork, ...] = Field(description="What was chosen and then timed, in this order.")


class AccuracyBoundSection(Part):
    """The bound on the loss of top-1 on the validation split."""

    max_drop: Share
    baseline_top1: Share
    pruned_top1: Share
    drop: float
    trials: tuple[Trial, ...] = Field(description="Numbers of units that were tried, in this order, if they were.")


class NarrowedModule(Part):
    """Numbers of input and output channels of one module."""

    path: str
    before: tuple[int, int]
    after: tuple[int, int]


class WidthSection(Part):
    """Channels removed after the layers, before fine-tuning."""

    method: str
    channels: Count = Field(description="Outputs of convolutions and linear layers that went.")
    macs_before: Count = Field(description="Of the network whose layers were pruned.")
    modules: tuple[NarrowedModule, ...]
