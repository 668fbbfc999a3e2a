"""INT8: weights and activations in eight bits, as explicit pairs of QuantizeLinear and DequantizeLinear (QDQ).

The scales are in the graph, so that TensorRT (8.2 and later), TensorRT-RTX and ONNX Runtime read the same from one
file: symmetric, a scale for each output channel of a weight, float32 biases, weights as float32 behind their own pair.
The skip branch of a residual sum reads the quantised tensor where there is one, so that TensorRT can fuse the sum into
the convolution on its other side.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import onnx
from onnx import GraphProto
from onnxruntime import quantization

from edgeprune.errors import ConfigError, ModelError
from edgeprune.export import graph
from edgeprune.export.half import before_weights
from edgeprune.export.network import first_cause
from edgeprune.export.quiet import quietly

Method = Literal["minmax", "percentile", "entropy"]
METHODS: tuple[Method, ...] = get_args(Method)
OLDEST_OPSET = 13
"""The first whose QuantizeLinear takes a scale for each channel."""
_QUANTISED = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
_CALIBRATORS = {
    "minmax": quantization.CalibrationMethod.MinMax,
    "percentile": quantization.CalibrationMethod.Percentile,
    "entropy": quantization.CalibrationMethod.Entropy,
}
_BATCH = 128


class _Frames(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Frames in batches, as the quantiser asks for them."""

    def __init__(self, iq: npt.NDArray[np.float32], size: int) -> None:
        self._batches: Iterator[npt.NDArray[np.float32]] = (
            iq[start : start + size] for start in range(0, len(iq) - size + 1, size)
        )

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        """The next batch by the name of the input, None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {graph.INPUT: batch}


def quantise(
    source: Path, target: Path, calibration: npt.NDArray[np.float32], method: Method, keep: tuple[str, ...] = ()
) -> int:
    """Write a float32 graph with eight-bit weights and activations.

    Args:
        source: A checked float32 file.
        target: The file to write.
        calibration: Raw frames (N, C, L) that the ranges of activations are found from; never of the test split.
        method: How: their extremes, a percentile of them, or least information lost (entropy).
        keep: Names of operators that stay in float32.

    Returns:
        Number of operators that were quantised.

    Raises:
        ConfigError: The opset of the graph is too old.
        ModelError: It cannot be quantised, or has nothing that can.
    """
    model = onnx.load(source)
    opset = graph.opsets(model)[""]
    if opset < OLDEST_OPSET:
        raise ConfigError(f"int8 takes opset {OLDEST_OPSET} or newer, not {opset}", "Set another opset in the target")
    fixed = graph.ports(model)[0][2][0]
    excluded = [*before_weights(model.graph), *keep]
    nodes = [node.name for node in model.graph.node if node.op_type in _QUANTISED and node.name not in excluded]
    if not nodes:
        raise ModelError("the network has no convolution or matrix product that could be quantised")
    with tempfile.TemporaryDirectory(prefix="edgeprune-") as folder, quietly():
        made = Path(folder) / "quantised.onnx"
        try:
            quantization.quantize_static(
                source,
                made,
                _Frames(calibration, fixed or min(_BATCH, len(calibration))),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=_QUANTISED,
                per_channel=True,
                nodes_to_quantize=nodes,
                calibrate_method=_CALIBRATORS[method],
                extra_options={
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "QuantizeBias": False,
                    "AddQDQPairToWeight": True,
                    "OpTypesToExcludeOutputQuantization": _QUANTISED,
                },
            )
            quantised = onnx.load(made)
            _share_with_sums(quantised.graph)
            graph.tidy(quantised)
            onnx.checker.check_model(quantised, full_check=True)
        except Exception as error:  # the quantiser raises whatever stops it
            reason = first_cause(error)
            raise ModelError(f"the network cannot be written in int8: {reason}", "Use --precision fp16") from error
    onnx.save(quantised, target)
    return len(nodes)


def _share_with_sums(inner: GraphProto) -> None:
    """Let the skip branch of every sum read the quantised tensor, where its tensor is quantised for a convolution."""
    dequantised = {}
    makers = {name: node for node in inner.node for name in node.output}
    for node in inner.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in makers:
            dequantised[makers[node.input[0]].input[0]] = node.output[0]
    for node in inner.node:
        if node.op_type == "Add":
            for place, name in enumerate(node.input):
                node.input[place] = dequantised.get(name, name)
