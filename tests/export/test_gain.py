"""The receiver's gain: any file of a normalised network answers alike at each, at every opset, in every precision."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgeprune import targets
from edgeprune.errors import ModelError
from edgeprune.export import Calibration, export, half, quantise
from edgeprune.export.gain import GAINS, before_weights, check_lower, normalising
from edgeprune.export.onnx import export_onnx
from edgeprune.network.normalisation import normalise
from edgeprune.records.pruning import InputSpec

OPSETS = sorted({9, 23} | {targets.get(name).opset for name in targets.names()})


CLASSES = 4


def tones(per_class=10):
    """Tones of four frequencies at different levels, faint as a receiver gives them, (N, 2, 64), and which they are."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), per_class)
    turns = np.exp(2j * np.pi * (np.arange(64) * (labels / 8 - 0.2)[:, None] + rng.uniform(0, 1, (len(labels), 1))))
    noise = rng.standard_normal(turns.shape) + 1j * rng.standard_normal(turns.shape)
    signal = rng.uniform(0.003, 0.02, (len(labels), 1)) * (turns + 0.1 * noise)
    return np.stack([signal.real, signal.imag], axis=1).astype(np.float32), labels


class Plain(nn.Module):
    """Two convolutions, and a linear layer that tells the tones apart by the mean of what they make."""

    def __init__(self, own_norm=False):
        super().__init__()
        torch.manual_seed(0)
        self.own_norm = own_norm
        self.first = nn.Conv1d(2, 16, 5, padding=2, bias=False)
        self.second = nn.Conv1d(16, 16, 5, padding=2, bias=False)
        self.fc = nn.Linear(16, CLASSES)
        iq, labels = tones()
        with torch.no_grad():
            features = self.features(normalise(torch.from_numpy(iq), "rms"))
            targets = nn.functional.one_hot(torch.from_numpy(labels), CLASSES).float()
            self.fc.bias.copy_(torch.arange(CLASSES))  # fainter features would all get the last class
            self.fc.weight.copy_(torch.linalg.lstsq(features, 5 * targets - self.fc.bias).solution.T)

    def features(self, x):
        x = self.first(x)
        if self.own_norm:
            x = x / x.square().mean(dim=(1, 2), keepdim=True).sqrt()
        return torch.relu(self.second(torch.relu(x))).mean(dim=2)

    def forward(self, x):
        return self.fc(self.features(x))


@pytest.fixture(scope="module")
def frames():
    return tones()[0]


def classes(path, iq):
    return onnxruntime.InferenceSession(str(path)).run(None, {"iq": iq})[0].argmax(axis=1)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize(("normalisation", "own_norm"), [("rms", False), ("none", True)])
def test_each_gain_gets_the_same_classes_in_every_precision(opset, normalisation, own_norm, frames, tmp_path):
    spec = InputSpec(2, 64, normalisation)
    wide, typed = tmp_path / "fp32.onnx", tmp_path / "typed.onnx"
    export_onnx(Plain(own_norm).eval(), spec, wide, opset=opset, batch_size=None, metadata={})
    half.convert(wide, typed, frames)
    files = [wide, typed]
    if opset >= quantise.OLDEST_OPSET:
        ranges = quantise.calibrate(wide, frames, "minmax")
        quantise.quantise(ranges, tmp_path / "int8.onnx", ranges.operators)
        files.append(tmp_path / "int8.onnx")
        assert len(ranges.operators) == (2 if own_norm else 3)  # the first layer works on raw samples
    for path in files:
        usual = classes(path, frames)
        for gain in (1e-6, 1e-5, 1e-3, 1e3, 1e6):
            assert (classes(path, frames * np.float32(gain)) == usual).mean() >= 39 / 40, (path.name, gain)
    assert (classes(typed, frames) == classes(wide, frames)).all()
    assert set(classes(wide, frames)) == set(range(CLASSES))


def test_axes_of_a_reduction_are_no_weights():
    def graph_of(reduction, initializers):
        nodes = [
            helper.make_node("ReduceL2", ["iq", reduction], ["size"], name="size"),
            helper.make_node("Div", ["iq", "size"], ["scaled"], name="scale"),
            helper.make_node("Conv", ["scaled", "weight"], ["logits"], name="layer"),
        ]
        weight = numpy_helper.from_array(np.ones((3, 2, 1), np.float32), "weight")
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("iq", "logits")]
        return helper.make_graph(nodes, "normalised", ends[:1], ends[1:], [weight, *initializers])

    axes = numpy_helper.from_array(np.array([1, 2], np.int64), "axes")
    assert before_weights(graph_of("axes", [axes])) == ("size", "scale")


def test_a_layer_before_the_networks_own_normalisation_belongs_to_it(frames, tmp_path):
    path = tmp_path / "a.onnx"
    for own_norm, expected in ((True, 1), (False, 0)):
        export_onnx(Plain(own_norm).eval(), InputSpec(2, 64, "none"), path, opset=17, batch_size=None, metadata={})
        model = onnx.load(path)
        layers = [node.name for node in model.graph.node if node.op_type == "Conv"]
        assert len(normalising(model, frames) & set(layers)) == expected


def test_the_record_holds_every_gain_and_an_export_that_depends_on_it_is_refused(frames, target, tmp_path, monkeypatch):
    model, spec = Plain().eval(), InputSpec(2, 64, "rms")
    for precision in ("fp32", "fp16", "int8"):
        made = export(
            model,
            spec,
            frames,
            target(17),
            tmp_path / "a.onnx",
            {},
            precision=precision,
            calibration=Calibration(frames),
            simplifiers=(),
        )
        assert [(check.gain, check.same_top1 >= 0.95) for check in made.gains] == [(gain, True) for gain in GAINS]
    monkeypatch.setattr(half, "normalising", lambda model, iq: frozenset())
    with pytest.raises(ModelError, match=r"in fp16 .* 1e-06 times their gain"):
        export(model, spec, frames, target(17), tmp_path / "b.onnx", {}, precision="fp16", simplifiers=())
    assert not (tmp_path / "b.onnx").exists()


def test_a_network_without_normalisation_is_measured_and_not_refused(frames, target, tmp_path):
    spec = InputSpec(2, 64, "none")
    made = export(Plain().eval(), spec, frames, target(17), tmp_path / "a.onnx", {}, precision="fp16", simplifiers=())
    assert made.same_top1 == 1.0
    assert [check.gain for check in made.gains] == list(GAINS)


def test_faint_samples_without_normalisation_stay_float32(frames, tmp_path):
    path, typed = tmp_path / "a.onnx", tmp_path / "b.onnx"
    export_onnx(Plain().eval(), InputSpec(2, 64, "none"), path, opset=17, batch_size=None, metadata={})
    faint = frames * np.float32(1e-5)  # about 1e-7, where halves have steps of 6e-8
    half.convert(path, typed, faint)
    session = [onnxruntime.InferenceSession(str(file)) for file in (path, typed)]
    wide, halves = (one.run(None, {"iq": faint})[0] for one in session)
    assert np.abs(halves - wide).max() <= 2e-3 * np.abs(wide).max()
    assert check_lower(path, typed, faint, "fp16")[0].same_top1 == 1.0
