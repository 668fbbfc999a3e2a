"""The agent as a device runs it: its own process, its own folder, and what it leaves read back."""

import ast
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeprune.bench import stats
from edgeprune.errors import ConfigError, DeviceError
from edgeprune.records.device_run import KNOWN_FRAMES, STEPS, Assignment, answering_file, frames_file, model_file
from edgeprune.runtimes.onnxruntime_agent import AGENT, runtime

WORK = Assignment("arm64-linux", "fp32", 2, 1, ("baseline", "pruned"), 2, 8, 3, 6, 1.0, 1.0, 1, 4, 3, processes=2)


def save_model(path, seed):
    """Frames (N, 2, 8) to logits (N, 3) through one matrix."""
    weights = np.random.default_rng(seed).standard_normal((16, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["iq"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["logits"])],
        "net",
        [helper.make_tensor_value_info("iq", TensorProto.FLOAT, ["N", 2, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return weights


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A bundle's folder in which every step was run, and the logits that were to be expected."""
    folder = tmp_path_factory.mktemp("bundle")
    frames = np.random.default_rng(7).standard_normal((12, 2, 8)).astype("<f4")
    (folder / "frames").mkdir()
    (folder / STEPS).mkdir(parents=True)
    (folder / "result/out").mkdir()
    (folder / KNOWN_FRAMES).write_bytes(frames[:2].tobytes())
    for chunk in range(3):
        (folder / frames_file(chunk)).write_bytes(frames[4 * chunk : 4 * chunk + 4].tobytes())
    for path, text in runtime.files().items():
        (folder / path).write_text(text, encoding="utf-8")
    expected = {}
    for seed, role in enumerate(WORK.roles):
        weights = save_model(folder / model_file(role), seed)
        save_model(folder / answering_file(role), seed)
        expected[role] = frames.reshape(12, 16) @ weights
    for step in runtime.plans(WORK)[0].steps:
        done = subprocess.run([sys.executable, *step.arguments], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert all((folder / made).is_file() for made in step.makes)
        (folder / STEPS / f"{step.name}.rc").write_text("0\n")
    return folder, expected


@pytest.fixture
def folder(ran, tmp_path):
    shutil.copytree(ran[0], tmp_path / "bundle")
    return tmp_path / "bundle"


def test_the_agent_answers_as_the_network_does_and_times_in_turns(ran):
    folder, expected = ran
    measured = runtime.read(WORK, folder, 31100)
    assert [timed.role for timed in measured.rounds] == ["baseline", "pruned", "pruned", "baseline"] * 3
    assert [timed.step for timed in measured.rounds] == ["measure-1"] * 6 + ["measure-2"] * 6
    assert all((timed.ms > 0).all() and timed.ms.dtype == np.float64 for timed in measured.rounds)
    for role in WORK.roles:
        np.testing.assert_allclose(measured.known[role], expected[role][:2], rtol=1e-5)
        np.testing.assert_allclose(measured.answers[role], expected[role], rtol=1e-5)
    assert measured.engines == ()
    assert json.loads((folder / "result/out/times-2.json").read_text())["onnxruntime"] == onnxruntime.__version__


def test_enough_is_timed_for_the_percentiles(ran):
    for role in WORK.roles:
        samples = sum(len(timed.ms) for timed in runtime.read(WORK, ran[0], 0).rounds if timed.role == role)
        assert samples >= stats.MIN_SAMPLES[90]


def test_the_counts_are_those_of_the_benchmark_here():
    tree = ast.parse(AGENT.read_text())
    values = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}
    assert ast.literal_eval(values["_FEWEST"]) == stats.MIN_SAMPLES


def test_the_agent_needs_no_newer_python_and_nothing_else():
    tree = ast.parse(AGENT.read_text(), feature_version=(3, 8))
    names = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {name for name in names if name not in sys.stdlib_module_names} == {"numpy", "onnxruntime"}


def test_an_answer_goes_on_where_it_was_stopped(folder, ran):
    step = next(step for step in runtime.plans(WORK)[0].steps if step.name == "answer-pruned")
    out = folder / step.makes[0]
    whole = out.read_bytes()
    chunk = len(whole) // 3
    out.unlink()
    out.with_name(f"{out.name}.part").write_bytes(whole[:chunk] + b"half a chunk")
    (folder / frames_file(0)).unlink()  # so that it could not begin anew
    subprocess.run([sys.executable, *step.arguments], cwd=folder, check=True)
    assert out.read_bytes() == whole


def test_frames_of_another_size_are_refused_on_the_device(folder):
    (folder / frames_file(1)).write_bytes(b"\0" * 4)
    step = next(step for step in runtime.plans(WORK)[0].steps if step.name == "answer-pruned")
    (folder / step.makes[0]).unlink()
    done = subprocess.run([sys.executable, *step.arguments], cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (
        1,
        "frames/0001.bin holds 1 numbers; the shape (4, 2, 8) takes 64",
    )
    assert not (folder / step.makes[0]).exists()


def test_without_accuracy_there_are_no_answers(folder):
    work = replace(WORK, answer_chunks=0)
    assert [step.name for step in runtime.plans(work)[0].steps] == [
        "known-baseline",
        "known-pruned",
        "measure-1",
        "measure-2",
    ]
    alone = replace(work, processes=1)
    assert [step.name for step in runtime.plans(alone)[0].steps] == ["known-baseline", "known-pruned", "measure"]
    assert runtime.read(work, folder, 0).answers == {}


def test_a_cpu_has_no_accelerator():
    with pytest.raises(ConfigError, match="no deep-learning accelerator"):
        runtime.plans(replace(WORK, dla_core=0))


def edit(folder, change, number=1):
    path = folder / f"result/out/times-{number}.json"
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plain: plain["rounds"][0]["ms"].__setitem__(0, float("nan")), "holds a time of nan ms"),
        (lambda plain: plain["rounds"][0]["ms"].__setitem__(0, float("inf")), "holds a time of inf ms"),
        (lambda plain: plain["rounds"][0]["ms"].__setitem__(0, 0.0), "holds a time of 0.0 ms"),
        (lambda plain: plain["rounds"][0]["ms"].__setitem__(0, -1.0), "holds a time of -1.0 ms"),
        (lambda plain: plain["rounds"][0]["ms"].clear(), r"rounds\.0\.ms"),
        (lambda plain: plain["rounds"][0]["ms"].__setitem__(0, "1"), r"rounds\.0\.ms\.0"),
        (lambda plain: plain["rounds"][0].__setitem__("role", "other"), r"rounds\.0\.role"),
        (lambda plain: plain["rounds"].pop(), "times-1.json holds 3 rounds of baseline; 3 were asked for"),
        (lambda plain: plain["rounds"].append(plain["rounds"][0]), "holds 4 rounds of baseline; 3 were asked for"),
        (lambda plain: plain.pop("rounds"), "rounds: Field required"),
        (lambda plain: plain.__setitem__("more", 1), "more: Extra inputs"),
    ],
)
def test_times_that_are_none_are_refused(folder, change, message):
    edit(folder, change)
    with pytest.raises(DeviceError, match=message) as refused:
        runtime.read(WORK, folder, 0)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "[", "[]", "[" * 100_000])
