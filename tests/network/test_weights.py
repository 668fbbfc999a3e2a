"""Weights as they lie about: where they are in a checkpoint, what lies beside them, and how their names fit."""

import argparse
import enum
import pathlib
import struct
import types
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from edgeprune.errors import ConfigError, ModelError
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.model_file import ModelOptions

CLASSES = ("AM", "FM", "CW")


def network():
    """Convolution, batch norm, and a linear layer."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(120, 3))


class Wrapping(nn.Module):
    """What is written around a network to choose one of its outputs."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        return self.net(x)


@pytest.fixture(autouse=True)
def users_module(monkeypatch):
    module = types.ModuleType("users_networks")
    module.build, module.wrapped = network, Wrapping
    module.wide = lambda: nn.Sequential(nn.Conv1d(2, 8, 3), nn.BatchNorm1d(8), nn.Flatten(), nn.Linear(240, 3))
    monkeypatch.setitem(__import__("sys").modules, module.__name__, module)


def options(factory="build", **more):
    return ModelOptions(
        class_names=CLASSES, input_shape=(2, 32), factory=f"users_networks:{factory}", normalisation="none", **more
    )


def stated(change=1.0):
    """Weights that a fresh network does not have."""
    return {
        name: value * change if value.is_floating_point() else value for name, value in network().state_dict().items()
    }


@pytest.fixture
def load(tmp_path):
    def write_and_load(content, **how):
        torch.save(content, tmp_path / "weights.pt")
        return checkpoints.load(tmp_path / "weights.pt", options(**how))

    return write_and_load


def refused(kind, act, *arguments, **named):
    with pytest.raises(kind) as caught:
        act(*arguments, **named)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Mode(enum.Enum):
    FAST = 1


def assert_loaded(loaded, expected=None):
    """The network computes as the weights say."""
    reference = network()
    reference.load_state_dict(stated(0.5) if expected is None else expected)
    frames = torch.randn(2, 2, 32)
    with torch.no_grad():
        assert torch.equal(loaded.model(frames), reference.eval()(frames))


class TestWhereTheyAre:
    @pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "net", "ema", "weights", "generator"])
    def test_under_any_key(self, load, key):
        training = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}
        loaded = load({"epoch": 3, key: stated(0.5), "optimizer_state_dict": training, "loss": 0.3})
        assert_loaded(loaded)
        assert loaded.notes == ("epoch", "optimizer_state_dict (dict)", "loss")

    def test_deeper(self, load):
        assert_loaded(load({"ema": {"module": stated(0.5), "decay": 0.999}}))

    def test_beside_plain_numbers(self, load):
        loaded = load({**stated(0.5), "epoch": 3})
        assert_loaded(loaded)
        assert loaded.notes == ("epoch",)

    @pytest.mark.parametrize("zipped", [True, False])
    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            (np.float64(0.9), "numpy"),
            (np.int64(3), "numpy"),
            (argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("x")), "argparse.Namespace"),
            (Mode.FAST, "Mode"),
            (np.arange(4), "numpy"),
        ],
    )
    def test_beside_objects_that_are_not_made(self, tmp_path, value, kind, zipped):
        file = tmp_path / "weights.pt"
        torch.save({"state_dict": stated(0.5), "best": value}, file, _use_new_zipfile_serialization=zipped)
        loaded = checkpoints.load(file, options())
        assert_loaded(loaded)
        assert loaded.notes[0].startswith("best (")
        assert kind in loaded.notes[0]

    def test_code_beside_them_is_not_run(self, tmp_path):
        marker = tmp_path / "marker"

        class Trap:
            def __reduce__(self):
                return pathlib.Path.touch, (marker,)

        torch.save({"state_dict": stated(0.5), "best": Trap()}, tmp_path / "trap.pt")
        assert "nothing was run" in refused(ModelError, checkpoints.load, tmp_path / "trap.pt", options())
        assert not marker.exists()
        torch.load(tmp_path / "trap.pt", weights_only=False)
        assert marker.exists()

    def test_of_several_one_must_be_named(self, load):
        content = {"model": stated(), "ema": stated(0.5)}
        message = refused(ConfigError, load, content)
        assert "holds 2 dicts of tensors: model (9), ema (9). Say which with `weights_key=model`" in message
        assert_loaded(load(content, weights_key="ema"))
        message = refused(ConfigError, load, content, weights_key="teacher")
        assert "holds no dict of tensors at 'teacher'. It has: model, ema" in message


