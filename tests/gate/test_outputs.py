import json

import jsonschema
import junitparser
import pytest
from markdown_it import MarkdownIt
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from edgeprune.gate.outputs import benchmark, github, gitlab, junit, markdown
from edgeprune.gate.verdict import Check, Figure, Judgement, Verdict, plain, worst

NASTY = 'board / a|b <i>"&@team\n::error::x%, {1}\x00\\'
JUDGED = Judgement(
    label="host-cpu / net / fp32",
    target="host-cpu",
    model="net",
    report="run/report.json",
    checks=(
        Check("max_median_ms", "pass", "0.15 ms; at most 0.2 ms", 0.2, 0.15, (0.14, 0.16)),
        Check("max_regression", "fail", "+7.0 %, p < 0.001", 0.05, 0.07, (0.06, 0.08)),
        Check("max_energy_mj", "inconclusive", "energy is not in the report", 8.0),
    ),
    figures=(
        Figure("median_ms", 0.15, (0.14, 0.16), 0.14, "slower, p < 0.001"),
        Figure("speedup", 2.9, (2.8, 3.0), 3.1),
        Figure("top1", 0.93, (0.92, 0.94), 0.935, "intervals overlap"),
        Figure("onnx_bytes", 328713.0),
        Figure("energy_mj", 5.25),
    ),
    notes=("samples are missing",),
)
ODD = Judgement(NASTY, "board", "a|b", "x", (Check("max_p99_ms", "fail", NASTY, 1.0, 2.0),), (Figure("p99_ms", 2.0),))
VERDICT = Verdict((JUDGED, ODD), (Check("targets.jetson", "inconclusive", "no report is about jetson"),))
ENTRIES = {  # interface BenchmarkResult of github-action-benchmark, src/extract.ts
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "value": {"type": "number"},
            "unit": {"type": "string"},
            "range": {"type": "string"},
            "extra": {"type": "string"},
        },
        "required": ["name", "value", "unit"],
        "additionalProperties": False,
    },
}


def test_fail_outweighs_inconclusive_and_that_a_pass():
    assert worst(["pass", "inconclusive", "fail"]) == "fail"
    assert worst(["pass", "inconclusive"]) == "inconclusive"
    assert worst(["pass"]) == "pass"
    assert worst([]) == "inconclusive"
    assert (VERDICT.outcome, VERDICT.exit_code) == ("fail", 1)
    assert Verdict((), VERDICT.uncovered).exit_code == 5
    assert Verdict((Judgement("x", "x", "", "x", JUDGED.checks[:1]),)).exit_code == 0
    assert VERDICT.headline() == "Over budget: 2 failed, 2 inconclusive, 1 passed"


def test_junit_is_read_by_a_reader_of_junit():
    read = junitparser.JUnitXml.fromroot(junitparser.JUnitXml.fromstring(junit.text(VERDICT).encode())._elem)
    assert (read.tests, read.failures, read.errors) == (5, 2, 2)
    suites = list(read)
    assert [suite.name for suite in suites][::2] == ["host-cpu / net / fp32", "budget"]
    cases = {case.name: case.result for suite in suites for case in suite}
    assert cases["max_median_ms"] == []
    (failure,) = cases["max_regression"]
    assert isinstance(failure, junitparser.Failure)
    assert failure.message == "+7.0 %, p < 0.001"
    (error,) = cases["max_energy_mj"]
    assert isinstance(error, junitparser.Error)
    assert isinstance(cases["targets.jetson"][0], junitparser.Error)


def test_junit_counts_what_is_in_each_suite():
    for suite in junitparser.JUnitXml.fromstring(junit.text(VERDICT).encode()):
        written = (suite.tests, suite.failures, suite.errors)
        suite.update_statistics()
        assert (suite.tests, suite.failures, suite.errors) == written


def test_the_benchmark_json_is_what_the_action_takes():
    entries = json.loads(json.dumps(benchmark.plain(VERDICT), allow_nan=False))
    jsonschema.validate(entries, ENTRIES)
    by_name = {entry["name"]: entry for entry in entries}
    assert by_name["host-cpu / net / fp32: median"] == {
        "name": "host-cpu / net / fp32: median",
        "unit": "ms",
        "value": 0.15,
        "range": "0.140 to 0.160",
        "extra": "slower, p < 0.001",
    }
    assert {entry["unit"] for entry in entries} == {"ms", "bytes", "mJ"}
    assert not any("speedup" in name or "top1" in name for name in by_name)


