import json

import numpy as np
import onnxruntime as library
import pytest
from onnx import parser, save
from onnx.reference import ReferenceEvaluator

from edgeprune import registry
from edgeprune.errors import ConfigError, DataError, EdgepruneError, ModelError
from edgeprune.runtimes.onnxruntime import FOREIGN_ERRORS, runtime

FRAMES = np.random.default_rng(0).standard_normal((3, 2, 8), dtype=np.float32)
FLATTEN = "g (float[N, 2, 8] iq) => (float[N, 16] logits) { logits = Flatten(iq) }"


def saved(path, graph, opset=17):
    save(parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {graph}'), path)
    return path


def test_it_is_registered_under_its_name():
    assert registry.get("runtimes", runtime.name) is runtime


def test_logits_agree_with_the_reference_of_onnx(tmp_path):
    graph = """g (float[N, 2, 8] samples) => (float[N, 2] scores)
        <float[2, 2, 3] w = {1, 2, 3, 4, 5, 6, -1, -2, -3, 0.5, 0, 1}>
        { c = Conv <pads = [1, 1]> (samples, w)  r = Relu(c)  scores = ReduceMean <axes = [2], keepdims = 0> (r) }"""
    path = saved(tmp_path / "m.onnx", graph)
    expected = ReferenceEvaluator(str(path)).run(None, {"samples": FRAMES})[0]
    with runtime.open(path, 1) as session:
        logits = session.run(FRAMES)
        strided = session.run(np.repeat(FRAMES, 2, axis=2)[:, :, ::2])
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(strided, logits)


def test_times_are_positive_and_as_many_as_asked(tmp_path):
    with runtime.open(saved(tmp_path / "m.onnx", FLATTEN), 1) as session:
        times = session.time(FRAMES, 7)
        assert session.time(FRAMES, 0).shape == (0,)
    assert times.shape == (7,)
    assert times.dtype == np.float64
    assert np.all(times > 0)


def test_threads_and_order_of_operators_are_as_asked(tmp_path, monkeypatch):
    seen = []
    original = library.InferenceSession

    def spy(path, options, providers):
        seen.append((options.intra_op_num_threads, options.inter_op_num_threads, options.execution_mode, providers))
        return original(path, options, providers=providers)

    monkeypatch.setattr(library, "InferenceSession", spy)
    with runtime.open(saved(tmp_path / "m.onnx", FLATTEN), 3):
        assert seen == [(3, 1, library.ExecutionMode.ORT_SEQUENTIAL, ["CPUExecutionProvider"])]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "No graph was found"),
        (b"not onnx at all", "Protobuf parsing failed"),
    ],
)
def test_a_file_that_is_not_onnx_is_said(tmp_path, content, words):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught, runtime.open(path, 1):
        pytest.fail("opened")
    assert "\n" not in caught.value.message
    assert "ONNXRuntimeError" not in caught.value.message


@pytest.mark.parametrize("name", ["", "gone.onnx"])
def test_a_folder_is_not_a_model_nor_is_nothing(tmp_path, name):
    with pytest.raises(ConfigError, match="no such file"), runtime.open(tmp_path / name, 1):
        pytest.fail("opened")


@pytest.mark.parametrize(
    ("graph", "opset", "words"),
    [
        (FLATTEN.replace("Flatten", "Nope"), 17, "No Op registered for Nope"),
        (FLATTEN, 99, "Opset 99 is under development"),
        (
            "g (float[N, 2] a, float[N, 2] b) => (float[N, 2] c) { c = Add(a, b) }",
            17,
            r"inputs a tensor\(float\), b tensor\(float\); allowed is one",
        ),
        ("g (double[N, 2] a) => (double[N, 2] b) { b = Exp(a) }", 17, r"inputs a tensor\(double\); allowed is one"),
        (
            "g (float[N, 2] a) => (float[N, 2] b, float[N, 2] c) { b = Exp(a) c = Sin(a) }",
            17,
            r"outputs b tensor\(float\), c tensor\(float\); allowed is one",
        ),
    ],
)
def test_a_graph_that_cannot_be_used_is_said(tmp_path, graph, opset, words):
    with pytest.raises(ModelError, match=words), runtime.open(saved(tmp_path / "m.onnx", graph, opset), 1):
        pytest.fail("opened")


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((1, 2, 9), np.float32),
        np.zeros((1, 3, 8), np.float32),
        np.zeros((2, 8), np.float32),
        np.zeros((1, 2, 8), np.float64),
    ],
)
def test_frames_that_do_not_fit_are_said_with_what_fits(tmp_path, frames):
    with runtime.open(saved(tmp_path / "m.onnx", FLATTEN), 1) as session:
        for use in (session.run, lambda iq: session.time(iq, 1)):
            with pytest.raises(DataError) as caught:
                use(frames)
            assert f"{frames.shape} {frames.dtype}" in caught.value.message
            assert "allowed is (N, 2, 8) float32" in caught.value.message


def test_a_static_batch_is_kept_to(tmp_path):
    path = saved(tmp_path / "m.onnx", FLATTEN.replace("N", "2"))
    with runtime.open(path, 1) as session:
        assert session.run(FRAMES[:2]).shape == (2, 16)
        with pytest.raises(DataError, match=r"allowed is \(2, 2, 8\)"):
            session.run(FRAMES)


def test_a_model_that_fails_while_running_is_said(tmp_path):
    graph = """g (float[N, 2, 8] iq) => (float[A, B] logits)
        <int64[2] shape = {5, 7}> { logits = Reshape(iq, shape) }"""
    with runtime.open(saved(tmp_path / "m.onnx", graph), 1) as session:
        for use in (session.run, lambda iq: session.time(iq, 1)):
            with pytest.raises(ModelError, match=r"cannot run m\.onnx"):
                use(FRAMES)


def test_a_closed_session_refuses(tmp_path):
    with runtime.open(saved(tmp_path / "m.onnx", FLATTEN), 1) as session:
        session.run(FRAMES)
    for use in (session.run, lambda iq: session.time(iq, 1)):
        with pytest.raises(EdgepruneError, match="closed"):
            use(FRAMES)


def test_a_session_is_closed_when_its_user_fails(tmp_path):
    with pytest.raises(KeyError), runtime.open(saved(tmp_path / "m.onnx", FLATTEN), 1) as session:
        raise KeyError
    with pytest.raises(EdgepruneError, match="closed"):
        session.run(FRAMES)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_below_one_are_refused(tmp_path, threads):
    with pytest.raises(ConfigError, match=f"threads is {threads}"):
        runtime.open(saved(tmp_path / "m.onnx", FLATTEN), threads).__enter__()


def test_facts_are_plain():
    facts = runtime.facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["version"] == library.__version__


def test_every_error_of_the_library_is_foreign():
    known = {"Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented"}
    assert known <= {kind.__name__ for kind in FOREIGN_ERRORS}
