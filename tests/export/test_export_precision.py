"""FP16 and INT8 against arithmetic done by hand, and what a file of lower precision promises."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgeprune.errors import ConfigError, ModelError
from edgeprune.export import Calibration, export
from edgeprune.export.half import convert, tensor_ranges
from edgeprune.export.quantise import METHODS, calibrate, quantise


def one_product(weight, opset=17):
    """logits = flatten(iq) @ weight, as a file of two operators."""
    length = weight.shape[0] // 2
    nodes = [
        helper.make_node("Flatten", ["iq"], ["flat"], name="flatten"),
        helper.make_node("Gemm", ["flat", "weight"], ["logits"], name="product"),
    ]
    return helper.make_model(
        helper.make_graph(
            nodes,
            "product",
            [helper.make_tensor_value_info("iq", TensorProto.FLOAT, ["N", 2, length])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", weight.shape[1]])],
            [numpy_helper.from_array(weight, "weight")],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )


def run(path, iq):
    return onnxruntime.InferenceSession(str(path)).run(None, {"iq": iq})[0]


def ports(path):
    inner = onnx.load(path).graph
    return [(value.name, value.type.tensor_type.elem_type) for value in (*inner.input, *inner.output)]


@pytest.fixture
def weight():
    return np.random.default_rng(0).standard_normal((16, 3)).astype(np.float32)


@pytest.fixture
def frames():
    return np.random.default_rng(1).standard_normal((64, 2, 8)).astype(np.float32)


class TestHalf:
    def test_weights_are_the_nearest_halves_and_ports_stay_float32(self, weight, frames, tmp_path):
        onnx.save(one_product(weight), tmp_path / "a.onnx")
        assert convert(tmp_path / "a.onnx", tmp_path / "b.onnx", frames) == ("Flatten_0",)
        (stored,) = onnx.load(tmp_path / "b.onnx").graph.initializer
        assert stored.data_type == TensorProto.FLOAT16
        assert np.array_equal(numpy_helper.to_array(stored), weight.astype(np.float16))
        assert ports(tmp_path / "b.onnx") == [("iq", TensorProto.FLOAT), ("logits", TensorProto.FLOAT)]
        by_hand = frames.reshape(64, 16).astype(np.float16).astype(np.float32) @ weight.astype(np.float16)
        assert np.allclose(run(tmp_path / "b.onnx", frames), by_hand, rtol=2e-3, atol=4e-3)

    def test_what_would_overflow_stays_float32(self, weight, frames, tmp_path):
        onnx.save(one_product(weight * 20_000), tmp_path / "a.onnx")
        kept = convert(tmp_path / "a.onnx", tmp_path / "b.onnx", frames)
        assert kept == ("Flatten_0", "Gemm_1")
        assert np.allclose(run(tmp_path / "b.onnx", frames), frames.reshape(64, 16) @ (weight * 20_000), rtol=1e-4)

    @pytest.mark.parametrize("scale", [1e-5, 1e3])
    def test_raw_samples_of_any_scale_lose_no_digit_before_they_are_normalised(
        self, scale, model, spec, iq, target, tmp_path
    ):
        export(model, spec, iq, target(17), tmp_path / "a.onnx", {})
        made = export(model, spec, iq, target(17), tmp_path / "b.onnx", {}, precision="fp16")
        plain, half = (run(tmp_path / name, iq * np.float32(scale)) for name in ("a.onnx", "b.onnx"))
        assert np.abs(half - plain).max() < 0.01 * np.abs(plain).max()
        assert made.precision == "fp16"
        assert made.size_bytes < 0.6 * (tmp_path / "a.onnx").stat().st_size

    def test_ranges_are_those_of_numpy(self, weight, frames, tmp_path):
        ranges = tensor_ranges(one_product(weight), frames)
        assert ranges["flat"] == np.abs(frames).max()
        assert ranges["logits"] == pytest.approx(np.abs(frames.reshape(64, 16) @ weight).max(), rel=1e-6)


class TestQuantise:
    def test_weights_are_rounded_to_255_steps_of_each_output(self, weight, frames, tmp_path):
        onnx.save(one_product(weight), tmp_path / "a.onnx")
        ranges = calibrate(tmp_path / "a.onnx", frames, "minmax")
        assert ranges.operators == ("product",)
        quantise(ranges, tmp_path / "b.onnx", ranges.operators)
        step = np.abs(weight).max(axis=0) / 127
        flat_step = np.abs(frames).max() / 127
        flat = np.clip(np.round(frames.reshape(64, 16) / flat_step), -128, 127) * flat_step
        by_hand = flat @ (np.round(weight / step) * step)
        assert np.abs(run(tmp_path / "b.onnx", frames) - by_hand).max() < 3 * flat_step

    @pytest.mark.parametrize("method", METHODS)
    def test_every_pair_is_symmetric_int8_and_biases_stay(self, method, model, spec, iq, target, tmp_path):
        calibration = Calibration(iq, method)
        made = export(model, spec, iq, target(13), tmp_path / "q.onnx", {}, precision="int8", calibration=calibration)
        inner = onnx.load(tmp_path / "q.onnx").graph
        values = {tensor.name: numpy_helper.to_array(tensor) for tensor in inner.initializer}
        pairs = [node for node in inner.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
        assert pairs
        for node in pairs:
            zero = values[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
        makers = {name: node.op_type for node in inner.node for name in node.output}
        convolutions = [node for node in inner.node if node.op_type == "Conv"]
        assert len(convolutions) == sum(isinstance(module, nn.Conv1d) for module in model.modules())
        for node in convolutions:
            assert [makers[name] for name in node.input[:2]] == ["DequantizeLinear"] * 2
            assert all(values[name].dtype == np.float32 for name in node.input[2:])
        assert made.same_top1 >= 0.8
        assert ports(tmp_path / "q.onnx") == [("iq", TensorProto.FLOAT), ("logits", TensorProto.FLOAT)]

    def test_skip_branches_read_what_the_next_convolution_reads(self, model, spec, iq, target, tmp_path):
        export(model, spec, iq, target(17), tmp_path / "q.onnx", {}, precision="int8", calibration=Calibration(iq))
        inner = onnx.load(tmp_path / "q.onnx").graph
        makers = {name: node.op_type for node in inner.node for name in node.output}
        sums = [node for node in inner.node if node.op_type == "Add"]
        assert sums
        assert all("Conv" in {makers[name] for name in node.input} for node in sums)
        plain = [node for node in sums if {makers[name] for name in node.input} == {"Conv", "DequantizeLinear"}]
        widened = [node for node in sums if {makers[name] for name in node.input} == {"Conv"}]
        assert len(plain) + len(widened) == len(sums)
        assert plain

    def test_an_opset_without_a_scale_for_each_channel_is_refused(self, weight, frames, tmp_path):
        onnx.save(one_product(weight, opset=12), tmp_path / "a.onnx")
        with pytest.raises(ConfigError, match="opset 13 or newer, not 12"):
            calibrate(tmp_path / "a.onnx", frames, "minmax")

    def test_int8_without_frames_is_refused(self, model, spec, iq, target, tmp_path):
        with pytest.raises(ConfigError, match="frames to calibrate"):
            export(model, spec, iq, target(13), tmp_path / "q.onnx", {}, precision="int8")
        assert not list(tmp_path.iterdir())


def test_a_network_that_answers_nan_in_half_is_refused(spec, iq, target, tmp_path, monkeypatch, model):
    from edgeprune.export import precision

    monkeypatch.setattr(precision, "onnx_logits", lambda path, frames: np.full((len(frames), 11), np.nan, np.float32))
    with pytest.raises(ModelError, match="fp16 the network outputs NaN"):
        export(model, spec, iq, target(13), tmp_path / "h.onnx", {}, precision="fp16")
