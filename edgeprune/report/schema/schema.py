"""Schema of report.json, field by field. A figure that was not measured is absent: no field may be null."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from edgeprune.records.frames import Reading
from edgeprune.records.names import Drop
from edgeprune.records.results import (
    Count,
    Energy,
    GainCheck,
    PrecisionChoice,
    Quantisation,
    RelativePath,
    Sha256,
    Share,
    TrainingResult,
)
from edgeprune.report.schema.constraints import AccuracyBoundSection, LatencyPlanSection, WidthSection
from edgeprune.report.schema.measured import AccuracySection, DeviceAccuracySection, LatencySection, LayersSection, Part

Facts = dict[str, JsonValue]


class NetworkFacts(Part):
    """One of the two networks; `sha256` is of its checkpoint."""

    name: str | None = Field(default=None, description="Name of the model, as the budget file may name it.")
    sha256: Sha256
    units: Count
    params: Count
    macs: Count = Field(description="Multiply-accumulates of one frame.")


class DataSection(Part):
    """The frames that similarity and accuracy were computed on."""

    source: str
    sha256: Sha256
    split_seed: int
    split: str = Field(default="auto", description="Method of the split.")
    split_sha256: Sha256 | None = Field(default=None, description="Hash of the split: of the indices of its frames.")
    reading: Reading | None = Field(default=None, description="Cutting of recordings into frames.")


class UnitDecision(Part):
    """One unit of the baseline, with the reason why it was kept or dropped."""

    index: Count
    path: str
    kind: str
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    params: Count
    macs: Count
    drop: Drop | None = Field(default=None, description="Replacement when it is dropped; absent if it must stay.")
    kept: bool
    segment: Count
    score: float | None = None
    reason: str


class SimilarityMap(Part):
    """Similarity of the outputs of every two units, 1 on the diagonal."""

    frames: Count
    data_sha256: Sha256
    matrix: tuple[tuple[float, ...], ...]


class SegmentSearch(Part):
    """Search for the segments: `losses` for 1, 2, ... segments."""

    profile: Literal["rows", "column-sums"]
    chosen: Literal["auto", "given"] = Field(
        description="`auto`: seven segments, or the number of kept units if that is smaller."
    )
    losses: tuple[float, ...]


class PlanSection(Part):
    """The kept units, with the reasons."""

    metric: str
    criterion: str
    segments: tuple[tuple[int, int], ...] = Field(description="First and last unit of each segment, inclusive.")
    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    decisions: tuple[UnitDecision, ...]
    similarity: SimilarityMap
    segmentation: SegmentSearch


class Size(Part):
    """Size of the two ONNX files."""

    baseline_bytes: Count
    pruned_bytes: Count
    baseline_engine_bytes: Count | None = None
    pruned_engine_bytes: Count | None = None


class Artifact(Part):
    """A file of the run."""

    path: RelativePath
    sha256: Sha256


class Artifacts(Part):
    """The files to deliver."""

    baseline_onnx: Artifact
    pruned_onnx: Artifact
    pruned_checkpoint: Artifact
    bundle: Artifact | None = Field(default=None, description="Measurement to run on the device.")
    engine: Artifact | None = None


class OnnxFacts(Part):
    """Export of one network and its check against PyTorch."""

    opset: Count
    nodes: Count
    simplifier: str
    simplifier_notes: tuple[str, ...] = ()
    max_abs_logit_difference: Annotated[float, Field(ge=0)]
    checked_frames: Count
    tied_frames: Count = Field(default=0, description="Checked frames whose class changed where PyTorch has a tie.")
    exporter: str = ""
    precision: str = "fp32"
    float32_operators: Count = Field(default=0, description="Operators kept in float32 in a file of lower precision.")
    same_top1: Share = Field(default=1.0, description="Share of the checked frames that get PyTorch's class.")
    validation_drop: float | None = Field(
        default=None, description="Top-1 lost against the float32 file on validation frames, if a bound was set."
    )
    quantisation: Quantisation | None = None
    gains: tuple[GainCheck, ...] = Field(default=(), description="Checks of the outputs at other receiver gains.")


class Onnx(Part):
    """Both exports."""

    baseline: OnnxFacts
    pruned: OnnxFacts


class ComputeSection(Part):
    """Device on which the networks were compared, pruned, trained and tested; latency is measured on the target."""

    device: str = Field(description="PyTorch's name of the device.")
    name: str
    capability: str | None = Field(default=None, description="Compute capability of a GPU.")
    memory_bytes: Count | None = None
    driver: str | None = None
    torch: str = Field(description="Version of PyTorch.")
    precision: str = Field(description="Precision of the training.")


class InputSection(Part):
    """One frame as both networks take it."""

    channels: Annotated[int, Field(ge=1)] = Field(description="Rows of a frame: 2 for I and Q.")
    length: Annotated[int, Field(ge=1)] = Field(description="Samples of a frame.")


class Report(Part):
    """Content of report.json."""

    schema_: Literal["edgeprune-report/1"] = Field(alias="schema")
    target: str
    device: Facts | None = Field(default=None, description="Facts of the measured device.")
    compute: ComputeSection | None = None
    created: str = Field(description="UTC, ISO 8601.")
    edgeprune_version: str
    seed: int
    data: DataSection | None = None
    classes: tuple[str, ...]
    input: InputSection | None = None
    baseline: NetworkFacts
    pruned: NetworkFacts
    plan: PlanSection
    training: TrainingResult | None = None
    accuracy: AccuracySection | None = None
    device_accuracy: DeviceAccuracySection | None = None
    latency: LatencySection | None = None
    latency_plan: LatencyPlanSection | None = None
    accuracy_bound: AccuracyBoundSection | None = None
    width: WidthSection | None = None
    precision_choice: PrecisionChoice | None = None
    energy: Energy | None = None
    layers: LayersSection | None = None
    size: Size
    onnx: Onnx
    artifacts: Artifacts
    commands: tuple[str, ...] = Field(description="Commands that repeat the run.")
    packages: dict[str, str]
    git_commit: str | None = None
    warnings: tuple[str, ...]

    @model_validator(mode="after")
    def _square(self) -> "Report":
        units = len(self.plan.decisions)
        if any(len(row) != units for row in self.plan.similarity.matrix) or len(self.plan.similarity.matrix) != units:
            raise ValueError(f"the similarity matrix is not {units} x {units}, the number of units decided on")
        for accuracy in (self.accuracy.baseline, self.accuracy.pruned) if self.accuracy else ():
            if {len(accuracy.confusion), *map(len, accuracy.confusion)} != {len(self.classes)}:
                raise ValueError(f"a confusion matrix does not fit the {len(self.classes)} classes")
        return self
