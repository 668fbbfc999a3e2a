"""Lower precision on the command line: what is refused, what is recorded, and that figures are of the files."""

import json

import numpy as np
import onnxruntime
import pytest

from edgeprune import datasets
from edgeprune.files.store import file_sha256
from edgeprune.frames.labelled import split_frames
from edgeprune.network import checkpoint as checkpoints

GPU = """
name = "quick-gpu"
description = "every precision"
runtime = "tensorrt"
opset = 18
precisions = ["fp32", "fp16", "int8"]
"""
BOARD = """
name = "quick-board"
description = "an Orin, measured shortly"
runtime = "trtexec"
opset = 16
precisions = ["int8", "fp32"]
batch = "static"
compute_capability = "8.7"
tensorrt = {lowest = "8.4", below = "12"}
builds = 1
[bench]
rounds = 6
round_ms = 20.0
warmup_ms = 5.0
"""
CPU = """
name = "quick-int8"
description = "the host, measured shortly"
runtime = "onnxruntime"
opset = 18
precisions = ["int8", "fp32"]
[bench]
rounds = 6
round_ms = 2.0
warmup_ms = 1.0
"""


@pytest.fixture
def export(world, tmp_path, run):
    """Runs an export for a target that allows every precision."""
    (world / "quick-gpu.toml").write_text(GPU)
    what = ("export", world / "model.pt", "--target", world / "quick-gpu.toml", "--data", world / "frames.npz")
    return lambda *more: run(*what, "--out", tmp_path / "m.onnx", *more)


@pytest.fixture
def calibrated(world, tmp_path, run):
    folder = tmp_path / "calib"
    assert run("data", "calib", world / "frames.npz", "--size", 24, "--out", folder).code == 0
    return folder


def test_the_calibration_set_and_the_method_are_in_the_record(export, calibrated):
    told = export("--precision", "int8", "--calib-data", calibrated, "--calib-method", "minmax", "--json").json
    made = told["quantisation"]
    assert made["calibration_sha256"] == file_sha256(calibrated / "frames.npz")
    assert (made["method"], made["calibration_frames"], made["kept"]) == ("minmax", 24, [])
    manifest = json.loads((calibrated / "manifest.json").read_text())
    assert made["calibration_sha256"] == manifest["sha256"]


def test_frames_of_the_test_split_do_not_calibrate(export, world, tmp_path):
    frames = datasets.read(world / "frames.npz")
    test = split_frames(frames, 2016)["test"]
    np.savez(tmp_path / "test.npz", iq=frames.iq[test], labels=frames.labels[test], classes=np.array(frames.classes))
    ended = export("--precision", "int8", "--calib-data", tmp_path / "test.npz")
    assert ended.code == 3
    assert f"holds {len(test)} frames of the test split" in ended.err


def test_a_calibration_set_without_one_class_is_refused(export, world, tmp_path):
    frames = datasets.read(world / "frames.npz")
    some = np.intersect1d(split_frames(frames, 2016)["train"], np.flatnonzero(frames.labels != 1))
    np.savez(tmp_path / "some.npz", iq=frames.iq[some], labels=frames.labels[some], classes=np.array(frames.classes))
    ended = export("--precision", "int8", "--calib-data", tmp_path / "some.npz")
    assert ended.code == 3
    assert f"holds no frames of {frames.classes[1]}" in ended.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--precision", "fp16", "--qat", 1), "--qat is for int8, and the precision is fp16"),
        (("--precision", "fp16", "--calib-data", "there"), "--calib-data is for int8"),
        (("--precision", "int8", "--calib-data", "nowhere"), "no such calibration set: nowhere"),
    ],
)
def test_what_does_not_go_together_is_refused_before_any_work(export, tmp_path, options, said):
    ended = export(*options)
    assert ended.code == 2
    assert said in ended.err
    assert not (tmp_path / "m.onnx").exists()


def test_a_bound_that_cannot_hold_ends_with_1_and_leaves_the_nearest(export, tmp_path, monkeypatch):
    from edgeprune.export.quantise import Bound

    monkeypatch.setattr(Bound, "drop", lambda self, before, after: 0.25)
    ended = export("--precision", "int8", "--max-accuracy-drop", 0.01, "--json")
    assert ended.code == 1
    assert "loses 25.00 points" in ended.err
    assert ended.json["validation_drop"] == 0.25
    assert (tmp_path / "m.onnx").exists()


