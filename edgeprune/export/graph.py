"""Properties of an ONNX graph, the removal of what should not be shipped, and the values of its tensors."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import GraphProto, ModelProto, TensorProto, helper

from edgeprune.errors import ModelError
from edgeprune.export.network import first_cause

INPUT = "iq"
OUTPUT = "logits"
BATCH = "N"

Port = tuple[str, int, tuple[int | None, ...]]


def opsets(model: ModelProto) -> dict[str, int]:
    """Opset of every operator domain that the graph imports; the default domain is the empty name."""
    return {("" if entry.domain == "ai.onnx" else entry.domain): entry.version for entry in model.opset_import}


def ports(model: ModelProto) -> tuple[Port, ...]:
    """Inputs, then outputs: name, element type, and shape with None for every dimension that is not fixed."""
    weights = {tensor.name for tensor in model.graph.initializer}
    values = [*(value for value in model.graph.input if value.name not in weights), *model.graph.output]
    return tuple(
        (
            value.name,
            value.type.tensor_type.elem_type,
            tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim),
        )
        for value in values
    )


def operators(model: ModelProto) -> int:
    """Number of operators in the graph; constants are not counted."""
    return sum(node.op_type != "Constant" for node in model.graph.node)


def declare_ports(model: ModelProto, batch_size: int | None, frame: tuple[int, int], classes: int) -> None:
    """Set the shapes of input and output, which an exporter may leave open: (N, C, L) and (N, classes).

    Args:
        model: Changed in place; has one input and one output.
        batch_size: Fixed number of frames N, or None for any number.
        frame: Channels C and length L.
        classes: Number of logits a frame.
    """
    batch = BATCH if batch_size is None else batch_size
    for value, shape in ((model.graph.input[0], (batch, *frame)), (model.graph.output[0], (batch, classes))):
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, shape))


def set_metadata(model: ModelProto, metadata: Mapping[str, str]) -> None:
    """Replace the metadata of the file, in place."""
    del model.metadata_props[:]
    helper.set_model_props(model, dict(metadata))


def metadata(model: ModelProto) -> dict[str, str]:
    """Metadata of the file."""
    return {entry.key: entry.value for entry in model.metadata_props}


def tidy(model: ModelProto) -> None:
    """Remove what exporters leave for debugging, in place, and declare the oldest sufficient file version.

    Exporters record for every node the source line that made it, with paths of the machine they ran on. The oldest IR
    version that supports the opset is readable by most runtimes of that opset.
    """
    model.doc_string = ""
    for graph in _graphs(model.graph):
        graph.doc_string = ""
        del graph.metadata_props[:]
        for item in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
            item.doc_string = ""
            del item.metadata_props[:]
    model.ir_version = helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)


def validate(model: ModelProto) -> None:
    """Check the graph against the ONNX specification, including its inferred shapes.

    Raises:
        onnx.checker.ValidationError: An operator, attribute or name is wrong.
        onnx.shape_inference.InferenceError: The shapes contradict one another.
    """
    onnx.checker.check_model(model, full_check=True)


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and the graphs inside its control flow."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                yield from _graphs(inner)


Floats = npt.NDArray[np.float32]
_FRAMES = 256


class Tensors:
    """Graph that outputs every float32 tensor that its operators make; nothing is fused.

    Args:
        model: The graph, in float32.

    Raises:
        ModelError: ONNX Runtime cannot load it.
    """

    def __init__(self, model: ModelProto) -> None:
        shaped = onnx.shape_inference.infer_shapes(model)
        outputs = {value.name for value in shaped.graph.output}
        floats = {
            value.name
            for value in (*shaped.graph.value_info, *shaped.graph.output)
            if value.type.tensor_type.elem_type == TensorProto.FLOAT
        }
        self.names = [name for node in shaped.graph.node for name in node.output if name in floats]
        shaped.graph.output.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.names if name not in outputs
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = onnxruntime.InferenceSession(
                shaped.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors share no base class
            raise _cannot_run(error) from error

    def of(self, iq: Floats, frames: int = _FRAMES) -> Iterator[dict[str, Floats]]:
        """Compute the tensors by name, batch by batch, for about `frames` of the raw frames (N, C, L).

        Raises:
            ModelError: ONNX Runtime cannot run it.
        """
        size = self._session.get_inputs()[0].shape[0]
        step = size if isinstance(size, int) else frames
        for start in range(0, max(1, min(len(iq), frames) // step) * step, step):
            batch = np.resize(iq[start : start + step], (step, *iq.shape[1:])) if isinstance(size, int) else iq[:step]
            try:
                made = self._session.run(self.names, {INPUT: batch})
            except Exception as error:  # onnxruntime's errors share no base class
                raise _cannot_run(error) from error
            yield dict(zip(self.names, made, strict=True))


def _cannot_run(error: Exception) -> ModelError:
    return ModelError(f"ONNX Runtime cannot run the exported network: {first_cause(error)}")
