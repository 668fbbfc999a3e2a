"""Each command: its JSON, its text, and its one-line error with the exit code of the contract."""

import json
import os

import numpy as np
import onnxruntime
import pytest
import synthetic
import torch

from edgeprune.files.store import file_sha256
from edgeprune.network import checkpoint


def test_inspect_json_has_the_keys_of_the_contract(world, run):
    found = run("inspect", world / "model.pt", "--json").json
    keys = ["index", "path", "kind", "in_shape", "out_shape", "params", "macs", "droppable", "drop", "reason"]
    assert all(set(keys) <= unit.keys() for unit in found["units"])
    assert [unit["index"] for unit in found["units"]] == list(range(29))
    assert found["units"][0]["droppable"] is False
    assert found["units"][0]["drop"] is None
    assert found["params"] == sum(unit["params"] for unit in found["units"])


def test_json_may_stand_before_the_command(world, run):
    assert run("--json", "inspect", world / "model.pt").json == run("inspect", world / "model.pt", "--json").json


def test_train_then_eval_then_finetune(world, tmp_path, run):
    data = ("--data", world / "frames.npz")
    model = tmp_path / "model.pt"
    recipe = ("--epochs", 1, "--batch-size", 16, "--json")
    trained = run("train", "--model", "resnet56-1d", *data, "--out", model, *recipe)
    assert trained.json["sha256"] == file_sha256(model)
    accuracy = run("eval", model, *data, "--json").json
    assert accuracy["frames"] == 30
    assert np.trace(accuracy["confusion"]) / 30 == pytest.approx(accuracy["top1"])
    better = run("finetune", model, *data, "--teacher", model, "--out", tmp_path / "b.pt", *recipe)
    assert better.json["training"]["distilled"] is True


@pytest.mark.parametrize("command", ["finetune", "prune-and-export"])
def test_mixed_frames_need_a_teacher(world, tmp_path, run, command):
    given = {"finetune": (), "prune-and-export": ("--target", "host-cpu", "--no-distill")}[command]
    frames = ("--data", world / "frames.npz")
    result = run(command, world / "model.pt", *frames, *given, "--mix", 0.5, "--out", tmp_path / "out")
    assert result.code == 2
    assert "error: --mix 0.5 makes frames without labels, and there is no teacher" in result.err
    assert not (tmp_path / "out").exists()


def test_mixing_is_part_of_the_recipe(world, tmp_path, run):
    recipe = ("--data", world / "frames.npz", "--epochs", 1, "--batch-size", 16, "--json")
    model, tuned = world / "model.pt", [tmp_path / "plain.pt", tmp_path / "mixed.pt"]
    plain = run("finetune", model, *recipe, "--teacher", model, "--out", tuned[0])
    mixed = run("finetune", model, *recipe, "--teacher", model, "--mix", 1, "--out", tuned[1])
    assert mixed.json["training"]["epochs"][0]["train_loss"] != plain.json["training"]["epochs"][0]["train_loss"]
    assert [checkpoint.load(path).metrics["recipe"]["mix"] for path in tuned] == [0.0, 1.0]


def test_training_on_few_frames_learns_from_those_alone(world, tmp_path, run):
    recipe = ("--data", world / "frames.npz", "--epochs", 1, "--batch-size", 8, "--frames", 8)
    few = run("train", "--model", "resnet56-1d", *recipe, "--out", tmp_path / "few.pt")
    assert "on 8 frames of" in few.err
    more = run("finetune", tmp_path / "few.pt", *recipe, "--out", tmp_path / "more.pt")
    assert "on 8 frames of" in more.err


def test_exported_model_has_the_accuracy_of_the_model(world, tmp_path, run):
    data, out = ("--data", world / "frames.npz"), tmp_path / "m.onnx"
    written = run("export", world / "model.pt", *data, "--target", "host-cpu", "--out", out, "--json").json
    assert written["sha256"] == file_sha256(out)
    session = onnxruntime.InferenceSession(str(out))
    assert session.get_inputs()[0].name == "iq"
    on_torch, on_onnx = (run("eval", path, *data, "--json").json for path in (world / "model.pt", out))
    assert on_onnx == on_torch


def test_bench_keeps_every_sample(world, tmp_path, run):
    out = tmp_path / "m.onnx"
    run("export", world / "model.pt", "--data", world / "frames.npz", "--target", "host-cpu", "--out", out)
    quick = ("--target", world / "quick-cpu.toml", "--out", tmp_path / "bench", "--json")
    measured = run("bench", out, out, *quick).json
    low, high = measured["speedup_ci95"]
    assert low <= measured["speedup"] <= high
    with np.load(tmp_path / "bench" / measured["baseline"]["samples_path"]) as samples:
        assert len(samples["ms"]) == measured["baseline"]["samples"]


def test_targets_are_listed_shown_and_checked(world, run):
    assert "host-cpu" in [target["name"] for target in run("targets", "list", "--json").json["targets"]]
    assert run("targets", "show", "host-cpu", "--json").json["runtime"] == "onnxruntime"
    assert run("targets", "validate", world / "quick-cpu.toml", "--json").json == {"valid": ["quick-cpu"]}


