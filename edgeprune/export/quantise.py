"""INT8: weights and activations in eight bits, as explicit pairs of QuantizeLinear and DequantizeLinear (QDQ).

The scales are in the graph, so that TensorRT (8.2 and later), TensorRT-RTX and ONNX Runtime read the same from one
file: symmetric, one scale for each output channel of a weight, float32 biases, and float32 weights followed by their
own pair. The skip branch of a residual sum reads the quantized tensor where there is one, so that TensorRT can fuse the
sum into the convolution on its other side.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import onnx
from onnx import GraphProto, ModelProto
from onnxruntime import quantization
from onnxruntime.quantization.calibrate import create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from scipy.special import log_softmax

from edgeprune.errors import ConfigError, ModelError
from edgeprune.export import graph
from edgeprune.export.check import onnx_logits
from edgeprune.export.gain import normalising
from edgeprune.export.network import first_cause, quietly
from edgeprune.files.whole import begun_folder
from edgeprune.records.results import Sensitivity

Method = Literal["minmax", "percentile", "entropy"]
METHODS: tuple[Method, ...] = get_args(Method)
OLDEST_OPSET = 13
"""First opset whose QuantizeLinear takes a scale for each channel."""
_QUANTISED = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
_CALIBRATORS = {
    "minmax": quantization.CalibrationMethod.MinMax,
    "percentile": quantization.CalibrationMethod.Percentile,
    "entropy": quantization.CalibrationMethod.Entropy,
}
_BATCH = 128
_ENTROPY_BINS = 256
"""ONNX Runtime's default is 128, the number of quantization levels: the only threshold is then the extreme."""


