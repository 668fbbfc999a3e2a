"""The frozen records that cross a stage.

Every record is made of plain values, so that it can be written as JSON and read back; a record names the sha256 of
what it was made from. Shapes leave the batch out. Ratios are 0..1, times are milliseconds, sizes are bytes.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from edgeprune.records.names import Drop


@dataclass(frozen=True)
class InputSpec:
    """What a network is fed: `channels` x `length` samples, after `normalisation` of each frame."""

    channels: int
    length: int
    normalisation: Literal["rms", "none"] = "rms"


@dataclass(frozen=True)
class Arch:
    """How to build the network before its weights are loaded.

    Attributes:
        name: A registered name; with a factory, 'package.module:callable'; else the name of the file it came from.
        arguments: Arguments of the registered network.
        source: What builds it: a registered family, a user's factory, a pickled module or an exported program.
    """

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    source: Literal["registered", "factory", "pickle", "exported"] = "registered"


@dataclass(frozen=True)
class Edit:
    """One dropped unit, in the terms that rebuild the network.

    Attributes:
        path: Dotted path of the module that is replaced, or of several joined by '+'; with `span`, of the module whose
            code holds the unit, '' being the whole network.
        drop: By what.
        expand: Shape (without batch) that a shortcut is broadcast to, when it has a smaller one.
        span: Names of two nodes in the traced code of `path`: all that is computed from the first on the way to the
            second is left out, the second included.
        returns: What each dropped module of `path` returned, where that was not one tensor, as `unfold.returned_by`
            describes it, else an empty text; None where all returned one.
    """

    path: str
    drop: Drop
    expand: tuple[int, ...] | None = None
    span: tuple[str, str] | None = None
    returns: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Unit:
    """A piece of the network with one tensor in and one out; the network is the chain of its units.

    Attributes:
        index: Place in the chain, from 0.
        path: Dotted path of the module that is the unit, or of its modules joined by '+'.
        kind: What it is: 'residual', 'conv', 'linear', ...
        in_shape: Shape of its input without the batch.
        out_shape: Shape of its output without the batch.
        params: Number of parameters in it.
        macs: Multiply-accumulates of its convolutions and linear layers for one frame.
        reason: Why it must stay, or what dropping means, in words.
        drop: What it becomes when dropped, or None when it must stay.
        collapses: Dropping it loses a whole axis of the signal (a pooled shortcut): dropped last.
        edit: What dropping it does to the network, or None when it must stay.
        step: Where its output is read when it is code: path of the module whose code holds it, and the name of the
            node in the traced code that gives its output; None when its modules give it, or nobody knows.
    """

    index: int
    path: str
    kind: str
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    params: int
    macs: int
    reason: str
    drop: Drop | None = None
    collapses: bool = False
    edit: Edit | None = None
    step: tuple[str, str] | None = None

    @property
    def droppable(self) -> bool:
        """Whether the network can do without it."""
        return self.drop is not None


@dataclass(frozen=True)
class LayerChain:
    """The units of a network in order, and its totals."""

    model_sha256: str
    units: tuple[Unit, ...]
    params: int
    macs: int

    @property
    def droppable(self) -> tuple[int, ...]:
        """Indices of the units that can be dropped."""
        return tuple(unit.index for unit in self.units if unit.droppable)


@dataclass(frozen=True)
class Similarity:
    """How alike the outputs of every two units are: a symmetric matrix with 1 on its diagonal."""

    chain_sha256: str
    data_sha256: str
    metric: str
    frames: int
    matrix: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Segmentation:
    """The chain cut into runs of similar units.

    Attributes:
        similarity_sha256: SHA-256 of the similarity it was made from.
        segments: (first, last) unit index of each, together covering the chain.
        losses: Least within-segment sum of squares for 1, 2, ... segments.
        profile: What was segmented: 'rows' of the similarity matrix, or its 'column-sums' (the paper).
        chosen: 'auto' when as many segments were made as units are kept, up to a limit, else 'given'.
    """

    similarity_sha256: str
    segments: tuple[tuple[int, int], ...]
    losses: tuple[float, ...]
    profile: Literal["rows", "column-sums"]
    chosen: Literal["auto", "given"]


@dataclass(frozen=True)
class Scores:
    """What each droppable unit contributes, by one criterion: unit index to score, more is better."""

    chain_sha256: str
    criterion: str
    values: dict[int, float]


@dataclass(frozen=True)
class Decision:
    """Why one unit stays or goes."""

    index: int
    path: str
    kept: bool
    segment: int
    reason: str
    score: float | None = None


@dataclass(frozen=True)
class PrunePlan:
    """Which units stay and why; `edits` rebuild the pruned network from the unpruned one."""

    model_sha256: str
    metric: str
    criterion: str
    segments: tuple[tuple[int, int], ...]
    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    decisions: tuple[Decision, ...]
    edits: tuple[Edit, ...]


@dataclass(frozen=True)
class EpochMetrics:
    """One epoch of training as it went."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_top1: float
    seconds: float


