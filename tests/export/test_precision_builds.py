"""Every family of networks in fp16 and int8; NVIDIA's builder, which computes in the types of the graph, takes them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import nn

from edgeprune import registry, targets
from edgeprune.errors import ConfigError
from edgeprune.export import Calibration, export, onnx_logits
from edgeprune.export.precision import LowerPrecision, lower
from edgeprune.network.checkpoint import build
from edgeprune.protocols import NullProgress
from edgeprune.records.pruning import Arch, InputSpec
from edgeprune.runtimes.tensorrt import TensorRt

LENGTH, CLASSES = 128, 11
SMALLEST = {"resnet": "resnet56-1d", "recurrent": "gru2"}
ONE_OF_EACH = [SMALLEST.get(name, registry.get("models", name).names[0]) for name in registry.names("models")]
AMPERE = targets.get("rtx-ampere")


HALF_A_MINUTE = ("signet50",)  # its file is like that of resnet56-1d, and large


def small_vgg():
    layers: list[nn.Module] = []
    for inputs, outputs in ((2, 16), (16, 32)):
        layers += [nn.Conv1d(inputs, outputs, 3, padding=1), nn.BatchNorm1d(outputs), nn.ReLU(), nn.MaxPool1d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * LENGTH // 4, 64), nn.ReLU(), nn.Linear(64, CLASSES))


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).standard_normal((8, 2, LENGTH)).astype(np.float32)


@pytest.fixture(scope="module")
def lowered(frames, tmp_path_factory):
    """A function from a network's name to its files: the record of each by precision, and where they are."""
    made = {}

    def make(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            torch.manual_seed(0)
            arguments = {"channels": 2, "length": LENGTH, "classes": CLASSES}
            model = small_vgg().eval() if name == "small-vgg" else build(Arch(name, arguments)).eval()
            plain = folder / "fp32.onnx"
            target = AMPERE if name == "small-vgg" else targets.get("jetson-orin")  # by either of torch's exporters
            how_many = {"batch_size": len(frames), "simplifiers": ()}
            records = {"fp32": export(model, InputSpec(2, LENGTH), frames, target, plain, {}, **how_many)}
            for how in (LowerPrecision("fp16"), LowerPrecision("int8", Calibration(frames, "minmax"))):
                file = folder / f"{how.precision}.onnx"
                records[how.precision] = lower(plain, file, frames, how, records["fp32"])
            made[name] = records, folder
        return made[name]

    return make


def built(path: Path, out: Path):
    runtime = TensorRt("tensorrt-rtx")
    try:
        runtime.parse(path)
    except ConfigError:
        pytest.skip("TensorRT-RTX is not installed")
    return runtime.build(path, AMPERE, out, NullProgress())


@pytest.mark.parametrize("name", [name for name in ONE_OF_EACH if name not in HALF_A_MINUTE])
def test_every_family_answers_alike_in_half_and_is_quantised(lowered, frames, name):
    records, folder = lowered(name)
    before, half, eighth = (onnx_logits(folder / f"{each}.onnx", frames) for each in ("fp32", "fp16", "int8"))
    scale = np.abs(before - before.mean()).max()
    assert np.abs(half - before).max() < 0.05 * scale
    assert np.corrcoef(eighth.ravel(), before.ravel())[0, 1] > 0.9
    assert records["int8"].quantisation.quantised >= 1
    types = {
        tensor.data_type for tensor in onnx.load(folder / "fp16.onnx").graph.initializer if np.prod(tensor.dims) > 9
    }
    assert TensorProto.FLOAT16 in types


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("name", ["resnet56-1d", "small-vgg", "mcldnn"])
def test_the_builder_takes_both(lowered, tmp_path, name, precision):
    _, folder = lowered(name)
    engine = built(folder / f"{precision}.onnx", tmp_path / "m.engine")
    assert engine.layers > 5
    assert (tmp_path / "m.engine").stat().st_size == engine.size_bytes


def test_the_builder_takes_int8_with_layers_kept_in_half(lowered, frames, tmp_path):
    records, folder = lowered("small-vgg")
    layers = [node.name for node in onnx.load(folder / "fp32.onnx").graph.node if node.op_type in ("Conv", "Gemm")]
    how = LowerPrecision("int8", Calibration(frames, keep=(layers[1], layers[2])), kept_in="fp16")
    record = lower(folder / "fp32.onnx", tmp_path / "mixed.onnx", frames, how, records["fp32"])
    assert record.quantisation.quantised == len(layers) - 2
    before, mixed = (onnx_logits(path, frames) for path in (folder / "fp32.onnx", tmp_path / "mixed.onnx"))
    assert np.corrcoef(before.ravel(), mixed.ravel())[0, 1] > 0.99
    inner = onnx.load(tmp_path / "mixed.onnx").graph
    halves = [tensor for tensor in inner.initializer if tensor.data_type == TensorProto.FLOAT16]
    assert {len(tensor.dims) for tensor in halves} >= {2, 3}  # the weights of a linear layer and of a convolution
    assert built(tmp_path / "mixed.onnx", tmp_path / "m.engine").layers > 5
