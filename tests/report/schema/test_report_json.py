import json

import jsonschema
import pytest
from fake_run import document

from edgeprune.errors import ConfigError
from edgeprune.files.store import write_json
from edgeprune.report.schema import json as report_json


def test_the_published_schema_is_that_of_the_code(schema):
    fresh = json.loads(json.dumps(report_json.json_schema()))
    assert schema == fresh, "run: python -m edgeprune.report.schema.json > docs/report.schema.json"


def test_the_published_schema_is_a_schema(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "null" not in json.dumps(schema)
    assert "schema" in schema["required"]
    assert "latency" not in schema["required"]


def test_a_report_reads_back(tmp_path):
    write_json(tmp_path / "report.json", document())
    report = report_json.load(tmp_path / "report.json")
    assert report.baseline.name == "resnet56-1d"
    assert report.latency is not None
    assert report.latency.speedup_ci95 == (2.74, 2.9)
    assert list(report.accuracy.baseline.at_snr()) == ["10", "12", "14", "16", "18"]


def changed(path: str, value) -> dict:
    """The document with one value changed; the path is dotted, a number is an index."""
    plain = json.loads(json.dumps(document()))
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = plain
    for part in parents:
        place = place[part]
    place[last] = value
    return plain


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("surprise", 1, "surprise: Extra inputs"),
        ("latency.baseline.surprise", 1, "latency.baseline.surprise"),
        ("accuracy.baseline.top1", 1.2, "accuracy.baseline.top1"),
        ("accuracy.baseline.top1", "0.9", "accuracy.baseline.top1"),
        ("accuracy.baseline.top1", None, "null at accuracy.baseline.top1"),
        ("latency.speedup", None, "null at latency.speedup"),
        ("plan.segments.0", [0, 1, 2], "plan.segments.0"),
        ("accuracy.drop_ci95", [0.3, 0.1], "lower end"),
        ("baseline.sha256", "abc", "baseline.sha256"),
        ("latency.baseline.samples_path", "/etc/passwd", "latency.baseline.samples_path"),
        ("latency.baseline.samples_path", "../../secret", "within the folder"),
        ("artifacts.pruned_onnx.path", "C:\\secret", "within the folder"),
        ("artifacts.pruned_onnx.path", "", "within the folder"),
        ("accuracy.baseline.confusion", [[1]], "confusion"),
        ("plan.similarity.matrix", [[1.0]], "29 x 29"),
        ("accuracy.baseline.by_snr", {"10": 0.9}, "different keys"),
    ],
)
def test_a_broken_field_is_named(tmp_path, path: str, value, said: str):
    write_json(tmp_path / "report.json", changed(path, value))
    with pytest.raises(ConfigError) as caught:
        report_json.load(tmp_path / "report.json")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_ratio_comes_with_its_interval(tmp_path):
    plain = document()
    del plain["latency"]["speedup_ci95"]
    write_json(tmp_path / "report.json", plain)
    with pytest.raises(ConfigError, match="come together or not at all"):
        report_json.load(tmp_path / "report.json")


def test_a_newer_schema_asks_for_a_newer_version(tmp_path):
    write_json(tmp_path / "report.json", changed("schema", "edgeprune-report/2"))
    with pytest.raises(ConfigError, match="newer edgeprune") as caught:
        report_json.load(tmp_path / "report.json")
    assert "edgeprune-report/2" in caught.value.message


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"schema": 1}', '{"schema": "other/1"}'])
def test_what_is_not_a_report_is_said_so(tmp_path, text: str):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ConfigError, match=r"is not (an edgeprune report|a JSON file)"):
        report_json.load(tmp_path / "report.json")


def test_a_missing_report_is_said_so(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        report_json.load(tmp_path / "report.json")