@dataclass(frozen=True)
class TrainingResult:
    """What a training left: its curve, and the epoch whose weights were kept (best on validation)."""

    best_epoch: int
    best_validation_top1: float
    epochs: tuple[EpochMetrics, ...]
    precision: str
    distilled: bool


@dataclass(frozen=True)
class Sensitivity:
    """What it costs to quantise one operator and nothing else.

    Attributes:
        name: Name of the operator in the graph.
        kl: Mean Kullback-Leibler divergence of the answers from those in float32, in nats, on validation frames.
        top1_drop: Top-1 lost on the same frames; below 0 where some was won.
    """

    name: str
    kl: float
    top1_drop: float


@dataclass(frozen=True)
class Quantisation:
    """How an int8 file came to be.

    Attributes:
        method: How the range of an activation was found.
        calibration: Where the frames came from that it was found on.
        calibration_sha256: SHA-256 of those frames, or of their file.
        calibration_frames: How many.
        quantised: Operators whose weights and inputs are in eight bits.
        kept: Operators that were kept out of it to hold the bound on accuracy, the most sensitive first.
        kept_in: The precision that they are in.
        sensitivity: Sensitivity of every operator that could be quantised, highest first; empty where none had to be
            kept.
    """

    method: str
    calibration: str
    calibration_sha256: str
    calibration_frames: int
    quantised: int
    kept: tuple[str, ...] = ()
    kept_in: str = "fp32"
    sensitivity: tuple[Sensitivity, ...] = ()


@dataclass(frozen=True)
class GainCheck:
    """The frames a file was checked on, all multiplied by `gain`, and the share whose class is that of float32."""

    gain: float
    same_top1: float


@dataclass(frozen=True)
class OnnxModel:
    """An exported network that was checked against torch.

    Attributes:
        path: File name, relative to the record.
        sha256: SHA-256 of the file.
        size_bytes: Size of the file.
        opset: Opset of the default ONNX domain.
        nodes: Number of operators in the graph.
        simplifier: Which tool's output was kept: 'onnxsim', 'onnxslim' or 'none'.
        simplifier_notes: What the ones before it said when they failed.
        max_abs_logit_difference: Largest difference to torch on the frames it was checked on.
        checked_frames: How many frames that was.
        tied_frames: Number of them that changed class where torch itself has a tie.
        exporter: Which of torch's exporters made it, and how.
        precision: Precision of its weights and arithmetic.
        float32_operators: Operators that stay in float32 in a file of lower precision.
        same_top1: Share of the frames it was checked on that get the class torch gives them; 1 in float32.
        validation_drop: Top-1 that a file of lower precision loses on validation frames to the one in float32, where a
            bound was set on it.
        quantisation: How an int8 file was quantised.
        gains: How it answers as the gain changes.
    """

    path: str
    sha256: str
    size_bytes: int
    opset: int
    nodes: int
    simplifier: str
    simplifier_notes: tuple[str, ...]
    max_abs_logit_difference: float
    checked_frames: int
    tied_frames: int
    exporter: str
    precision: str = "fp32"
    float32_operators: int = 0
    same_top1: float = 1.0
    validation_drop: float | None = None
    quantisation: Quantisation | None = None
    gains: tuple[GainCheck, ...] = ()
