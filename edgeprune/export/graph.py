"""Properties of an ONNX graph, and the removal of what should not be shipped."""

from collections.abc import Iterator, Mapping

import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper

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
