"""FP16: weights and arithmetic in half precision, input and output in float32.

What would not survive stays in float32: the normalisation of raw samples, whose squares lie below the smallest half,
and every operator that makes or holds a number near or above the largest one. The precision is in the types of the
graph, so that every version of TensorRT and ONNX Runtime reads the same from it.
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper
from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveUnusedNodesPass
from onnxruntime.transformers import float16

from edgeprune.errors import ModelError
from edgeprune.export import graph
from edgeprune.export.network import first_cause

LARGEST = 65504.0
"""The largest finite half."""
_HEADROOM = 2.0
_FRAMES = 256


def convert(
    source: Path, target: Path, iq: npt.NDArray[np.float32], only: Collection[str] | None = None
) -> tuple[str, ...]:
    """Write a float32 graph in half precision.

    Args:
        source: A checked float32 file.
        target: The file to write.
        iq: Raw frames (N, C, L), from which the range of every tensor is found.
        only: Names of the operators to convert; None for all that survive it.

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
    kept = {*before_weights(model.graph), *_large(model, iq)}
    if only is not None:
        kept |= {node.name for node in model.graph.node} - set(only)
    try:
        half = float16.convert_float_to_float16(model, keep_io_types=True, node_block_list=sorted(kept))
        half = _without_detours(half, kept)
        onnx.checker.check_model(half, full_check=True)
    except Exception as error:  # the converter raises whatever stops it
        raise ModelError(
            f"the network cannot be written in fp16: {first_cause(error)}", "Use --precision fp32"
        ) from error
    graph.tidy(half)
    onnx.save(half, target)
    return tuple(sorted(kept))


def _without_detours(model: ModelProto, kept: Collection[str]) -> ModelProto:
    """The converter's graph in order, without casts to half and back between tensors that stay in float32.

    The converter makes every input half and puts such a pair around each operator that stays; raw samples would lose
    digits that way that nothing gives back.
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


def before_weights(inner: GraphProto) -> tuple[str, ...]:
    """Operators between the input and the first one on each way that holds weights: the normalisation."""
    weights = {tensor.name for tensor in inner.initializer if np.prod(tensor.dims) > 1}
    reached, found = {graph.INPUT}, []
    for node in inner.node:
        if reached & set(node.input) and not weights & set(node.input):
            reached |= set(node.output)
            found.append(node.name)
    return tuple(found)


def _large(model: ModelProto, iq: npt.NDArray[np.float32]) -> list[str]:
    """Operators with a weight or, on these frames, an input or output too near the largest half."""
    ranges = tensor_ranges(model, iq)
    ranges.update(
        {tensor.name: float(np.abs(numpy_helper.to_array(tensor)).max(initial=0)) for tensor in model.graph.initializer}
    )
    return [
        node.name
        for node in model.graph.node
        if any(ranges.get(name, 0.0) * _HEADROOM > LARGEST for name in (*node.input, *node.output))
    ]


def tensor_ranges(model: ModelProto, iq: npt.NDArray[np.float32]) -> dict[str, float]:
    """Largest magnitude of every floating-point tensor that an operator makes, on some frames.

    Raises:
        ModelError: ONNX Runtime cannot run the graph.
    """
    shaped = onnx.shape_inference.infer_shapes(model)
    outputs = {value.name for value in shaped.graph.output}
    floats = {
        value.name
        for value in (*shaped.graph.value_info, *shaped.graph.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    made = [name for node in shaped.graph.node for name in node.output if name in floats]
    shaped.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made if name not in outputs
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(shaped.SerializeToString(), options, providers=["CPUExecutionProvider"])
        size = session.get_inputs()[0].shape[0]
        step = size if isinstance(size, int) else _FRAMES
        ranges = dict.fromkeys(made, 0.0)
        for start in range(0, max(1, min(len(iq), _FRAMES) // step) * step, step):
            batch = np.resize(iq[start : start + step], (step, *iq.shape[1:])) if isinstance(size, int) else iq[:step]
            for name, values in zip(made, session.run(made, {graph.INPUT: batch}), strict=True):
                ranges[name] = max(ranges[name], float(np.abs(values).max(initial=0)))
    except Exception as error:  # onnxruntime's errors share no base class
        raise ModelError(f"ONNX Runtime cannot run the exported network: {first_cause(error)}") from error
    return ranges


def _name_all(inner: GraphProto) -> None:
    """Give every operator a name of its own, in place; the converter goes by names."""
    for number, node in enumerate(inner.node):
        node.name = f"{node.op_type}_{number}"