def test_a_file_of_times_that_was_cut_is_refused(folder, text):
    (folder / "result/out/times-1.json").write_text(text)
    with pytest.raises(DeviceError, match=r"times-1\.json"):
        runtime.read(WORK, folder, 0)


@pytest.mark.parametrize("name", ["known-baseline", "answer-pruned"])
def test_answers_that_are_none_are_refused(folder, name):
    path = folder / "result/out" / f"{name}.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    with pytest.raises(DeviceError, match="were asked for"):
        runtime.read(WORK, folder, 0)
    path.write_bytes(np.full(len(whole) // 4, np.nan, "<f4").tobytes())
    with pytest.raises(DeviceError, match="that are not finite"):
        runtime.read(WORK, folder, 0)
    path.unlink()
    with pytest.raises(DeviceError, match="cannot be read"):
        runtime.read(WORK, folder, 0)


def test_a_step_that_failed_is_told_with_its_last_words(folder):
    (folder / STEPS / "measure-2.rc").write_text("1\n")
    (folder / STEPS / "measure-2.log").write_text("Traceback\nRuntimeError: no such operator\n")
    with pytest.raises(DeviceError, match="the step measure-2 ended with 1: RuntimeError: no such operator"):
        runtime.read(WORK, folder, 0)
    (folder / STEPS / "measure-2.log").write_text("")
    (folder / "result/status").write_text("failed measure-2 1 was killed, as when memory runs out\n")
    with pytest.raises(DeviceError, match="ended with 1: was killed, as when memory runs out"):
        runtime.read(WORK, folder, 0)
    (folder / STEPS / "measure-2.rc").unlink()
    with pytest.raises(DeviceError, match="the step measure-2 was not run: failed measure-2"):
        runtime.read(WORK, folder, 0)


def test_what_disturbed_it_is_told(folder):
    edit(
        folder, lambda plain: plain.update(others_cores=2.8, stolen_cores=0.5, governors=["powersave"], usable_cores=2)
    )
    warnings = runtime.read(replace(WORK, threads=4), folder, 0).warnings
    assert [warning.split(" ")[0] for warning in warnings] == ["4", "the", "the", "the"]
    for number in (1, 2):
        edit(folder, lambda plain: plain.update(others_cores=0.0, stolen_cores=0.0, governors=[]), number)
    assert runtime.read(WORK, folder, 0).warnings == ()
