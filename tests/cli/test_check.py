import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from edgeprune.files.store import file_sha256

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
THIRD, THREE, OTHER = (
    RESULTS / name / "report.json" for name in ("resnet56-1d-third", "resnet56-1d-three-units", "resnet56-third")
)
NAME = "resnet56-1d-gr2016a"
ENGINES = (
    "accelerate",
    "jinja2",
    "matplotlib",
    "networkx",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "rich",
    "scipy",
    "torch",
)
ALSO_SLOW = (
    "numpy.ma",
    "numpy.polynomial",
    "numpy.typing",
    "edgeprune.records.device_run",
    "edgeprune.records.pruning",
    "edgeprune.protocols",
)


@pytest.fixture
def budget(tmp_path):
    def write(**limits):
        path = tmp_path / "edgeprune.toml"
        path.write_text("[targets.host-cpu]\n" + "".join(f"{key} = {value}\n" for key, value in limits.items()))
        return path

    return write


@pytest.fixture(autouse=True)
def nowhere(monkeypatch):
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


def edited(tmp_path, source, change):
    """A copy of a run with its report.json changed by hand."""
    folder = shutil.copytree(source.parent, tmp_path / "edited")
    plain = json.loads(source.read_text())
    change(plain)
    (folder / "report.json").write_text(json.dumps(plain))
    return folder / "report.json"


def test_all_that_holds_ends_with_0(run, budget):
    outcome = run("check", THIRD, "--budget", budget(max_median_ms=0.2, max_p99_ms=0.4, min_speedup=3.0))
    assert outcome.code == 0, outcome.err
    assert "Pass: 3 passed" in outcome.out


def test_what_does_not_hold_ends_with_1(run, budget):
    outcome = run("check", THIRD, "--json", "--budget", budget(max_median_ms=0.1, min_speedup=3.0, max_energy_mj=1))
    assert outcome.code == 1
    found = {check["name"]: check["outcome"] for check in outcome.json["reports"][0]["checks"]}
    assert found == {"max_median_ms": "fail", "min_speedup": "pass", "max_energy_mj": "inconclusive"}


def test_what_cannot_be_said_ends_with_5(run, budget):
    outcome = run("check", THIRD, "--budget", budget(min_speedup=3.0, max_energy_mj=1))
    assert outcome.code == 5
    assert "energy is not in the report" in outcome.out


def test_a_baseline_decides_over_a_regression(run, budget):
    limits = budget(max_regression=0.05)
    assert run("check", THREE, "--budget", limits, "--baseline", THIRD).code == 0
    outcome = run("check", THIRD, "--budget", limits, "--baseline", THREE)
    assert outcome.code == 1
    assert re.search(r"\+13\d\.\d % as a ratio to the unpruned model", outcome.out)
    same = run("check", THIRD, "--budget", limits, "--baseline", THIRD)
    assert same.code == 5
    assert "not calibrated: " in same.out
    assert run("check", THIRD, "--budget", limits).code == 5
    assert run("check", THIRD, "--budget", budget(max_regression=0.05, min_speedup=2), "--no-baseline").code == 0


def test_a_baseline_of_another_model_is_named(run, budget):
    outcome = run("check", THIRD, "--budget", budget(min_speedup=2), "--baseline", OTHER)
    assert outcome.code == 5
    assert "baseline.name: resnet56-gr2016a before, resnet56-1d-gr2016a now" in outcome.out


def cut(plain):
    plain["latency"]["speedup_ci95"] = [5.0, 6.0]


def newer(plain):
    plain["schema"] = "edgeprune-report/9"


@pytest.mark.parametrize(("change", "said"), [(cut, "speedup_ci95"), (newer, "edgeprune-report/9")])
def test_a_report_that_is_not_what_was_written_ends_with_3(run, budget, tmp_path, change, said):
    outcome = run("check", edited(tmp_path, THIRD, change), "--budget", budget(min_speedup=2))
    assert outcome.code == 3
    assert said in outcome.err
    assert outcome.out == ""


def test_wrong_budgets_end_with_2(run, budget, tmp_path):
    assert run("check", THIRD, "--budget", tmp_path / "none.toml").code == 2
    assert run("check", THIRD, "--budget", budget(max_medain_ms=1)).code == 2
    assert run("check", THIRD, "--budget", budget(max_median_ms=-1)).code == 2
    (tmp_path / "edgeprune.toml").write_text("[targets.jetson-orin]\nmax_median_ms = 1\n")
    outcome = run("check", THIRD, "--budget", tmp_path / "edgeprune.toml")
    assert outcome.code == 2
    assert "'host-cpu'" in outcome.err