class TestNames:
    @pytest.mark.parametrize(
        "prefix", ["module.", "_orig_mod.", "model.", "net.", "module._orig_mod.", "model.backbone."]
    )
    def test_with_a_prefix_more(self, load, prefix):
        loaded = load({prefix + name: value for name, value in stated(0.5).items()})
        assert_loaded(loaded)

    @pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
    def test_as_torch_itself_writes_them(self, load):
        reference = network()
        reference.load_state_dict(stated(0.5))
        for wrapped in (torch.compile(reference), nn.DataParallel(reference)):
            assert_loaded(load(wrapped.state_dict()))
        averaged = torch.optim.swa_utils.AveragedModel(reference).state_dict()
        loaded = load(averaged)
        assert_loaded(loaded)
        assert loaded.notes == ("the prefix 'module.' of its names", "n_averaged")

    def test_with_a_prefix_less(self, load):
        loaded = load(stated(0.5), factory="wrapped")
        assert_loaded(loaded)
        assert isinstance(loaded.model, Wrapping)

    def test_with_the_counters_of_thop(self, load):
        counters = {"0.total_ops": torch.zeros(1), "total_params": torch.zeros(1)}
        loaded = load({**stated(0.5), **counters})
        assert_loaded(loaded)
        assert loaded.notes == ("2 counters of thop (total_ops, total_params)",)

    def test_without_the_number_of_batches(self, load):
        assert_loaded(load({name: value for name, value in stated(0.5).items() if "num_batches" not in name}))

    def test_of_another_width(self, load):
        message = refused(ModelError, load, stated(), factory="wide")
        assert (
            "do not fit users_networks:wide: 0.weight has shape (4, 2, 3), not (8, 2, 3); 0.bias has shape" in message
        )
        assert message.count(" has shape ") == 5
        assert message.endswith("(and 2 more)")

    def test_of_another_network(self, load):
        message = refused(ModelError, load, {"a.weight": torch.zeros(2), "a.bias": torch.zeros(2)})
        assert message.count(" is missing") == 5


class TestOtherFormats:
    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(80), "holds weights of Keras (HDF5)"),
            ("m.pb", b"\x08\x01" + bytes(80), "is a TensorFlow file"),
            ("m.tflite", b"\x1c\0\0\0TFL3" + bytes(80), "is a TensorFlow Lite file"),
            ("m.onnx", b"\x08\x08" + bytes(80), "is an ONNX file"),
            ("m.safetensors", struct.pack("<Q", 8) + b'{"a":{}}', "is a safetensors file"),
        ],
    )
    def test_are_told_by_what_they_are(self, tmp_path, name, content, words):
        (tmp_path / name).write_bytes(content)
        message = refused(ModelError, checkpoints.load, tmp_path / name, options())
        assert words in message
        assert any(way in message for way in ("`factory`", "torch.save"))

    @pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
    def test_torchscript(self, tmp_path):
        torch.jit.save(torch.jit.trace(network().eval(), torch.randn(2, 2, 32)), tmp_path / "m.pt")
        message = refused(ModelError, checkpoints.load, tmp_path / "m.pt", options())
        assert "is TorchScript" in message
        assert "state_dict" in message
        assert "`factory`" in message

    def test_a_keras_archive(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
            for name in ("metadata.json", "config.json", "model.weights.h5"):
                archive.writestr(name, "{}")
        assert "is a Keras archive" in refused(ModelError, checkpoints.load, tmp_path / "m.keras", options())

    def test_a_saved_model(self, tmp_path):
        (tmp_path / "saved_model.pb").write_bytes(b"")
        assert "is a SavedModel of TensorFlow" in refused(ModelError, checkpoints.load, tmp_path, options())
