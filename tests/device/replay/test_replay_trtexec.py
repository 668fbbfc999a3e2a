import json
import os

import by_hand
import pytest
from onnx import parser, save

from edgeprune.device.replay.boards._board import Board
from edgeprune.device.replay.boards.tegrastats import line
from edgeprune.device.replay.transport import names, read


@pytest.fixture
def trtexec(tmp_path, monkeypatch):
    """Call the trtexec of a board in a folder with a model, an engine of it and frames."""

    def prepare(name):
        _, folder = by_hand.board(tmp_path, monkeypatch, name)
        monkeypatch.chdir(tmp_path)
        by_hand.model(tmp_path / "m.onnx", 1, 2)
        by_hand.FRAMES[:1].tofile(tmp_path / "one.bin")
        return lambda *arguments: by_hand.trtexec(folder, *arguments)

    return prepare


@pytest.mark.parametrize(
    ("name", "banner"),
    [
        ("nano-jp46", "v8201]"),
        ("xavier-nx-jp51", "v8502]"),
        ("agx-orin-jp60", "v8602]"),
        ("orin-nano-jp62", "v100300]"),
        ("thor-jp70", "v101303] [b9]"),
        ("agx-orin-jp72", "v110401] [b21]"),
    ],
)
def test_the_banner_counts_as_its_version_does(trtexec, name, banner):
    code, said = trtexec(name)("--help")
    assert code == 0
    assert said.startswith(f"&&&& RUNNING TensorRT.trtexec [TensorRT {banner} # trtexec --help\n")
    assert said.splitlines()[-1].startswith("&&&& PASSED")


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("nano-jp46", "--memPoolSize=workspace:256"),
        ("nano-jp46", "--skipInference"),
        ("xavier-nx-jp51", "--stronglyTyped"),
        ("orin-nano-jp62", "--workspace=256"),
        ("orin-nano-jp62", "--buildOnly"),
        ("orin-nano-jp62", "--noCudaGraph"),
        ("agx-orin-jp72", "--fp16"),
        ("agx-orin-jp72", "--int8"),
        ("thor-jp70", "--nonsense"),
    ],
)
def test_an_option_that_the_version_lacks_is_fatal(trtexec, name, option):
    code, said = trtexec(name)("--onnx=m.onnx", option)
    assert code == 1
    assert f"[E] Unknown option: {option.split('=')[0]} " in said
    assert "&&&& FAILED" in said


def test_shapes_of_a_static_model_are_refused(trtexec):
    code, said = trtexec("orin-nano-jp62")("--onnx=m.onnx", "--shapes=iq:1x2x8")
    assert code == 1
    assert "[E] Static model does not take explicit shapes" in said


def test_an_engine_is_refused_by_another_version_and_another_gpu(trtexec):
    assert trtexec("agx-orin-jp60")("--onnx=m.onnx", "--saveEngine=e.engine")[0] == 0
    code, said = trtexec("orin-nano-jp62")("--loadEngine=e.engine")
    assert code == 1
    assert "Version tag does not match. Note: Current Version: 1003, Serialized Engine Version: 806)" in said
    assert trtexec("orin-nano-jp62+foreign-engine")("--onnx=m.onnx", "--saveEngine=e.engine")[0] == 0
    code, said = trtexec("orin-nano-jp62")("--loadEngine=e.engine")
    assert code == 1
    assert "expecting compute 8.7 got compute 7.5, please rebuild." in said


@pytest.mark.parametrize("content", [None, b"", b"vtrt"])
def test_a_file_that_is_no_engine_is_refused(trtexec, tmp_path, content):
    run = trtexec("orin-nano-jp62")
    if content is not None:
        (tmp_path / "e.engine").write_bytes(content)
    code, said = run("--loadEngine=e.engine")
    assert code == 1
    assert "[E] " in said


def test_a_model_that_is_none_or_missing_is_refused(trtexec, tmp_path):
    run = trtexec("orin-nano-jp62")
    (tmp_path / "bad.onnx").write_text("not onnx")
    for name in ("bad.onnx", "gone.onnx"):
        code, said = run(f"--onnx={name}")
        assert code == 1
        assert "Failed to parse ONNX model from file" in said