def test_a_target_that_no_report_covers_is_not_a_pass_unless_left_out(run, tmp_path):
    path = tmp_path / "edgeprune.toml"
    path.write_text("[targets.host-cpu]\nmin_speedup = 2\n[targets.jetson-orin]\nmin_speedup = 2\n")
    outcome = run("check", THIRD, "--budget", path)
    assert outcome.code == 5
    assert "no report is about jetson-orin" in outcome.out
    assert run("check", THIRD, "--budget", path, "--only", "host-cpu").code == 0
    assert run("check", THIRD, "--budget", path, "--only", "nowhere").code == 2
    assert run("check", THIRD, "--budget", path, "--only", "jetson-orin").code == 5


def test_a_matrix_is_judged_in_one_call_each_with_its_own_baseline(run, tmp_path):
    path = tmp_path / "edgeprune.toml"
    path.write_text(
        "[targets.host-cpu]\nmin_speedup = 2.5\nmax_regression = 0.2\n"
        "[targets.host-cpu.resnet56-gr2016a]\nmin_speedup = 9\n"
    )
    outcome = run("check", THIRD, OTHER, "--json", "--budget", path, "--baseline", OTHER, "--baseline", THIRD)
    assert outcome.code == 1
    found = [{check["name"]: check["outcome"] for check in each["checks"]} for each in outcome.json["reports"]]
    assert found == [
        {"min_speedup": "pass", "max_regression": "pass"},
        {"min_speedup": "fail", "max_regression": "pass"},
    ]
    texts = [check["text"] for each in outcome.json["reports"] for check in each["checks"]]
    assert sum("for all 2 comparisons (Holm)" in text for text in texts) == 2


def test_forms_for_ci_are_written(run, budget, tmp_path):
    options = {
        "--markdown": "comment.md",
        "--junit": "junit.xml",
        "--benchmark-json": "bench.json",
        "--gitlab-metrics": "metrics.txt",
        "--verdict-json": "verdict.json",
    }
    words = [word for option, name in options.items() for word in (option, tmp_path / "out" / name)]
    assert run("check", THIRD, "--budget", budget(min_speedup=2), *words).code == 0
    texts = {file.name: file.read_text() for file in (tmp_path / "out").iterdir()}
    assert set(texts) == set(options.values())
    assert "### ✅ Pass" in texts["comment.md"]
    assert texts["junit.xml"].startswith("<?xml")
    assert json.loads(texts["bench.json"])[0]["unit"] == "ms"
    assert texts["metrics.txt"].endswith("# EOF\n")
    assert json.loads(texts["verdict.json"])["outcome"] == "pass"


