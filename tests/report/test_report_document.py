import dataclasses
import json

import jsonschema
import numpy as np
import pytest
from fake_run import CLASSES, KEPT, bench, comparison, document, evidence, origin, sha

from edgeprune.errors import ConfigError
from edgeprune.report.document import build
from edgeprune.report.pages import tables
from edgeprune.report.schema.json import parse


def keys(plain, where=""):
    """Dotted paths of all keys."""
    if isinstance(plain, dict):
        for key, value in plain.items():
            yield f"{where}{key}"
            yield from keys(value, f"{where}{key}.")


def test_the_keys_that_others_read_are_there():
    plain = document()
    contract = {
        "schema target device created edgeprune_version seed baseline pruned plan",
        "accuracy latency size artifacts warnings",
        "baseline.name baseline.sha256 baseline.units baseline.params baseline.macs",
        "pruned.sha256 pruned.units pruned.params pruned.macs",
        "plan.metric plan.criterion plan.segments plan.kept plan.dropped",
        "accuracy.split accuracy.frames accuracy.drop accuracy.drop_ci95 accuracy.mcnemar_p",
        "accuracy.baseline.top1 accuracy.baseline.ci95 accuracy.baseline.by_snr accuracy.pruned.by_snr.10",
        "latency.runtime latency.precision latency.batch latency.threads latency.mode",
        "latency.speedup latency.speedup_ci95",
        "latency.baseline.median_ms latency.baseline.p90_ms latency.pruned.p99_ms latency.pruned.samples_path",
        "size.baseline_bytes size.pruned_bytes",
        "artifacts.baseline_onnx.path artifacts.baseline_onnx.sha256 artifacts.pruned_onnx.path",
        "artifacts.pruned_checkpoint.path artifacts.pruned_checkpoint.sha256",
    }
    wanted = {key for line in contract for key in line.split()}
    assert wanted - set(keys(plain)) == set()
    assert plain["schema"] == "edgeprune-report/1"


def test_values_are_those_of_the_records():
    plain = document()
    assert plain["plan"]["segments"] == [[0, 10], [11, 16], [17, 21], [22, 28]]
    assert plain["plan"]["kept"] == list(KEPT)
    assert plain["accuracy"]["baseline"]["by_snr"].keys() == {"10", "12", "14", "16", "18"}
    confusion = np.array(plain["accuracy"]["pruned"]["confusion"])
    assert plain["accuracy"]["pruned"]["top1"] == pytest.approx(np.trace(confusion) / confusion.sum())
    assert plain["accuracy"]["pruned"]["by_class_frames"] == dict.fromkeys(CLASSES, 200)
    assert plain["size"] == {"baseline_bytes": 3_467_221, "pruned_bytes": 1_021_400}
    assert plain["artifacts"]["pruned_checkpoint"] == {"path": "pruned.pt", "sha256": sha("e")}
    assert plain["data"]["split"] == "authors-800-200"
    assert plain["data"]["split_sha256"] == sha("b")
    unit = plain["plan"]["decisions"][10]
    assert (unit["path"], unit["drop"], unit["in_shape"], unit["kept"]) == ("stages.1.0", "shortcut", [16, 128], True)


def test_what_was_not_measured_is_absent_and_nothing_is_null():
    everything = build(evidence(), dataclasses.replace(origin(), bundle=("bundle.tar", sha("9"))))
    least = build(evidence(training=None, accuracy=None, bench=None), origin(git_commit=None, data=None))
    missing = {"training", "accuracy", "latency", "device", "git_commit", "data"}
    assert everything.keys() - least.keys() == missing
    assert "bundle" in everything["artifacts"]
    assert "bundle" not in least["artifacts"]
    assert "drop" not in least["plan"]["decisions"][0]  # the stem has to stay
    for plain in (everything, least):
        assert "null" not in json.dumps(plain)


def test_a_measurement_of_one_model_has_no_ratio():
    alone = dataclasses.replace(bench(), pruned=None, speedup=None, speedup_ci95=None)
    latency = document(bench=alone)["latency"]
    assert "baseline" in latency
    assert {"pruned", "speedup", "speedup_ci95"} & latency.keys() == set()


def test_nulls_in_what_a_device_says_are_left_out():
    said = dataclasses.replace(bench(), device={"governor": None, "gpu": {"name": "Orin", "clock": None}})
    assert document(bench=said)["device"] == {"gpu": {"name": "Orin"}}


def test_frames_without_snr_have_no_rate_at_an_snr():
    compared = comparison()
    compared = dataclasses.replace(
        compared,
        baseline=dataclasses.replace(compared.baseline, by_snr={}),
        pruned=dataclasses.replace(compared.pruned, by_snr={}),
    )
    accuracy = document(accuracy=compared)["accuracy"]
    assert [key for key in accuracy["baseline"] if key.startswith("by_snr")] == []


def test_a_warning_given_twice_is_said_once():
    plain = build(evidence(), origin(warnings=("one", *bench().warnings)))
    assert plain["warnings"] == ["one", *bench().warnings]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0, 0.0])
def test_a_latency_that_is_no_number_is_refused(bad: float):
    wrong = dataclasses.replace(bench(), baseline=dataclasses.replace(bench().baseline, median_ms=bad))
    with pytest.raises(ConfigError, match=r"latency\.baseline\.median_ms"):
        build(evidence(bench=wrong), origin())


def test_the_documents_fit_the_published_schema(schema):
    validator = jsonschema.Draft202012Validator(schema)
    for plain in (document(), document(training=None, accuracy=None, bench=None)):
        assert list(validator.iter_errors(plain)) == []


def test_what_networks_ran_on_is_kept_and_shown(schema):
    card = {
        "device": "cuda:0",
        "name": "NVIDIA H200",
        "capability": "9.0",
        "memory_bytes": 150 * 10**9,
        "driver": "580.1",
    }
    compute = {**card, "torch": "2.13.0", "precision": "bf16"}
    plain = build(evidence(), origin(compute=compute))
    assert plain["compute"] == compute
    jsonschema.validate(plain, schema)
    said = dict(tables.origin(parse(plain, "it")))["Networks ran on"]
    assert said == "NVIDIA H200, compute capability 9.0, 150 GB, driver 580.1, training in bf16"
    assert "compute" not in document()