def test_the_metrics_report_is_read_by_a_reader_of_openmetrics():
    families = {family.name: family for family in text_string_to_metric_families(gitlab.text(VERDICT))}
    (median,) = families["edgeprune_median_milliseconds"].samples
    assert (median.value, median.labels) == (0.15, {"report": "host-cpu / net / fp32"})
    assert families["edgeprune_median_milliseconds"].unit == "milliseconds"
    codes = {sample.labels["report"]: sample.value for sample in families["edgeprune_check_exit_code"].samples}
    assert codes == {"host-cpu / net / fp32": 1, NASTY.replace("\n", r"\n").replace("\x00", r"\x00"): 1}
    assert set(families) >= {
        "edgeprune_speedup",
        "edgeprune_top1",
        "edgeprune_onnx_bytes",
        "edgeprune_energy_millijoules",
    }


def rows(text):
    """The cells of every row of every table of a Markdown text."""
    found = []
    for token in MarkdownIt().enable("table").parse(text):
        if token.type == "tr_open":
            found.append([])
        elif token.type == "inline" and found and token.level >= 4:
            found[-1].append("".join(child.content for child in token.children))
    return found


def test_the_comment_is_markdown_with_every_check_and_every_change():
    text = markdown.text(Verdict((JUDGED,), VERDICT.uncovered))
    assert text.startswith(markdown.MARK)
    cells = {row[0]: row[1:] for row in rows(text)}
    assert cells["max_regression"] == ["❌ fail", "+7.0 %, p < 0.001"]
    assert cells["median"] == ["0.140 ms", "0.150 ms", "+7.1 %", "slower, p < 0.001"]
    assert cells["top-1"] == ["93.5 %", "93.0 %", "−0.5 points", "intervals overlap"]
    assert cells["ONNX file"] == ["", "329 kB", "", ""]
    assert cells["energy"] == ["", "5.25 mJ", "", ""]
    assert cells["targets.jetson"][0] == "❔ inconclusive"
    assert "Note: samples are missing." in text


def test_a_matrix_begins_with_its_summary():
    summary = rows(markdown.text(VERDICT))[:3]
    assert summary[0] == ["report", "outcome"]
    assert summary[1] == ["host-cpu / net / fp32", "❌ fail"]
    assert len(summary[2]) == 2


def test_names_cannot_put_anything_into_the_comment():
    text = markdown.text(Verdict((ODD,)))
    tokens = list(MarkdownIt().enable("table").parse(text))
    kinds = {child.type for token in tokens for child in token.children or ()}
    assert kinds <= {"text", "text_special", "softbreak"}
    assert "@team" not in text
    assert [len(row) for row in rows(text)] == [3, 3, 5, 5]


def test_annotations_are_one_command_a_line():
    lines = github.annotations(VERDICT, "edgeprune.toml")
    assert len(lines) == 4
    assert lines[0] == (
        "::error file=edgeprune.toml,title=max_regression fail%3A host-cpu / net / fp32"
        "::host-cpu / net / fp32: +7.0 %25, p < 0.001"
    )
    assert [line.split()[0] for line in lines] == ["::error", "::warning", "::error", "::warning"]
    assert not any(sign in line for line in lines for sign in "\r\n")
    for line in lines:
        properties, _, _ = line[2:].partition("::")
        assert properties.count(",") == 1


def test_the_verdict_as_json_is_whole():
    found = json.loads(json.dumps(plain(VERDICT), allow_nan=False))
    assert found["schema"] == "edgeprune-verdict/1"
    assert (found["outcome"], found["exit_code"]) == ("fail", 1)
    first = found["reports"][0]
    assert first["outcome"] == "fail"
    assert first["checks"][0]["interval"] == pytest.approx([0.14, 0.16])
    assert "value" not in first["checks"][2]


def test_a_control_character_does_not_spoil_the_xml():
    text = junit.text(Verdict((ODD,)))
    assert "\x00" not in text
    assert next(iter(junitparser.JUnitXml.fromstring(text.encode()))).name.startswith("board / a|b <i>")
