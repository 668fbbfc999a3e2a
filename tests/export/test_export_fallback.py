"""Which layers int8 must leave alone: found in a network where one layer is known to be the culprit."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from scipy.special import rel_entr, softmax
from torch import nn

from edgeprune.export import Bound, Calibration, export, onnx_logits
from edgeprune.export.quantise import divergence
from edgeprune.runtimes import tensorrt

CLASSES = 4


class Lopsided(nn.Module):
    """Three layers; the input of the second has one channel a thousand times larger than the one that decides."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(2, 3, 1, bias=False)
        self.second = nn.Conv1d(3, CLASSES, 1, bias=False)
        self.third = nn.Linear(CLASSES, CLASSES, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1000.0, 1000.0]])[..., None])
            self.second.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [-1.0, 0, 0], [0, -1.0, 0]])[..., None])
            self.third.weight.copy_(torch.eye(CLASSES))

    def forward(self, x):
        return self.third(self.second(self.first(x)).mean(dim=2))


@pytest.fixture(scope="module")
def quarters():
    """Frames that point in one of four directions, and which."""
    labels = np.arange(400) % CLASSES
    angles = labels * np.pi / 2 + np.random.default_rng(0).uniform(-0.6, 0.6, 400)
    means = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.repeat(means[..., None], 16, axis=2).astype(np.float32), labels


def made(quarters, target, path, max_drop, precisions=("fp32", "int8")):
    from edgeprune.records.pruning import InputSpec

    iq, labels = quarters
    chosen = target(17).model_copy(update={"precisions": precisions})
    spec = InputSpec(channels=2, length=16, normalisation="none")
    bound = Bound(iq, labels, max_drop)
    record = export(
        Lopsided().eval(), spec, iq, chosen, path, {}, precision="int8", calibration=Calibration(iq), bound=bound
    )
    right = (onnx_logits(path, iq).argmax(axis=1) == labels).mean()
    return record, right


def inputs_quantised(path):
    """For each layer with a weight, whether it reads eight-bit activations."""
    inner = onnx.load(path).graph
    makers = {name: node.op_type for node in inner.node for name in node.output}
    return [makers.get(n.input[0]) == "DequantizeLinear" for n in inner.node if n.op_type in ("Conv", "Gemm", "MatMul")]


def test_without_need_nothing_is_kept_or_ranked(quarters, target, tmp_path):
    record, _ = made(quarters, target, tmp_path / "q.onnx", 1.0)
    assert record.quantisation.kept == ()
    assert record.quantisation.sensitivity == ()
    assert inputs_quantised(tmp_path / "q.onnx") == [True] * 3
    assert record.validation_drop > 0.2  # so that the other tests have something to repair


def test_the_layer_that_costs_everything_is_the_one_that_is_kept(quarters, target, tmp_path):
    record, right = made(quarters, target, tmp_path / "q.onnx", 0.01)
    (culprit,) = record.quantisation.kept
    assert culprit == record.quantisation.sensitivity[0].name
    assert record.quantisation.quantised == 2
    assert inputs_quantised(tmp_path / "q.onnx") == [True, False, True]
    assert record.validation_drop <= 0.01
    assert right >= 0.99
    assert [each.kl for each in record.quantisation.sensitivity] == sorted(
        (each.kl for each in record.quantisation.sensitivity), reverse=True
    )


def test_where_the_target_runs_halves_it_is_kept_in_them(quarters, target, tmp_path):
    record, right = made(quarters, target, tmp_path / "q.onnx", 0.01, ("fp16", "fp32", "int8"))
    assert record.quantisation.kept_in == "fp16"
    inner = onnx.load(tmp_path / "q.onnx").graph
    halves = [tensor for tensor in inner.initializer if tensor.data_type == TensorProto.FLOAT16]
    assert [list(tensor.dims) for tensor in halves] == [[CLASSES, 3, 1]]
    assert right >= 0.99
    said = tensorrt.parse_if_installed(tmp_path / "q.onnx")
    assert said is None or "TensorRT" in said


def test_where_nothing_is_enough_the_nearest_is_written_and_told(quarters, target, tmp_path):
    record, _ = made(quarters, target, tmp_path / "q.onnx", -1.0)
    assert record.quantisation.quantised >= 1
    assert record.validation_drop > -1.0


def test_operators_named_before_are_kept_without_a_search(quarters, target, tmp_path):
    found, _ = made(quarters, target, tmp_path / "a.onnx", 0.01)
    from edgeprune.records.pruning import InputSpec

    iq, _labels = quarters
    spec = InputSpec(channels=2, length=16, normalisation="none")
    calibration = Calibration(iq, keep=found.quantisation.kept)
    record = export(
        Lopsided().eval(), spec, iq, target(17), tmp_path / "b.onnx", {}, precision="int8", calibration=calibration
    )
    assert record.quantisation.kept == found.quantisation.kept
    assert np.array_equal(onnx_logits(tmp_path / "a.onnx", iq), onnx_logits(tmp_path / "b.onnx", iq))


def test_divergence_is_scipys(iq):
    before, after = np.random.default_rng(2).standard_normal((2, 30, 5)).astype(np.float32)
    by_scipy = rel_entr(softmax(before.astype(float), axis=1), softmax(after.astype(float), axis=1)).sum(axis=1).mean()
    assert divergence(before, after) == pytest.approx(by_scipy, rel=1e-6)
    assert divergence(before, before + 3) == pytest.approx(0.0, abs=1e-9)