def test_github_gets_annotations_and_a_summary(run, budget, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    outcome = run("check", THIRD, "--json", "--budget", budget(max_median_ms=0.1))
    assert outcome.json["outcome"] == "fail"
    assert outcome.err.startswith("::error file=")
    assert "max_median_ms" in summary.read_text()
    assert "::error" not in run("check", THIRD, "--no-github", "--budget", budget(max_median_ms=0.1)).err


def test_a_history_gives_the_baseline_and_grows(run, budget, tmp_path):
    reports, page = tmp_path / "reports", tmp_path / "trend.html"
    limits = budget(max_regression=0.05)
    assert run("check", THIRD, "--budget", limits, "--history", reports).code == 2
    reports.mkdir()
    first = run("check", THREE, "--budget", limits, "--history", reports, "--keep", "--no-baseline")
    assert first.code == 5  # nothing at all was judged
    older = json.loads(THREE.read_text())["created"] < json.loads(THIRD.read_text())["created"]
    later = run("check", THIRD, "--budget", limits, "--history", reports, "--keep", "--trend", page)
    assert later.code == (1 if older else 5)
    assert len(list(reports.glob("*/report.json"))) == 2
    assert "Median latency" in page.read_text()
    assert run("check", THIRD, "--budget", limits, "--keep").code == 2


def calibrated(run, tmp_path, *words):
    return run("check", "calibrate", *words, "--out", tmp_path / "edgeprune-noise.json")


def test_calibration_takes_reports_of_the_same_model(run, tmp_path):
    outcome = calibrated(run, tmp_path, THIRD, THIRD)
    assert outcome.code == 3
    assert "one and the same" in outcome.err
    assert "different models" in calibrated(run, tmp_path, THIRD, THREE).err
    assert calibrated(run, tmp_path, THIRD, OTHER).code == 3
    assert calibrated(run, tmp_path, THIRD).code == 2
    assert calibrated(run, tmp_path).code == 2
    assert calibrated(run, tmp_path, THIRD, "--model", "x.onnx", "--target", "host-cpu").code == 2


def test_global_options_may_stand_before_calibrate_and_others_may_not(run, tmp_path):
    words = (THIRD, THIRD, "--out", tmp_path / "edgeprune-noise.json")
    for flags in (("--json",), ("-q", "--json"), ("--verbose",)):
        assert "one and the same" in run("check", *flags, "calibrate", *words).err
    outcome = run("check", "--budget", tmp_path / "none.toml", "calibrate", THIRD)
    assert outcome.code == 2
    assert "calibrate is a command; its options go after it" in outcome.err


def test_a_budget_below_the_calibrated_noise_is_refused(run, budget, tmp_path):
    report = json.loads(THIRD.read_text())
    conditions = {"target": "host-cpu"}
    floor = {"spread_log": 0.02, "floor": 0.08}
    floors = {f"{method}, {level}": floor for method in ("ratio", "direct") for level in ("median", "fast end")}
    entry = {
        "target": "host-cpu",
        "model": report["baseline"]["name"],
        "created": "2026-01-01",
        "repetitions": 20,
        "conditions": conditions,
        "floors": floors,
    }
    path = tmp_path / "edgeprune-noise.json"
    path.write_text(json.dumps({"schema": "edgeprune-noise/1", "entries": [entry]}))
    outcome = run("check", THIRD, "--budget", budget(max_regression=0.05), "--baseline", THIRD)
    assert outcome.code == 2
    assert "below the noise floor" in outcome.err
    assert "0.08" in outcome.err
    other = run(
        "check", THIRD, "--budget", budget(max_regression=0.05), "--baseline", THIRD, "--noise", tmp_path / "no"
    )
    assert other.code == 2


def test_check_needs_neither_torch_nor_onnx_nor_what_is_slow_to_load(budget):
    hidden = (*ENGINES, *ALSO_SLOW)
    code = f"import sys; sys.modules.update(dict.fromkeys({hidden!r}))\nfrom edgeprune.cli import main; main()"
    words = ["check", str(THIRD), "--budget", str(budget(min_speedup=2, max_p99_ms=1)), "--baseline", str(THIRD)]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Pass" in done.stdout


def test_no_report_at_all_is_a_usage_error(run):
    assert run("check").code == 2
    assert run("check", "--help").code == 0
    assert "--repeat" in run("check", "calibrate", "--help").out


def steps_of_action():
    return yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]


def test_no_input_of_the_action_becomes_a_part_of_a_script():
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert action["runs"]["using"] == "composite"
    assert all(step["shell"] == "bash" and "${{" not in step["run"] for step in steps_of_action())
    handed = " ".join(str(value) for step in steps_of_action() for value in (*step["env"].values(), step.get("if", "")))
    assert all(f"inputs.{name}" in handed for name in action["inputs"])


def test_the_template_for_gitlab_keeps_what_it_writes():
    job = yaml.safe_load((ROOT / "ci" / "gitlab.yml").read_text())[".edgeprune-check"]
    text = "\n".join(job["script"])
    assert subprocess.run(["bash", "-n", "-c", text], check=False).returncode == 0
    written = re.findall(r"--(?:junit|gitlab-metrics|markdown) (\S+)", text)
    assert {*job["artifacts"]["paths"], *job["artifacts"]["reports"].values()} == set(written)


def test_the_script_of_the_action_hands_over_names_as_they_are(budget, tmp_path):
    (run_of_check,) = [step["run"] for step in steps_of_action() if step.get("id") == "check"]
    spaced = tmp_path / "a $(touch x); b"
    shutil.copytree(THIRD.parent, spaced)
    output = tmp_path / "output"
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "REPORTS": f"{spaced / 'report.json'}\n{OTHER}\n",
        "BUDGET": str(budget(min_speedup=2)),
        "BASELINE": "",
        "HISTORY": "",
        "ONLY": "",
        "GITHUB_OUTPUT": str(output),
    }
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", run_of_check],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert output.read_text() == "outcome=pass\n"
    assert len(json.loads((tmp_path / "edgeprune-verdict.json").read_text())["reports"]) == 2
    assert not (tmp_path / "x").exists()
    assert file_sha256(spaced / "report.json") == file_sha256(THIRD)
