"""Loaded engine on this machine's GPU; PyTorch owns the memory and the stream."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgeprune.errors import DataError, DeviceError, EdgepruneError, ModelError


class TensorRtSession:
    """Engine with one input and one output, usable until it is closed.

    Args:
        engine: Deserialised engine.
        model: The file it was built from, for messages.
        batches: Smallest and largest batch it accepts.

    Raises:
        ModelError: It does not have one input and one output.
    """

    metadata: dict[str, str]

    def __init__(self, engine: Any, model: Path, batches: tuple[int, int]) -> None:
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name).name == "INPUT"]
        outputs = [name for name in names if name not in inputs]
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelError(f"{model.name} has the tensors {', '.join(names)}; allowed is one input and one output")
        self.metadata = {}
        self._input, self._output = inputs[0], outputs[0]
        self._shape = tuple(engine.get_tensor_shape(self._input))
        self._name, self._batches = model.name, batches
        self._context: Any = engine.create_execution_context()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Channels and length of a frame.

        Raises:
            ModelError: The input of the model is not a batch of frames.
        """
        match self._shape:
            case (_, channels, length):
                return int(channels), int(length)
        raise ModelError(f"{self._name} takes {self._shape}; allowed is (N, channels, length)")

    def run(self, iq: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Compute logits (N, classes) of raw frames (N, channels, length).

        Raises:
            DataError: The frames do not fit.
            DeviceError: The GPU fails.
        """
        answers = self._prepared(iq)
        self._launch()
        self._stream.synchronize()
        logits: npt.NDArray[np.float32] = answers.cpu().numpy()
        return logits

    def time(self, iq: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float64]:
        """Run one batch `count` times; returns the milliseconds of each between two events of the GPU, (count,).

        Raises:
            DataError: The frames do not fit.
            DeviceError: The GPU fails.
        """
        answers = self._prepared(iq)
        events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]  # type: ignore[no-untyped-call]
        events[0].record(self._stream)
        for event in events[1:]:
            self._launch()
            event.record(self._stream)
        self._stream.synchronize()
        del answers
        return np.array([before.elapsed_time(after) for before, after in pairwise(events)], np.float64)

    def close(self) -> None:
        """Free the engine's memory; the session then refuses to run."""
        self._context = None

    def _prepared(self, iq: npt.NDArray[np.float32]) -> torch.Tensor:
        """Move frames to the GPU and allocate the outputs."""
        if self._context is None:
            raise EdgepruneError(f"the session of {self._name} is closed", "Use it within the `with` that opened it")
        least, most = self._batches
        if iq.dtype != np.float32 or iq.shape[1:] != self._shape[1:] or not least <= len(iq) <= most:
            allowed = f"({least} to {most}, {', '.join(map(str, self._shape[1:]))}) float32"
            raise DataError(f"{self._name} was given frames {iq.shape} {iq.dtype}; allowed is {allowed}")
        self._frames = torch.from_numpy(np.ascontiguousarray(iq)).cuda()
        self._context.set_input_shape(self._input, iq.shape)
        answers = torch.empty(tuple(self._context.get_tensor_shape(self._output)), dtype=torch.float32, device="cuda")
        self._context.set_tensor_address(self._input, self._frames.data_ptr())
        self._context.set_tensor_address(self._output, answers.data_ptr())
        torch.cuda.synchronize()
        return answers

    def _launch(self) -> None:
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            raise DeviceError(f"the GPU cannot run {self._name}")
