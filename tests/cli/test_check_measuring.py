"""`check --against` and `check calibrate`, which measure."""

import json
from pathlib import Path

import pytest

from edgeprune.files.store import file_sha256

THIRD = Path(__file__).parents[2] / "docs" / "results" / "resnet56-1d-third" / "report.json"


@pytest.fixture
def budget(tmp_path):
    def write(**limits):
        path = tmp_path / "edgeprune.toml"
        path.write_text("[targets.host-cpu]\n" + "".join(f"{key} = {value}\n" for key, value in limits.items()))
        return path

    return write


def calibrated(run, tmp_path, *words):
    return run("check", "calibrate", *words, "--out", tmp_path / "edgeprune-noise.json")


QUICK = """
name = "quick"
description = "x"
runtime = "onnxruntime"
opset = 18
precisions = ["fp32"]
[bench]
rounds = 6
round_ms = 1.0
warmup_ms = 1.0
processes = 2
"""


@pytest.fixture
def quick(tmp_path):
    """A target that is measured shortly."""
    path = tmp_path / "quick.toml"
    path.write_text(QUICK)
    return path


def save_network(path):
    import onnx

    graph = "g (float[1, 2, 16] iq) => (float[1, 2, 16] logits) {logits = Relu(iq)}"
    path.parent.mkdir(exist_ok=True)
    onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {graph}'), path)


def test_calibration_measures_the_pair_and_adds_other_days(run, quick, tmp_path):
    save_network(tmp_path / "pruned.onnx")
    words = ("--model", tmp_path / "pruned.onnx", "--target", quick, "--repeat", "2", "--name", "net", "--json")
    alone = calibrated(run, tmp_path, *words)
    assert alone.code == 2
    assert "baseline.onnx" in alone.err
    save_network(tmp_path / "baseline.onnx")
    outcome = calibrated(run, tmp_path, *words)
    assert outcome.code == 0, outcome.err
    found = outcome.json
    assert (found["target"], found["model"], found["repetitions"]) == ("quick", "net", 2)
    assert found["floors"]["ratio, fast end"]["floor"] > 0
    assert found["conditions"]["latency.precision"] == "fp32"
    again = calibrated(run, tmp_path, *words, "--add")
    assert again.code == 0, again.err
    more = again.json
    assert more["repetitions"] == len(more["days"]) == 4
    for way, floor in found["floors"].items():
        assert more["floors"][way]["results_log"][:2] == floor["results_log"]
    kept = json.loads((tmp_path / "edgeprune-noise.json").read_text())
    assert kept["entries"] == [more]


def run_folder(folder):
    """A run whose report is a real one, and whose pruned network is small."""
    save_network(folder / "pruned.onnx")
    plain = json.loads(THIRD.read_text())
    plain["artifacts"]["pruned_onnx"]["sha256"] = file_sha256(folder / "pruned.onnx")
    (folder / "report.json").write_text(json.dumps(plain))
    return folder


def test_an_older_run_is_measured_in_turns_with_the_new_one(run, budget, quick, tmp_path):
    old, new = run_folder(tmp_path / "old"), run_folder(tmp_path / "new")
    words = ("check", new / "report.json", "--budget", budget(max_regression=0.05), "--against", old)
    outcome = run(*words, "--target", quick, "--json")
    assert outcome.code in (0, 1, 5), outcome.err  # what so short a measurement says is left to chance
    (check,) = outcome.json["reports"][0]["checks"]
    assert (check["name"], check["outcome"]) == ("max_regression", outcome.json["outcome"])
    assert "in turns with the older one in one session" in check["text"]
    measured = json.loads((new / "against" / "bench.json").read_text())
    assert (measured["processes"], measured["process_of_round"]) == (2, [1, 1, 1, 2, 2, 2])
    assert measured["pruned"]["samples_sha256"] == file_sha256(new / "against" / "samples-pruned.npz")
    assert check["value"] == pytest.approx(1 / measured["speedup"] - 1, abs=2)
    refused = run(*words, "--device", "board")
    assert (refused.code, "host-cpu is measured on this machine" in refused.err) == (2, True)
    (old / "pruned.onnx").unlink()
    missing = run(*words)
    assert missing.code == 3
    assert "pruned.onnx is not there" in missing.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--against", "old", "--baseline", THIRD), "--against was given with --baseline"),
        (("--device", "orin"), "need --against"),
    ],
)
def test_options_that_do_not_go_together_are_named(run, budget, tmp_path, words, said):
    outcome = run("check", THIRD, "--budget", budget(max_regression=0.05), *words)
    assert outcome.code == 2
    assert said in outcome.err
