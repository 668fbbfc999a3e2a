import contextlib
import struct
import sys

import by_hand
import numpy as np
import pytest
import torch
from onnx import parser, save

from edgeprune import registry, targets
from edgeprune.errors import ConfigError, DeviceError, EdgepruneError, ModelError
from edgeprune.export import half
from edgeprune.export.onnx import export_onnx
from edgeprune.files.store import file_sha256
from edgeprune.records.pruning import InputSpec
from edgeprune.runtimes import tensorrt
from edgeprune.runtimes._tensorrt.builder import check_header
from edgeprune.runtimes.tensorrt_rtx import runtime

library = pytest.importorskip(
    "tensorrt_rtx", reason="TensorRT-RTX is not installed: it has packages for Linux and Windows on x86-64 only"
)
AMPERE = targets.get("rtx-ampere")
MARKS = {"rtx-ampere": 4, "rtx-ada": 8, "rtx-blackwell": 16}  # a bit for each of SM75 SM80 SM86 SM89 SM120, at byte 32


class Seen:
    """A progress that keeps what it is told."""

    def __init__(self):
        self.bars = []

    def stage(self, title, reused=False):
        raise NotImplementedError

    def note(self, text):
        raise NotImplementedError

    @contextlib.contextmanager
    def track(self, label, total):
        steps = []
        self.bars.append((label, total, steps))
        yield lambda done, text: steps.append((done, text))


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """A ResNet-56 with weights nobody trained, in float32 and in half precision."""
    folder = tmp_path_factory.mktemp("resnet")
    torch.manual_seed(0)
    model = registry.family_of("resnet56-1d").build("resnet56-1d", 2, 128, 11).eval()
    export_onnx(model, InputSpec(2, 128), folder / "fp32.onnx", opset=17, batch_size=None, metadata={})
    iq = np.random.default_rng(0).standard_normal((4, 2, 128), dtype=np.float32)
    half.convert(folder / "fp32.onnx", folder / "fp16.onnx", iq)
    return folder


def graph(path, text, opset='"": 17'):
    save(parser.parse_model(f"<ir_version: 8, opset_import: [{opset}]> {text}"), path)
    return path


def test_it_is_registered_and_says_its_version():
    assert registry.get("runtimes", "tensorrt-rtx") is runtime
    assert runtime.facts() == {"name": "tensorrt-rtx", "version": library.__version__}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_whole_network_becomes_an_engine_without_a_gpu(resnet, tmp_path, precision):
    built = runtime.build(resnet / f"{precision}.onnx", AMPERE, tmp_path / "e.engine", Seen())
    content = (tmp_path / "e.engine").read_bytes()
    assert (built.path, built.size_bytes, built.sha256) == (
        "e.engine",
        len(content),
        file_sha256(tmp_path / "e.engine"),
    )
    assert built.model_sha256 == file_sha256(resnet / f"{precision}.onnx")
    assert (built.runtime, built.version, built.compute_capability) == ("tensorrt-rtx", library.__version__, "8.6")
    assert built.batches == (1, 256)
    assert built.layers > 56
    # What the library's own runtime says of it: no GPU here, but nothing wrong with the engine.
    _, diagnostics = library.Runtime(library.Logger(library.Logger.INTERNAL_ERROR)).get_engine_validity(content)
    wrong = library.EngineInvalidityDiagnostics
    assert not diagnostics & (int(wrong.MALFORMED_ENGINE) | int(wrong.VERSION_MISMATCH) | int(wrong.UNSUPPORTED_CC))


def test_half_precision_makes_a_smaller_engine(resnet, tmp_path):
    sizes = [
        runtime.build(resnet / f"{precision}.onnx", AMPERE, tmp_path / precision, Seen()).size_bytes
        for precision in ("fp32", "fp16")
    ]
    assert sizes[1] < 0.8 * sizes[0]


@pytest.mark.parametrize("name", MARKS)
def test_an_engine_is_for_the_gpus_of_its_target(tmp_path, name):
    runtime.build(by_hand.model(tmp_path / "m.onnx", "N", 2), targets.get(name), tmp_path / "e.engine", Seen())
    assert (tmp_path / "e.engine").read_bytes()[32] == MARKS[name]


def test_a_static_batch_stays_and_a_dynamic_one_has_a_largest(tmp_path):
    fixed = by_hand.model(tmp_path / "fixed.onnx", 3, 2)
    assert runtime.build(fixed, AMPERE, tmp_path / "e", Seen()).batches == (3, 3)
    free = by_hand.model(tmp_path / "free.onnx", "N", 2)
    assert runtime.build(free, AMPERE, tmp_path / "e", Seen(), largest_batch=16).batches == (1, 16)


def test_a_model_quantised_in_the_file_is_built(tmp_path):
    quantised = graph(
        tmp_path / "q.onnx",
        """g (float[N, 2, 8] iq) => (float[N, 2, 8] logits)
        <float s = {0.1}, int8 z = {0}, int8[2, 2, 3] w = {1, 2, 3, 4, 5, 6, -1, -2, -3, 7, 0, 1}>
        { a = QuantizeLinear(iq, s, z) b = DequantizeLinear(a, s, z) v = DequantizeLinear(w, s, z)
          logits = Conv <pads = [1, 1]> (b, v) }""",
    )
    assert runtime.build(quantised, AMPERE, tmp_path / "e", Seen()).layers >= 3