class _Frames(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Frames in batches, as the quantizer asks for them."""

    def __init__(self, iq: npt.NDArray[np.float32], size: int) -> None:
        self._batches: Iterator[npt.NDArray[np.float32]] = (
            iq[start : start + size] for start in range(0, len(iq) - size + 1, size)
        )

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        """Return the next batch by the name of the input, None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {graph.INPUT: batch}


@dataclass(frozen=True)
class Ranges:
    """Float32 graph with the range of every activation.

    Attributes:
        model: Graph with its inferred shapes.
        operators: Names of the operators that can be quantized, in order.
        values: Ranges that the calibrator found, by tensor.
    """

    model: ModelProto
    operators: tuple[str, ...]
    values: Any


def calibrate(source: Path, iq: npt.NDArray[np.float32], method: Method) -> Ranges:
    """Find the range of every activation.

    Args:
        source: A checked float32 file.
        iq: Raw frames (N, C, L); never of the test split.
        method: Method: the extremes, a percentile, or least loss of information (entropy).

    Raises:
        ConfigError: The opset of the graph is too old, or there are fewer frames than a fixed batch holds.
        ModelError: It cannot be calibrated, or has nothing that can be quantized.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load(source))
    opset, fixed = graph.opsets(model)[""], graph.ports(model)[0][2][0]
    if opset < OLDEST_OPSET:
        raise ConfigError(f"int8 takes opset {OLDEST_OPSET} or newer, not {opset}", "Set another opset in the target")
    if fixed is not None and len(iq) < fixed:
        raise ConfigError(f"{len(iq)} frames to calibrate on cannot fill a batch of {fixed}", "Give more `calib_data`")
    excluded = normalising(model, iq)
    operators = tuple(
        node.name for node in model.graph.node if node.op_type in _QUANTISED and node.name not in excluded
    )
    if not operators:
        raise ModelError("the network has no convolution or matrix product that could be quantized")
    with begun_folder(source.parent) as folder, quietly():
        try:
            calibrator = create_calibrator(
                source,
                _QUANTISED,
                augmented_model_path=str(folder / "augmented.onnx"),
                calibrate_method=_CALIBRATORS[method],
                extra_options={"num_bins": _ENTROPY_BINS} if method == "entropy" else {},
            )
            calibrator.collect_data(_Frames(iq, fixed or min(_BATCH, len(iq))))
            values = calibrator.compute_data()
        except Exception as error:  # the calibrator raises whatever stops it
            raise _unwritable(error) from error
    return Ranges(model, operators, values)


def quantise(ranges: Ranges, target: Path, operators: Collection[str]) -> None:
    """Write a graph with some operators in eight bits.

    Args:
        ranges: Activation ranges of the float32 graph.
        target: The file to write.
        operators: Names of the operators to quantize, at least one.

    Raises:
        ModelError: It cannot be quantized.
    """
    model = ModelProto()
    model.CopyFrom(ranges.model)
    chosen = [name for name in ranges.operators if name in operators]
    with quietly():
        try:
            quantiser = QDQQuantizer(
                model,
                per_channel=True,
                reduce_range=False,
                weight_qType=quantization.QuantType.QInt8,
                activation_qType=quantization.QuantType.QInt8,
                tensors_range=ranges.values,
                nodes_to_quantize=chosen,
                nodes_to_exclude=[],
                op_types_to_quantize=_QUANTISED,
                extra_options={
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "QuantizeBias": False,
                    "AddQDQPairToWeight": True,
                    "OpTypesToExcludeOutputQuantization": _QUANTISED,
                },
            )
            quantiser.quantize_model()
            quantiser.model.topological_sort()
            quantised = quantiser.model.model
            _share_with_sums(quantised.graph)
            graph.tidy(quantised)
            onnx.checker.check_model(quantised, full_check=True)
        except Exception as error:  # the quantizer raises whatever stops it
            raise _unwritable(error) from error
    onnx.save(quantised, target)


def _unwritable(error: Exception) -> ModelError:
    return ModelError(f"the network cannot be written in int8: {first_cause(error)}", "Use `precision='fp16'`")


def _share_with_sums(inner: GraphProto) -> None:
    """Let the skip branch of every sum read the quantized tensor, where its tensor is quantized for a convolution."""
    dequantised = {}
    makers = {name: node for node in inner.node for name in node.output}
    for node in inner.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in makers:
            dequantised[makers[node.input[0]].input[0]] = node.output[0]
    for node in inner.node:
        if node.op_type == "Add":
            for place, name in enumerate(node.input):
                node.input[place] = dequantised.get(name, name)


RANKED_FRAMES = 256

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Bound:
    """Bound on the accuracy that a lower precision may cost.

    Attributes:
        iq: Raw frames (N, C, L) of the validation split.
        labels: Labels of the frames, (N,).
        max_drop: Largest top-1 that may be lost on them relative to the float32 file, 0..1.
    """

    iq: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    max_drop: float

    def drop(self, before: Logits, after: Logits) -> float:
        """Top-1 lost from one set of logits (N, classes) to another."""
        right = [(logits.argmax(axis=1) == self.labels[: len(logits)]).mean() for logits in (before, after)]
        return float(right[0] - right[1])


@dataclass(frozen=True)
class Kept:
    """Operators kept out of eight bits, the top-1 that is still lost, and the ranking they were taken from."""

    operators: tuple[str, ...]
    drop: float
    ranking: tuple[Sensitivity, ...] = ()


@dataclass
class FallbackSearch:
    """Search for the operators to keep in one network.

    Attributes:
        source: The float32 file.
        ranges: Ranges of its activations.
        bound: Bound to meet.
        write: Writes the file that keeps some operators, and returns its path.
    """

    source: Path
    ranges: Ranges
    bound: Bound
    write: Callable[[tuple[str, ...]], Path]
    _before: Logits = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._before = onnx_logits(self.source, self.bound.iq)

    def run(self) -> Kept:
        """Find the fewest operators that meet the bound; if none do, those among the tried that come nearest."""
        whole = Kept((), self._drop(()))
        if whole.drop <= self.bound.max_drop:
            return whole
        ranking = self.ranking()
        names = tuple(each.name for each in ranking)
        tried = [whole]
        low, high = 1, len(names)  # of len(names) nothing would be left in eight bits
        while low < high:
            middle = (low + high) // 2
            tried.append(Kept(names[:middle], self._drop(names[:middle]), ranking))
            if tried[-1].drop <= self.bound.max_drop:
                high = middle
            else:
                low = middle + 1
        holding = [kept for kept in tried if kept.drop <= self.bound.max_drop]
        found = (
            min(holding, key=lambda kept: len(kept.operators)) if holding else min(tried, key=lambda kept: kept.drop)
        )
        return Kept(found.operators, found.drop, ranking)

    def ranking(self) -> tuple[Sensitivity, ...]:
        """Measure the cost of quantizing each operator alone, highest first."""
        iq, before = self.bound.iq[:RANKED_FRAMES], self._before[:RANKED_FRAMES]
        found = []
        with begun_folder(self.source.parent) as folder:
            for name in self.ranges.operators:
                alone = folder / "alone.onnx"
                quantise(self.ranges, alone, (name,))
                after = onnx_logits(alone, iq)
                found.append(Sensitivity(name, divergence(before, after), self.bound.drop(before, after)))
        return tuple(sorted(found, key=lambda each: -each.kl))

    def _drop(self, kept: tuple[str, ...]) -> float:
        return self.bound.drop(self._before, onnx_logits(self.write(kept), self.bound.iq))


def divergence(before: Logits, after: Logits) -> float:
    """Mean over frames of the KL divergence of softmax(after) from softmax(before), in nats; logits (N, classes)."""
    reference, other = (log_softmax(logits.astype(np.float64), axis=1) for logits in (before, after))
    return max(0.0, float((np.exp(reference) * (reference - other)).sum(axis=1).mean()))
