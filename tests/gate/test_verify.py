import hashlib
import json
import shutil
from dataclasses import replace

import made_runs
import numpy as np
import pytest

from edgeprune.bench import stats
from edgeprune.errors import ConfigError, DataError
from edgeprune.files.store import file_sha256
from edgeprune.gate import evidence


@pytest.fixture
def copy(run, tmp_path):
    """A run folder to spoil."""
    return shutil.copytree(run.parent, tmp_path / "copy") / "report.json"


def test_a_whole_report_is_read_with_its_samples(run):
    found = evidence.read(run)
    assert found.label == "host-cpu / resnet56-1d-gr2016a / fp32"
    assert [len(rounds) for rounds in found.rounds.values()] == [24, 24]
    assert found.notes == ()


@pytest.mark.parametrize("name", ["resnet56-1d-third", "resnet56-1d-three-units", "resnet56-third"])
def test_reports_that_were_measured_here_hold(name):
    found = evidence.read(made_runs.ROOT / "docs" / "results" / name / "report.json")
    assert set(found.rounds) == {"baseline", "pruned"}


def test_missing_samples_are_said(copy):
    (copy.parent / "samples-pruned.npz").unlink()
    found = evidence.read(copy)
    assert set(found.rounds) == {"baseline"}
    assert found.notes == ("samples-pruned.npz is not beside the report: its latencies could not be verified",)


def test_a_replayed_board_is_said(tmp_path):
    played = replace(made_runs.SETUP, device={**made_runs.DEVICE, "replay": "orin-nano-jp62"})
    found = evidence.read(made_runs.write(tmp_path, setup=played))
    (note,) = found.notes
    assert note.startswith("replay of the recorded board orin-nano-jp62: no device was measured")


EDITS = {
    "latency.pruned.median_ms": 0.1512,
    "latency.pruned.mean_ms": 0.1,
    "latency.pruned.p90_ms": 0.15,
    "latency.pruned.samples": 5,
    "latency.baseline.round_medians_ms": [0.4] * 24,
    "latency.speedup": 4.0,
    "latency.speedup_ci95": [2.6, 4.0],
    "latency.rounds": 23,
    "latency.processes": 4,
    "latency.process_of_round": [*(1,) * 20, 2, 3, 4, 5],
    "latency.precision": "fp16",
    "latency.batch": 8,
    "latency.mode": "async",
    "device": {"cpu": "another"},
    "accuracy.drop": -0.1,
    "accuracy.pruned.top1": 0.99,
    "accuracy.frames": 5,
}


@pytest.mark.parametrize("name", EDITS)
def test_a_figure_changed_by_hand_is_found_out(copy, name):
    made_runs.edit(copy, name, EDITS[name])
    with pytest.raises(DataError) as error:
        evidence.read(copy)
    assert error.value.exit_code == 3
    assert "\n" not in error.value.message
    assert "changed after it was written" in error.value.hint


def test_a_figure_changed_without_samples_is_found_by_the_others(copy):
    for file in copy.parent.glob("*.npz"):
        file.unlink()
    made_runs.edit(copy, "latency.pruned.median_ms", 0.05)
    with pytest.raises(DataError, match=r"latency\.pruned\.median_ms is 0\.05 in the report"):
        evidence.read(copy)


def test_a_truncated_report_is_refused(copy):
    copy.write_text(copy.read_text()[:-200])
    with pytest.raises(DataError, match="not a JSON file"):
        evidence.read(copy)


def test_a_report_of_a_newer_schema_is_refused(copy):
    made_runs.edit(copy, "schema", "edgeprune-report/2")
    with pytest.raises(DataError, match="'edgeprune-report/2'"):
        evidence.read(copy)


def test_a_missing_report_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        evidence.read(tmp_path / "report.json")


def unhashed(path):
    """The report as older versions wrote it."""
    document = json.loads(path.read_text())
    for role in ("baseline", "pruned"):
        del document["latency"][role]["samples_sha256"]
    path.write_text(json.dumps(document))


def test_a_report_has_the_hashes_of_its_samples(copy):
    latency = json.loads(copy.read_text())["latency"]
    for role in ("baseline", "pruned"):
        content = (copy.parent / latency[role]["samples_path"]).read_bytes()
        assert latency[role]["samples_sha256"] == hashlib.sha256(content).hexdigest()


def test_samples_whose_hash_is_another_are_refused(copy):
    made_runs.edit(copy, "latency.pruned.samples_sha256", "0" * 64)
    with pytest.raises(DataError, match=r"samples-pruned\.npz has the sha256 .* the report was made with 000000000000"):
        evidence.read(copy)


def test_samples_packed_anew_are_found_out_by_their_hash_alone(copy):
    file = copy.parent / "samples-pruned.npz"
    with np.load(file) as arrays:
        np.savez(file, **arrays)
    with pytest.raises(DataError, match=r"samples-pruned\.npz has the sha256"):
        evidence.read(copy)
    unhashed(copy)
    assert evidence.read(copy).rounds["pruned"]


