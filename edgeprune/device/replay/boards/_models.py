"""Content of a replayed board's engine and its outputs: the model itself."""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from edgeprune.device.replay.boards._board import Board, generator, say
from edgeprune.device.replay.boards._engines import Header, TrtError

_LATER = {
    "Mod": 80400,
    "Trilu": 80500,
    "GridSample": 80500,
    "LayerNormalization": 80600,
    "GroupNormalization": 100000,
}
"""First version of TensorRT whose parser supports an operator."""
_NOT_ON_DLA = frozenset({"Constant", "ReduceMean", "Sqrt", "Div", "Pow", "Reshape", "Flatten", "Gemm", "Cast", "Shape"})


def build(board: Board, model: Path, saved_as: str) -> tuple[Header, bytes]:
    """Build an engine of a model.

    Raises:
        TrtError: The model cannot be read, or has an operator that this version does not support.
    """
    try:
        parsed = onnx.load(str(model))
    except Exception as error:
        raise TrtError("[TRT] ModelImporter.cpp:682: Failed to parse ONNX model from file: " + str(model)) from error
    for number, node in enumerate(parsed.graph.node):
        if _LATER.get(node.op_type, 0) > board.version:
            raise TrtError(
                f"[TRT] ModelImporter.cpp:773: While parsing node number {number} "
                f'[{node.op_type} -> "{node.output[0]}"]:',
                f"[TRT] ModelImporter.cpp:779: ERROR: ModelImporter.cpp:162 In function parseGraph: [6] No importer "
                f"registered for op: {node.op_type}",
                "Failed to parse onnx file",
            )
    entry = parsed.graph.input[0]
    shape = tuple(size.dim_value or 1 for size in entry.type.tensor_type.shape.dim)
    if any(not size.dim_value for size in entry.type.tensor_type.shape.dim):
        sizes = "x".join(map(str, shape))
        missing = f"Dynamic dimensions required for input: {entry.name}, but no shapes were provided."
        say("W", f"{missing} Automatically overriding shape to: {sizes}")
    nodes = [node for node in parsed.graph.node if node.op_type != "Constant"]
    content = model.read_bytes()
    spread = generator("build", hashlib.sha256(content).hexdigest(), saved_as).normal(0.0, 0.006)
    layers = tuple(node.name or f"{node.op_type}_{number}" for number, node in enumerate(nodes))
    capability = "7.5" if "foreign-engine" in board.faults else str(board.said["compute_capability"])
    header = Header(
        version=board.version,
        compute_capability=capability,
        entry=entry.name,
        shape=shape,
        layers=layers,
        factor=float(np.exp(spread)),
        precision=_precision(parsed),
        graph="no-graph" not in board.faults,
    )
    return header, content


def _precision(model: onnx.ModelProto) -> str:
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return "int8"
    half = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer)
    return "fp16" if half else "fp32"


def off_dla(model: bytes) -> list[tuple[str, str]]:
    """Names and kinds of the layers that the accelerator does not support."""
    nodes = onnx.load_from_string(model).graph.node
    return [(node.name or node.op_type, node.op_type.upper()) for node in nodes if node.op_type in _NOT_ON_DLA]


def answers(model: bytes, frames: npt.NDArray[np.float32]) -> tuple[str, npt.NDArray[np.float32]]:
    """Name of the output, and the outputs of the model, computed by ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    output = session.get_outputs()[0].name
    return output, session.run([output], {session.get_inputs()[0].name: frames})[0]
