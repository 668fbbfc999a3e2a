"""The session's side of a GPU that is not there: memory is the CPU's, and the engine adds up each frame."""

import ctypes
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from edgeprune.errors import DataError, DeviceError, EdgepruneError, ModelError
from edgeprune.runtimes._tensorrt import session as module
from edgeprune.runtimes._tensorrt.session import TensorRtSession

FRAMES = np.arange(12, dtype=np.float32).reshape(2, 2, 3)


class Event:
    """Recorded at the next tick of a clock that ticks once a launch and once a record."""

    clock = count()

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self, stream):
        assert stream.cuda_stream == 7
        self.at = next(self.clock)

    def elapsed_time(self, later):
        return float(later.at - self.at)


class Context:
    """Sums each frame of the input's memory into the output's."""

    def __init__(self, fails):
        self.addresses, self.shape, self.fails, self.launches = {}, None, fails, 0

    def set_input_shape(self, name, shape):
        assert name == "iq"
        self.shape = tuple(shape)

    def get_tensor_shape(self, name):
        assert name == "logits"
        return (self.shape[0], 1)

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        assert stream == 7
        self.launches += 1
        next(Event.clock)
        read, write = (ctypes.cast(self.addresses[name], ctypes.POINTER(ctypes.c_float)) for name in ("iq", "logits"))
        size = self.shape[1] * self.shape[2]
        for frame in range(self.shape[0]):
            write[frame] = sum(read[frame * size + i] for i in range(size))
        return not self.fails


class Engine:
    def __init__(self, names=("iq", "logits"), shape=(-1, 2, 3), fails=False):
        self.names, self.shape, self.context = names, shape, Context(fails)
        self.num_io_tensors = len(names)

    def get_tensor_name(self, index):
        return self.names[index]

    def get_tensor_mode(self, name):
        return SimpleNamespace(name="INPUT" if name.startswith("iq") else "OUTPUT")

    def get_tensor_shape(self, name):
        return self.shape

    def create_execution_context(self):
        return self.context


@pytest.fixture
def session(monkeypatch, tmp_path):
    cuda = SimpleNamespace(
        Stream=lambda: SimpleNamespace(cuda_stream=7, synchronize=lambda: None), Event=Event, synchronize=lambda: None
    )
    fake = SimpleNamespace(
        cuda=cuda,
        float32=torch.float32,
        from_numpy=lambda array: SimpleNamespace(cuda=lambda: torch.from_numpy(array)),
        empty=lambda shape, dtype, device: torch.full(shape, torch.nan, dtype=dtype),
    )
    monkeypatch.setattr(module, "torch", fake)
    return lambda engine=None, batches=(1, 4): TensorRtSession(engine or Engine(), tmp_path / "m.onnx", batches)


def test_frames_go_in_and_logits_come_out(session):
    opened = session()
    assert opened.frame_shape == (2, 3)
    strided = np.repeat(FRAMES, 2, axis=2)[:, :, ::2]
    for frames in (FRAMES, strided):
        np.testing.assert_array_equal(opened.run(frames), [[15], [51]])


def test_each_run_is_timed_between_two_events(session):
    engine = Engine()
    times = session(engine).time(FRAMES, 5)
    np.testing.assert_array_equal(times, [2.0] * 5)  # a launch and a record each
    assert engine.context.launches == 5
    assert session().time(FRAMES, 0).shape == (0,)


@pytest.mark.parametrize(
    "frames", [FRAMES.astype(np.float64), FRAMES[:, :1], FRAMES[0], np.zeros((5, 2, 3), np.float32), FRAMES[:0]]
)
def test_frames_that_do_not_fit_are_refused(session, frames):
    with pytest.raises(DataError, match=r"allowed is \(1 to 4, 2, 3\) float32"):
        session().run(frames)


def test_a_gpu_that_fails_is_told(session):
    with pytest.raises(DeviceError, match=r"the GPU cannot run m\.onnx"):
        session(Engine(fails=True)).run(FRAMES)


@pytest.mark.parametrize("names", [("iq", "iq2", "logits"), ("iq", "logits", "other"), ("logits",)])
def test_an_engine_takes_one_tensor_and_gives_one(session, names):
    with pytest.raises(ModelError, match="allowed is one input and one output"):
        session(Engine(names))


def test_a_shape_that_is_not_of_frames_is_told(session):
    with pytest.raises(ModelError, match="takes"):
        _ = session(Engine(shape=(-1, 6))).frame_shape


def test_a_closed_session_refuses(session):
    opened = session()
    opened.close()
    with pytest.raises(EdgepruneError, match="closed"):
        opened.run(FRAMES)
