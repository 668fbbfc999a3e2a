"""Frozen records that cross a stage.

Every record consists of plain values, so that it can be written as JSON and read back; it contains the sha256 of its
inputs. Shapes exclude the batch. Ratios are 0..1, times are milliseconds, sizes are bytes.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from edgeprune.records.names import Drop, Normalisation, Outputs
from edgeprune.records.results import GainCheck, Quantisation


@dataclass(frozen=True)
class InputSpec:
    """Input of a network: `channels` x `length` samples, after `normalisation` of each frame.

    The normalization of a network from elsewhere is `unknown` until it is named or found; nothing computes with that.
    """

    channels: int
    length: int
    normalisation: Normalisation = "rms"


@dataclass(frozen=True)
class Arch:
    """Architecture: the recipe that builds the network before its weights are loaded.

    Attributes:
        name: Registered name; with a factory, 'package.module:callable'; otherwise the name of the file it came from.
        arguments: Arguments of the registered network, or of the factory.
        source: Source of the network: a registered family, a user's factory, a pickled module or an exported program.
        outputs: Kind of its own outputs, None until it is identified. The model takes the logarithm of probabilities,
            so that its outputs are logits.
    """

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    source: Literal["registered", "factory", "pickle", "exported"] = "registered"
    outputs: Outputs | None = None


@dataclass(frozen=True)
class Edit:
    """Dropped unit, in the terms that rebuild the network.

    Attributes:
        path: Dotted path of the module that is replaced, or of several joined by '+'; with `span`, of the module whose
            code holds the unit, '' being the whole network.
        drop: Replacement of the unit.
        expand: Shape (without batch) that a smaller shortcut is broadcast to.
        span: Names of two nodes in the traced code of `path`: everything computed after the first and up to the second
            is removed, including the second.
        returns: Description of what each dropped module of `path` returned, from `unfold.returned_by`, empty for one
            tensor; None if all returned one.
    """

    path: str
    drop: Drop
    expand: tuple[int, ...] | None = None
    span: tuple[str, str] | None = None
    returns: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Unit:
    """Piece of the network with one tensor in and one out; the network is the chain of its units.

    Attributes:
        index: Index in the chain, from 0.
        path: Dotted path of the module that is the unit, or of its modules joined by '+'.
        kind: Kind of unit: 'residual', 'conv', 'linear', ...
        in_shape: Shape of its input without the batch.
        out_shape: Shape of its output without the batch.
        params: Number of parameters in it.
        macs: Multiply-accumulates of its convolutions and linear layers for one frame.
        reason: Why it must stay, or the effect of dropping it, in words.
        drop: Replacement when it is dropped, or None if it must stay.
        collapses: Whether dropping it removes a whole axis of the signal (a pooled shortcut): dropped last.
        edit: Edit that drops it, or None if it must stay.
        step: For a unit that is code, the node of its output: path of the module whose code holds it, and name of the
            node in the traced code; None if its modules give its output, or if unknown.
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
        """Whether the network can run without it."""
        return self.drop is not None


@dataclass(frozen=True)
class LayerChain:
    """Units of a network in order, and its totals."""

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
    """Similarity of the outputs of every two units: a symmetric matrix with 1 on its diagonal."""

    chain_sha256: str
    data_sha256: str
    metric: str
    frames: int
    matrix: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Segmentation:
    """Chain cut into runs of similar units.

    Attributes:
        similarity_sha256: SHA-256 of the similarity it was made from.
        segments: (first, last) unit index of each segment, together covering the chain.
        losses: Least within-segment sum of squares for 1, 2, ... segments.
        profile: Basis of the segmentation: 'rows' of the similarity matrix, or its 'column-sums' (the paper).
        chosen: 'auto' if there are as many segments as kept units, up to a limit, otherwise 'given'.
    """

    similarity_sha256: str
    segments: tuple[tuple[int, int], ...]
    losses: tuple[float, ...]
    profile: Literal["rows", "column-sums"]
    chosen: Literal["auto", "given"]


@dataclass(frozen=True)
class Scores:
    """Scores of the droppable units by one criterion: unit index to score, more is better."""

    chain_sha256: str
    criterion: str
    values: dict[int, float]


@dataclass(frozen=True)
class Decision:
    """Decision on one unit, with its reason."""

    index: int
    path: str
    kept: bool
    segment: int
    reason: str
    score: float | None = None


@dataclass(frozen=True)
class PrunePlan:
    """Units that stay, with the reasons; `edits` rebuild the pruned network from the unpruned one."""

    model_sha256: str
    metric: str
    criterion: str
    segments: tuple[tuple[int, int], ...]
    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    decisions: tuple[Decision, ...]
    edits: tuple[Edit, ...]


@dataclass(frozen=True)
class OnnxModel:
    """Exported network that was checked against torch.

    Attributes:
        path: File name, relative to the record.
        sha256: SHA-256 of the file.
        size_bytes: Size of the file.
        opset: Opset of the default ONNX domain.
        nodes: Number of operators in the graph.
        simplifier: Tool whose output was kept: 'onnxsim', 'onnxslim' or 'none'.
        simplifier_notes: Messages of the tools before it that failed.
        max_abs_logit_difference: Largest difference to torch on the checked frames.
        checked_frames: Number of checked frames.
        tied_frames: Number of them that changed class where torch itself has a tie.
        exporter: The torch exporter that wrote it, with its mode.
        precision: Precision of its weights and arithmetic.
        float32_operators: Operators that stay in float32 in a file of lower precision.
        same_top1: Share of the checked frames that get the same class as from torch; 1 in float32.
        validation_drop: Top-1 that a file of lower precision loses on validation frames relative to float32, if a bound
            was set on it.
        quantisation: Quantization of an int8 file.
        gains: Results of the checks at other gains.
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
