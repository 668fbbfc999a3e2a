"""ONNX Runtime on the CPU of this machine."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from edgeprune.errors import ConfigError, DataError, EdgepruneError, ModelError

_PROVIDERS = ["CPUExecutionProvider"]
_FLOAT32 = "tensor(float)"
_FATAL = 4  # ONNX Runtime's log level; what it would log as an error it also raises

_SOURCE_PLACE = re.compile(r"^\S+\.(?:h|cc|cpp):\d+ .*?\)(?: const)? ")

# Every exception class the library has, whatever its version, and what its Python layer raises.
FOREIGN_ERRORS: tuple[type[Exception], ...] = (
    *(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    RuntimeError,
    ValueError,
)


class OnnxRuntimeSession:
    """Loaded model, usable until it is closed.

    Args:
        session: The loaded model.
        name: File name, for messages.

    Raises:
        ModelError: It does not have exactly one float32 input and one float32 output.
    """

    def __init__(self, session: onnxruntime.InferenceSession, name: str) -> None:
        for what, tensors in (("input", session.get_inputs()), ("output", session.get_outputs())):
            if [tensor.type for tensor in tensors] != [_FLOAT32]:
                found = ", ".join(f"{tensor.name} {tensor.type}" for tensor in tensors) or "none"
                raise ModelError(f"{name} has the {what}s {found}; allowed is one {what} {_FLOAT32}")
        self._session: onnxruntime.InferenceSession | None = session
        self._name = name
        self._input: str = session.get_inputs()[0].name
        self._output: str = session.get_outputs()[0].name
        self._shape: tuple[int | str | None, ...] = tuple(session.get_inputs()[0].shape)
        self.metadata: dict[str, str] = dict(session.get_modelmeta().custom_metadata_map)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Channels and length of a frame.

        Raises:
            ModelError: The model does not fix them.
        """
        match self._shape:
            case (_, int() as channels, int() as length):
                return channels, length
        raise ModelError(f"{self._name} takes frames {self._shape}; allowed is (N, channels, length) with both fixed")

    def run(self, iq: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Compute logits (N, classes) of raw frames (N, channels, length).

        Raises:
            DataError: The frames do not fit the model's input.
            ModelError: The model fails while running.
            EdgepruneError: The session was closed.
        """
        session, feed = self._prepared(iq)
        with self._mapped_errors():
            logits: npt.NDArray[np.float32] = session.run([self._output], feed)[0]
        return logits

    def time(self, iq: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float64]:
        """Run one batch `count` times, from frames in host memory to logits in host memory.

        Args:
            iq: Raw frames (N, channels, length), the same in every run.
            count: Number of runs.

        Returns:
            Milliseconds of each run, (count,), of the monotonic clock.

        Raises:
            DataError: The frames do not fit the model's input.
            ModelError: The model fails while running.
            EdgepruneError: The session was closed.
        """
        session, feed = self._prepared(iq)
        run, outputs, clock = session.run, [self._output], time.perf_counter_ns
        elapsed_ns = np.empty(count, np.int64)
        with self._mapped_errors():
            for index in range(count):
                start = clock()
                run(outputs, feed)
                elapsed_ns[index] = clock() - start
        return elapsed_ns / 1e6

    def close(self) -> None:
        """Free the model; the session then refuses to run."""
        self._session = None

    def _prepared(
        self, iq: npt.NDArray[np.float32]
    ) -> tuple[onnxruntime.InferenceSession, dict[str, npt.NDArray[np.float32]]]:
        if self._session is None:
            raise EdgepruneError(f"the session of {self._name} is closed", "Use it within the `with` that opened it")
        fits = len(iq.shape) == len(self._shape) and all(
            not isinstance(allowed, int) or found == allowed
            for found, allowed in zip(iq.shape, self._shape, strict=True)
        )
        if not fits or iq.dtype != np.float32:
            allowed = ", ".join(str(size or "?") for size in self._shape)
            raise DataError(
                f"{self._name} was given frames {iq.shape} {iq.dtype}; allowed is ({allowed}) float32",
                "Give it the kind of frames it was trained on",
            )
        return self._session, {self._input: np.ascontiguousarray(iq)}

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except FOREIGN_ERRORS as error:
            raise ModelError(f"ONNX Runtime cannot run {self._name}: {_reason(error)}") from error


class OnnxRuntime:
    """Runs models with ONNX Runtime's CPU provider, its threads spinning between operators as they do by default."""

    name = "onnxruntime"
    mode = "sync, session.run, host memory"

    @contextmanager
    def open(self, model: Path, threads: int) -> Iterator[OnnxRuntimeSession]:
        """Load a model.

        Args:
            model: ONNX file.
            threads: Threads that share one operator; operators run one after the other.

        Raises:
            ConfigError: `threads` is below 1, or no such file.
            ModelError: Not ONNX, or a graph this ONNX Runtime cannot run.
        """
        if threads < 1:
            raise ConfigError(f"threads is {threads}; allowed is 1 or more")
        if not model.is_file():
            raise ConfigError(f"no such file: {model}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _FATAL
        try:
            loaded = onnxruntime.InferenceSession(str(model), options, providers=_PROVIDERS)
        except FOREIGN_ERRORS as error:
            raise ModelError(
                f"ONNX Runtime {onnxruntime.__version__} cannot load {model.name}: {_reason(error)}",
                "Export the model again, for an opset this ONNX Runtime reads",
            ) from error
        session = OnnxRuntimeSession(loaded, model.name)
        del loaded  # so that closing the session frees the model
        try:
            yield session
        finally:
            session.close()

    def facts(self) -> dict[str, Any]:
        """Version and build of ONNX Runtime, and the providers in use."""
        return {
            "name": self.name,
            "version": onnxruntime.__version__,
            "providers": list(_PROVIDERS),
            "build": onnxruntime.get_build_info(),
        }


def _reason(error: Exception) -> str:
    """Message of ONNX Runtime in one line, without its error number, the file name, and the place in its source."""
    text = " ".join(str(error).split("failed:", 1)[-1].split("] : ", 1)[-1].split())
    return _SOURCE_PLACE.sub("", text)[:300].rstrip(". ")


runtime = OnnxRuntime()