@pytest.mark.parametrize(
    ("name", "operator", "code"),
    [("nano-jp46", "Mod", 1), ("orin-nano-jp62", "Mod", 0), ("xavier-nx-jp51", "LayerNormalization", 1)],
)
def test_an_operator_that_the_version_lacks_is_refused(trtexec, tmp_path, name, operator, code):
    run = trtexec(name)
    graph = f"g (float[1, 8] iq, float[8] s) => (float[1, 8] logits) {{ logits = {operator} (iq, s) }}"
    save(parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {graph}'), tmp_path / "m.onnx")
    ended, said = run("--onnx=m.onnx")
    assert ended == code
    assert (f"No importer registered for op: {operator}" in said) == bool(code)


@pytest.mark.parametrize(
    ("name", "times", "code"),
    [
        ("xavier-nx-jp51", 0.5, 1),
        ("xavier-nx-jp51", 1, 0),
        ("xavier-nx-jp51", 3, 0),
        ("orin-nano-jp62", 0.5, 1),
        ("orin-nano-jp62", 1, 0),
        ("orin-nano-jp62", 2, 0),
        ("orin-nano-jp62", 3, 1),
    ],
)
def test_each_version_has_its_own_idea_of_a_file_that_fits(trtexec, tmp_path, name, times, code):
    run = trtexec(name)
    assert run("--onnx=m.onnx", "--saveEngine=e.engine")[0] == 0
    content = (tmp_path / "one.bin").read_bytes()
    (tmp_path / "x.bin").write_bytes((content * 3)[: int(len(content) * times)])
    ended, said = run("--loadEngine=e.engine", "--loadInputs=iq:x.bin", "--exportOutput=o.json", "--duration=0")
    assert ended == code
    assert ("Unexpected file size for input file: x.bin" in said) == bool(code)


def test_an_input_of_another_name_is_not_found(trtexec):
    run = trtexec("orin-nano-jp62")
    run("--onnx=m.onnx", "--saveEngine=e.engine")
    code, said = run("--loadEngine=e.engine", "--loadInputs=frames:one.bin", "--duration=0")
    assert code == 1
    assert 'Cannot find input tensor with name "frames"' in said


@pytest.mark.parametrize("name", names())
def test_the_files_are_those_of_the_version(trtexec, tmp_path, name):
    run, since_85 = trtexec(name), name not in ("nano-jp46",)
    run("--onnx=m.onnx", "--saveEngine=e.engine")
    code, said = run(
        "--loadEngine=e.engine", "--warmUp=5", "--duration=0.01", "--exportTimes=t.json", "--exportProfile=p.json"
    )
    assert code == 0
    rows = json.loads((tmp_path / "t.json").read_text())
    assert len(rows[0]) == (12 if since_85 else 13)
    assert ("endToEndMs" in rows[0]) == ("End-to-End Host Latency" in said) == (not since_85)
    assert ("percentile(90%)" in said) == since_85
    assert ('Device 0: "' in said) == (name not in ("nano-jp46", "xavier-nx-jp51", "agx-orin-jp60"))
    text = (tmp_path / "t.json").read_text()
    assert text.startswith('[\n  { "startEnqMs" : ')
    assert "\n, { " in text
    count, *layers = json.loads((tmp_path / "p.json").read_text())
    assert count["count"] >= 10
    assert len(layers) == 5  # Relu, two convolutions, Flatten, MatMul
    assert ("medianMs" in layers[0]) == since_85
    assert sum(layer["percentage"] for layer in layers) == pytest.approx(100, abs=0.01)


def test_times_grow_with_the_network_and_its_precision_and_repeat_for_the_same_file(trtexec, tmp_path):
    run = trtexec("orin-nano-jp62")
    medians = []
    for layers in (2, 8):
        by_hand.model(tmp_path / "m.onnx", 1, layers)
        run("--onnx=m.onnx", "--saveEngine=e.engine")
        texts = []
        for _ in range(2):
            run("--loadEngine=e.engine", "--warmUp=5", "--duration=0.01", "--exportTimes=t.json", "--useCudaGraph")
            texts.append((tmp_path / "t.json").read_text())
        assert texts[0] == texts[1]
        rows = json.loads(texts[0])
        medians.append(sorted(row["computeMs"] for row in rows)[len(rows) // 2])
    assert medians[1] / medians[0] == pytest.approx(11 / 5, rel=0.1)


def test_an_engine_that_is_launched_layer_by_layer_is_bound_by_that(trtexec):
    run = trtexec("agx-orin-jp72")
    run("--onnx=m.onnx", "--saveEngine=e.engine")
    timed = ("--loadEngine=e.engine", "--warmUp=5", "--duration=0.01", "--exportTimes=t.json")
    assert "bound by Enqueue Time" in run(*timed, "--noCudaGraph")[1]
    assert "bound by Enqueue Time" not in run(*timed)[1]


def test_the_dla_falls_back_only_when_it_may_and_where_there_is_one(trtexec):
    run = trtexec("orin-nx-jp62")
    assert "[DlaLayer] {ForeignNode[" in run("--onnx=m.onnx", "--useDLACore=1", "--allowGPUFallback", "--fp16")[1]
    code, said = run("--onnx=m.onnx", "--useDLACore=1", "--fp16")
    assert code == 1
    assert "falling back to GPU is not enabled" in said
    code, said = trtexec("orin-nano-jp62")("--onnx=m.onnx", "--useDLACore=0", "--allowGPUFallback")
    assert code == 1
    assert "Cannot create DLA engine, 0 not available" in said


@pytest.mark.parametrize("name", names())
def test_power_follows_the_gpu_in_the_format_of_the_board(tmp_path, name):
    said = read(name).model_dump()
    board = Board(tmp_path, said, frozenset())
    idle = line(board, 1, {})
    (tmp_path / "busy").write_text(str(os.getpid()))
    busy = line(board, 1, {})
    rail = next(iter(said["rails"]))
    at = [int(text.split(f"{rail} ")[1].split("/")[0].removesuffix("mW")) for text in (idle, busy)]
    assert at[1] > at[0]
    assert "{" not in busy
    assert str(said["gpu_mhz"][1]) in busy.split("GR3D_FREQ")[1].split("]")[0].split(" ")[1]