def test_damaged_samples_are_refused(copy):
    unhashed(copy)
    file = copy.parent / "samples-pruned.npz"
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"samples-pruned\.npz is not a file of latency samples"):
        evidence.read(copy)


def test_samples_of_another_measurement_are_found_out(copy, tmp_path):
    other = made_runs.write(tmp_path / "other", seed=7)
    shutil.copy(other.parent / "samples-pruned.npz", copy.parent)
    unhashed(copy)
    with pytest.raises(DataError, match=r"latency\.pruned\.median_ms"):
        evidence.read(copy)


def test_an_artefact_that_is_another_file_is_found_out(copy):
    (copy.parent / "pruned.onnx").write_bytes(b"another")
    with pytest.raises(DataError, match=r"pruned\.onnx has the sha256"):
        evidence.read(copy)


def test_an_engine_beside_the_report_is_hashed(copy):
    engine = copy.parent / "pruned.engine"
    engine.write_bytes(b"one")
    made_runs.edit(copy, "artifacts.engine", {"path": "pruned.engine", "sha256": file_sha256(engine)})
    evidence.read(copy)
    engine.write_bytes(b"two")
    with pytest.raises(DataError, match=r"pruned\.engine"):
        evidence.read(copy)


def test_engines_that_were_built_again_widen_the_interval_of_the_speed_up(copy):
    wide = [1.0, 5.0]
    for key in ("processes", "process_of_round"):
        made_runs.remove(copy, f"latency.{key}")
    latency = json.loads(copy.read_text())["latency"]
    older = stats.compare(*(latency[role]["round_medians_ms"] for role in ("baseline", "pruned")))
    made_runs.edit(copy, "latency.speedup", older.ratio)
    made_runs.edit(copy, "latency.speedup_ci95", list(older.ci95))
    assert evidence.read(copy).report.latency.processes is None
    made_runs.edit(copy, "latency.speedup_ci95", wide)
    with pytest.raises(DataError, match="speedup_ci95"):
        evidence.read(copy)
    engines = [{"role": role, "build": build} for role in ("baseline", "pruned") for build in (1, 2)]
    made_runs.edit(copy, "device", {**json.loads(copy.read_text())["device"], "engines": engines})
    assert evidence.read(copy).report.latency.speedup_ci95 == tuple(wide)


def stage(copy, name, artifacts, record):
    plain = {"schema": "edgeprune-stage/1", "artifacts": artifacts, "record": record}
    (copy.parent / name).write_text(json.dumps(plain))


def test_the_record_of_a_stage_must_tell_the_same(copy):
    accuracy = json.loads(copy.read_text())["accuracy"]
    record = {key: accuracy[key] for key in ("drop", "drop_ci95", "mcnemar_p")}
    stage(copy, "08-accuracy.json", {}, record)
    evidence.read(copy)
    stage(copy, "08-accuracy.json", {}, {**record, "drop_ci95": [-0.01, 0.02]})
    with pytest.raises(DataError, match=r"accuracy\.drop_ci95"):
        evidence.read(copy)
    stage(copy, "08-accuracy.json", {}, {**record, "drop_ci95": []})
    with pytest.raises(DataError, match=r"accuracy\.drop_ci95"):
        evidence.read(copy)


@pytest.mark.parametrize("value", ["", [], {}, True, 2**62, "0.1", None])
def test_a_figure_of_a_record_that_is_no_number_is_another(copy, value):
    report = json.loads(copy.read_text())
    record = {key: report["accuracy"][key] for key in ("drop", "drop_ci95", "mcnemar_p")}
    stage(copy, "08-accuracy.json", {}, {**record, "drop": value})
    with pytest.raises(DataError, match=r"accuracy\.drop is "):
        evidence.read(copy)


@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_a_figure_of_a_record_beyond_64_bits_is_refused(copy, value):
    stage(copy, "08-accuracy.json", {}, {"drop": value})
    with pytest.raises(DataError, match=r"08-accuracy\.json .* is an integer of more than 64 bits"):
        evidence.read(copy)


def test_files_a_stage_left_must_be_those(copy):
    samples = copy.parent / "samples-pruned.npz"
    latency = json.loads(copy.read_text())["latency"]
    record = {key: latency[key] for key in ("speedup", "speedup_ci95")}
    stage(copy, "10-bench.json", {samples.name: file_sha256(samples), "../outside": "0" * 64}, record)
    (copy.parent.parent / "outside").write_text("is not looked at")
    evidence.read(copy)
    stage(copy, "10-bench.json", {samples.name: "0" * 64}, record)
    with pytest.raises(DataError, match=r"samples-pruned\.npz has the sha256"):
        evidence.read(copy)


@pytest.mark.parametrize("text", ["[]", '{"schema": "other/1"}', '{"schema": "edgeprune-stage/1", "artifacts": 3}'])
def test_other_files_with_such_names_are_left_alone(copy, text):
    (copy.parent / "42-other.json").write_text(text)
    assert evidence.read(copy).notes == ()