def test_doctor_finds_what_is_shipped(run):
    found = run("doctor", "--json").json
    assert all(finding["ok"] for finding in found.values()), found
    assert "synflow" in found["criteria"]["found"]


def one_error(result, code, *words):
    """Whether a command ended with the code and one error line that holds the words, and no traceback."""
    lines = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert result.code == code, result.err
    assert len(lines) == 1, result.err
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.err, result.err
    return True


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["inspect", "nowhere.pt"], 2, ["no such file: nowhere.pt"]),
        (["inspct", "model.pt"], 2, ["'inspct'", "Did you mean 'inspect'?"]),
        (["targets", "show", "host-gpu"], 2, ["'host-gpu'", "host-cpu"]),
        (["plan", "MODEL", "--data", "DATA", "--out", "OUT", "--metric", "cka-unbias"], 2, ["'cka-unbiased'"]),
        (["plan", "MODEL", "--data", "DATA", "--out", "OUT", "--criterion", "sinflow"], 2, ["'synflow'"]),
        (["plan", "MODEL", "--data", "DATA", "--out", "OUT", "--keep", "1"], 2, ["--keep 1", "2 to 29"]),
        (["plan", "MODEL", "--data", "DATA", "--out", "OUT", "--keep", "30"], 2, ["--keep 30", "2 to 29"]),
        (["plan", "MODEL", "--data", "DATA", "--out", "OUT", "--segments", "many"], 2, ["'many'"]),
        (["plan", "MODEL", "--data", "DATA", "--out", "OUT", "--segments", "99"], 2, ["99"]),
        (["plan", "MODEL", "--data", "DATA", "--out", "OUT", "--keep", "5", "--keep-ratio", "0.5"], 2, ["both"]),
        (["plan", "MODEL", "--data", "nowhere.pkl", "--out", "OUT"], 2, ["no such file: nowhere.pkl"]),
        (["train", "--model", "resnet57", "--data", "DATA", "--out", "OUT"], 2, ["'resnet57'", "'resnet56'"]),
        (["export", "MODEL", "--target", "host-cpu", "--precision", "fp16", "--out", "OUT"], 2, ["fp16", "fp32, int8"]),
        (["eval", "OUT.onnx"], 2, ["--data"]),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)
def test_usage_errors_name_what_is_allowed_and_write_nothing(world, tmp_path, run, arguments, code, words):
    places = {"MODEL": world / "model.pt", "DATA": world / "frames.npz", "OUT": tmp_path / "out.json"}
    assert one_error(run(*(places.get(each, each) for each in arguments)), code, *words)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_would_run_code_is_refused_and_does_not_run(tmp_path, run):
    marker = tmp_path / "marker"
    file = tmp_path / "evil.pt"
    torch.save({"state_dict": synthetic.RunsCommand(marker)}, file)
    assert one_error(run("inspect", file), 3, "could run code", "nothing was run")
    assert not marker.exists()


def test_a_web_page_named_pt_is_refused(tmp_path, run):
    file = tmp_path / "page.pt"
    file.write_text("<!doctype html><title>Sign in</title>")
    assert one_error(run("inspect", file), 3, "web page")


def test_data_of_another_length_or_class_are_refused(world, tmp_path, run):
    frames = synthetic.cells(length=64)
    data = tmp_path / "long.npz"
    iq = np.concatenate(list(frames.values()))
    names = np.concatenate([[name] * len(cell) for (name, _), cell in frames.items()])
    np.savez(data, iq=iq, labels=names)
    assert one_error(run("eval", world / "model.pt", "--data", data), 3, "2 x 64", "2 x 32")
    np.savez(data, iq=iq[:, :, :32], labels=np.where(names == "CW", "OOK", names))
    assert one_error(run("eval", world / "model.pt", "--data", data), 3, "OOK", "BPSK, CW, QPSK")


def test_a_place_that_cannot_be_written_is_found_before_the_work(world, tmp_path, run):
    (tmp_path / "file").write_text("in the way")
    target = ("--target", "host-cpu", "--data", world / "frames.npz", "--out", tmp_path / "file" / "run")
    assert one_error(run("prune-and-export", world / "model.pt", *target), 2, "cannot write")


def test_a_full_disk_ends_in_one_line_and_keeps_the_old_file(world, tmp_path, run, monkeypatch):
    out = tmp_path / "plan.json"
    out.write_text("the old plan")

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    plan = ("plan", world / "model.pt", "--data", world / "frames.npz", "--out", out)
    assert one_error(run(*plan), 2, "No space left on device")
    assert out.read_text() == "the old plan"
    assert [file.name for file in tmp_path.iterdir()] == ["plan.json"]


def test_a_plan_of_another_model_is_refused(world, tmp_path, run):
    plan = tmp_path / "plan.json"
    run("plan", world / "model.pt", "--data", world / "frames.npz", "--out", plan)
    content = json.loads(plan.read_text())
    content["model_sha256"] = "0" * 64
    plan.write_text(json.dumps(content))
    prune = ("prune", world / "model.pt", "--plan", plan, "--out", tmp_path / "p.pt")
    assert one_error(run(*prune), 2, "made for a model")
    plan.write_text("[]")
    assert one_error(run(*prune), 2, "not a plan")