def test_training_for_int8_leaves_a_checkpoint_that_the_file_was_made_from(export, world, tmp_path):
    ended = export("--precision", "int8", "--qat", 1, "--json")
    assert ended.code == 0, ended.err
    trained = checkpoints.load(tmp_path / "m-qat.pt")
    before = checkpoints.load(world / "model.pt").model.state_dict()
    after = trained.model.state_dict()
    assert set(after) == set(before)
    assert any((after[name] != before[name]).any() for name in before if name.endswith("weight"))
    about = onnxruntime.InferenceSession(str(tmp_path / "m.onnx")).get_modelmeta().custom_metadata_map
    assert about["checkpoint_sha256"] == file_sha256(tmp_path / "m-qat.pt")
    assert not (tmp_path / "m.onnx.state").exists()


def answers(path, iq):
    return onnxruntime.InferenceSession(str(path)).run(None, {"iq": iq})[0].argmax(axis=1)


def test_the_job_in_int8_reports_the_accuracy_of_its_files(world, tmp_path, run):
    (world / "quick-int8.toml").write_text(CPU)
    out = tmp_path / "run"
    ended = run(
        *("prune-and-export", world / "model.pt", "--target", world / "quick-int8.toml", "--epochs", 1, "--keep", 3),
        *("--data", world / "frames.npz", "--qat", 1, "--out", out, "--json"),
    )
    assert ended.code == 0, ended.err
    frames = datasets.read(world / "frames.npz")
    test = split_frames(frames, 2016)["test"]
    for role in ("baseline", "pruned"):
        right = answers(out / f"{role}.onnx", frames.iq[test]) == frames.labels[test]
        assert ended.json["accuracy"][role]["top1"] == pytest.approx(right.mean())
        assert ended.json["onnx"][role]["precision"] == "int8"
    assert ended.json["artifacts"]["pruned_checkpoint"]["path"] == "pruned-qat.pt"
    assert ended.json["pruned"]["sha256"] == file_sha256(out / "pruned-qat.pt")
    assert "Calibrated" in (out / "report.md").read_text()


def test_the_fastest_that_is_accurate_enough_is_taken(world, tmp_path, run, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (world / "quick-board.toml").write_text(BOARD)
    out = tmp_path / "run"
    what = ("prune-and-export", world / "model.pt", "--target", world / "quick-board.toml", "--precision", "auto")
    more = ("--data", world / "frames.npz", "--epochs", 1, "--keep", 3, "--out", out)
    alone = run(*what, *more)
    assert alone.code == 2
    assert "--precision auto measures on the device" in alone.err
    ended = run(*what, *more, "--device", "replay:orin-nano-jp62", "--json")
    assert ended.code == 0, ended.err
    choice = ended.json["precision_choice"]
    assert [each["precision"] for each in choice["candidates"]] == ["int8", "fp32"]
    holding = [each for each in choice["candidates"] if each["validation_drop"] <= choice["max_drop"] == 0.005]
    assert choice["chosen"] == min(holding, key=lambda each: each["median_ms"])["precision"]
    assert ended.json["latency"]["precision"] == ended.json["onnx"]["pruned"]["precision"] == choice["chosen"]
    assert "Precision" in (out / "report.md").read_text()


def test_the_host_measures_what_its_target_allows(world, tmp_path, run):
    """int8 that costs more than is allowed is measured, and not taken however fast it is."""
    (world / "quick-int8.toml").write_text(CPU)
    out = tmp_path / "run"
    ended = run(
        *("prune-and-export", world / "model.pt", "--target", world / "quick-int8.toml", "--precision", "auto"),
        *("--data", world / "frames.npz", "--epochs", 1, "--keep", 3, "--out", out, "--json"),
    )
    assert ended.code == 0, ended.err
    choice = ended.json["precision_choice"]
    assert [each["precision"] for each in choice["candidates"]] == ["int8", "fp32"]
    frames = datasets.read(world / "frames.npz")
    validation = split_frames(frames, 2016)["validation"]
    iq, labels = frames.iq[validation], frames.labels[validation]
    right = {
        name: (answers(out / "precision" / name / "pruned.onnx", iq) == labels).mean() for name in ("int8", "fp32")
    }
    for each in choice["candidates"]:
        assert each["validation_drop"] == pytest.approx(right["fp32"] - right[each["precision"]])
        assert each["median_ms"] > 0
        assert each["size_bytes"] == (out / "precision" / each["precision"] / "pruned.onnx").stat().st_size
    holding = [each for each in choice["candidates"] if each["validation_drop"] <= choice["max_drop"]]
    assert choice["chosen"] == min(holding, key=lambda each: each["median_ms"])["precision"]
    report = (out / "report.md").read_text()
    assert all(f"| {each['precision']} |" in report for each in choice["candidates"])
