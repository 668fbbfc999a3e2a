"""FP16: weights and arithmetic in half precision, input and output in float32.

Some operators stay in float32: the normalization of raw samples, whatever their gain (`gain.py`), and every operator
whose values are near or above the largest half, or all so small that halves lose their digits. The precision is in the
types of the graph, so that every version of TensorRT and ONNX Runtime reads the same from it.
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper
from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveUnusedNodesPass
from onnxruntime.transformers import float16

from edgeprune.errors import ModelError
from edgeprune.export import graph
from edgeprune.export.gain import normalising
from edgeprune.export.graph import Tensors
from edgeprune.export.network import first_cause

LARGEST = 65504.0
"""Largest finite half."""
FAINT = 2.0**-8
"""64 times the smallest half with full precision."""
_HEADROOM = 2.0


def convert(
    source: Path, target: Path, iq: npt.NDArray[np.float32], only: Collection[str] | None = None
) -> tuple[str, ...]:
    """Write a float32 graph in half precision.

    Args:
        source: A checked float32 file.
        target: The file to write.
        iq: Raw frames (N, C, L), from which the range of every tensor is measured.
        only: Names of the operators to convert; None for all that can be.

    Returns:
        Names of the operators that stay in float32.

    Raises:
        ModelError: It cannot be converted.
    """
    lifted = ir.from_proto(onnx.load(source))
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(lifted)
    model = ir.to_proto(lifted)
    if only is None:
        _name_all(model.graph)
    kept = {*normalising(model, iq), *_out_of_range(model, iq)}
    if only is not None:
        kept |= {node.name for node in model.graph.node} - set(only)
    try:
        half = float16.convert_float_to_float16(model, keep_io_types=True, node_block_list=sorted(kept))
        half = _without_detours(half, kept)
        onnx.checker.check_model(half, full_check=True)
    except Exception as error:  # the converter raises whatever stops it
        raise ModelError(
            f"the network cannot be written in fp16: {first_cause(error)}", "Use `precision='fp32'`"
        ) from error
    graph.tidy(half)
    onnx.save(half, target)
    return tuple(sorted(kept))


def _without_detours(model: ModelProto, kept: Collection[str]) -> ModelProto:
    """Clean the converter's graph: in order, and without casts to half and back between tensors that stay in float32.

    The converter makes every input half and puts such a pair around each operator that stays, which loses digits of
    the raw samples.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    wide = {value.name for value in model.graph.input}
    wide.update(tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT)
    wide.update(name for node in model.graph.node if node.name in kept for name in node.output)
    passed = {}
    for node in model.graph.node:
        if node.op_type == "Cast" and helper.get_node_attr_value(node, "to") == TensorProto.FLOAT:
            maker = makers.get(node.input[0])
            source = maker.input[0] if maker is not None and maker.op_type == "Cast" else node.input[0]
            if source in wide:
                passed[node.output[0]] = source
    for value in model.graph.output:
        if value.name in passed:  # the operator itself makes the output
            model.graph.node.remove(makers[value.name])
            source = passed.pop(value.name)
            makers[source].output[list(makers[source].output).index(source)] = value.name
            passed[source] = value.name
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            while name in passed:
                name = passed[name]
            node.input[place] = name
    ordered = ir.from_proto(model)
    ordered.graph.sort()
    RemoveUnusedNodesPass()(ordered)
    tidied = ir.to_proto(ordered)
    del tidied.graph.value_info[:]  # the converter's types of what was removed
    return tidied


def _out_of_range(model: ModelProto, iq: npt.NDArray[np.float32]) -> list[str]:
    """Operators whose range does not fit half precision.

    They have a weight or, on these frames, an input or output too near the largest half; or an input or output whose
    largest value is so small that most others would lose their digits.
    """
    ranges = {graph.INPUT: float(np.abs(iq).max(initial=0)), **tensor_ranges(model, iq)}
    faint = {name for name, largest in ranges.items() if 0 < largest < FAINT}
    ranges.update(
        {tensor.name: float(np.abs(numpy_helper.to_array(tensor)).max(initial=0)) for tensor in model.graph.initializer}
    )
    large = {name for name, largest in ranges.items() if largest * _HEADROOM > LARGEST}
    return [node.name for node in model.graph.node if (faint | large) & {*node.input, *node.output}]


def tensor_ranges(model: ModelProto, iq: npt.NDArray[np.float32]) -> dict[str, float]:
    """Largest magnitude of every floating-point tensor that an operator makes, on some frames.

    Raises:
        ModelError: ONNX Runtime cannot run the graph.
    """
    tensors = Tensors(model)
    ranges = dict.fromkeys(tensors.names, 0.0)
    for made in tensors.of(iq):
        for name, values in made.items():
            ranges[name] = max(ranges[name], float(np.abs(values).max(initial=0)))
    return ranges


def _name_all(inner: GraphProto) -> None:
    """Give every operator a unique name, in place; the converter refers to operators by name."""
    for number, node in enumerate(inner.node):
        node.name = f"{node.op_type}_{number}"