def test_progress_shows_the_phases(tmp_path):
    seen = Seen()
    runtime.build(by_hand.model(tmp_path / "m.onnx", "N", 2), AMPERE, tmp_path / "e", seen)
    ((label, total, steps),) = seen.bars
    assert label == "build m.onnx"
    assert 0 < sum(done for done, _ in steps) <= total
    assert any(text for _, text in steps)


@pytest.mark.parametrize(
    ("text", "opset", "words"),
    [
        (
            "g (float[N, 2] a) => (float[N, 2] b) { c = Relu(a) b = my.Strange(c) }",
            '"": 17, "my": 1',
            r"node 1 \(Strange\)",
        ),
        ("g (float[N, 2, 2] a) => (float[N] b) { b = Det(a) }", '"": 17', r"node 0 \(Det\): unsupported node\. "),
    ],
)
def test_an_operator_that_the_parser_lacks_is_named_with_its_node(tmp_path, text, opset, words):
    model = graph(tmp_path / "m.onnx", text, opset)
    for use in (runtime.parse, lambda path: runtime.build(path, AMPERE, tmp_path / "e", Seen())):
        with pytest.raises(ModelError, match=words) as caught:
            use(model)
        assert "\n" not in str(caught.value)
        assert "m.onnx" in caught.value.message
    assert not (tmp_path / "e").exists()


def test_a_file_that_is_no_model_is_said(tmp_path):
    (tmp_path / "m.onnx").write_text("not onnx")
    with pytest.raises(ModelError, match="Failed to parse the ONNX model"):
        runtime.parse(tmp_path / "m.onnx")
    with pytest.raises(ConfigError, match="no such file"):
        runtime.parse(tmp_path / "gone.onnx")


def test_only_the_batch_may_be_open(tmp_path):
    model = graph(tmp_path / "m.onnx", "g (float[N, 2, L] a) => (float[N, 2, L] b) { b = Relu(a) }")
    with pytest.raises(ModelError, match=r"leaves the shape \(-1, 2, -1\) of a open; only the batch may be"):
        runtime.build(model, AMPERE, tmp_path / "e", Seen())


def test_a_gpu_that_cannot_be_built_for_is_refused_with_those_that_can(tmp_path):
    orin = AMPERE.model_copy(update={"name": "mine", "compute_capability": "8.7"})
    with pytest.raises(ConfigError, match=r"8\.7 cannot be built for") as caught:
        runtime.build(by_hand.model(tmp_path / "m.onnx", 1, 2), orin, tmp_path / "e", Seen())
    assert {"8.6", "8.9", "12.0"} <= set(caught.value.hint.removeprefix("Allowed: ").split(", "))


def test_a_version_that_the_target_does_not_take_is_refused(tmp_path):
    old = AMPERE.model_copy(update={"tensorrt": targets.Versions(lowest="0.1", below="0.9")})
    with pytest.raises(ConfigError, match="is installed") as caught:
        runtime.build(by_hand.model(tmp_path / "m.onnx", 1, 2), old, tmp_path / "e", Seen())
    assert "0.1 to below 0.9" in caught.value.hint


def test_running_asks_for_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="sees none here") as caught, runtime.open(tmp_path / "m.onnx", 1):
        pytest.fail("opened")
    assert caught.value.exit_code == 4


def test_any_export_is_parsed_by_the_parser_that_is_there(tmp_path, monkeypatch):
    model = by_hand.model(tmp_path / "m.onnx", 1, 2)
    assert tensorrt.parse_if_installed(model) == f"TensorRT-RTX {library.__version__}"
    with pytest.raises(ModelError):
        tensorrt.parse_if_installed(graph(tmp_path / "d.onnx", "g (float[N, 2, 2] a) => (float[N] b) { b = Det(a) }"))
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert tensorrt.parse_if_installed(model) is None


def header(magic=b"vtrt", length=64, version=(1, 7, 1, 116)):
    return (struct.pack("<4sIQQ4B", magic, 0, 2, length, *version) + bytes(64))[:64]


def test_a_header_that_is_right_passes():
    check_header(header(), "tensorrt-rtx", "1.7.1.116")
    check_header(header(), "tensorrt-rtx", "1.7.1")
    check_header(header(magic=b"ftrt", length=7), "tensorrt", "10.13.3.9")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"vtrt", "has 4 bytes, fewer than its header"),
        (header(magic=b"ftrt"), "begins with b'ftrt'; b'vtrt' is due"),
        (header(length=65), "says 65 bytes"),
        (header(version=(1, 6, 0, 1)), r"by version 1\.6\.0\.1"),
    ],
)
def test_a_header_that_is_wrong_is_refused(content, words):
    with pytest.raises(EdgepruneError, match=words):
        check_header(content, "tensorrt-rtx", "1.7.1.116")
