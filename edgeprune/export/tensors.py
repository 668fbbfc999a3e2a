"""Floating-point tensors inside a graph, as ONNX Runtime computes them."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import ModelProto, TensorProto, helper

from edgeprune.errors import ModelError
from edgeprune.export import graph
from edgeprune.export.network import first_cause

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
                made = self._session.run(self.names, {graph.INPUT: batch})
            except Exception as error:  # onnxruntime's errors share no base class
                raise _cannot_run(error) from error
            yield dict(zip(self.names, made, strict=True))


def _cannot_run(error: Exception) -> ModelError:
    return ModelError(f"ONNX Runtime cannot run the exported network: {first_cause(error)}")
