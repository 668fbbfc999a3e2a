"""Names from files on every way out: the terminal, the log of a CI job, annotations, comments, pages."""

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import click
import numpy as np
import pytest
from github_runner import obeyed

from edgeprune.cli._console import Console, Verbosity
from edgeprune.errors import ConfigError, DataError

REAL = Path(__file__).parents[2] / "docs" / "results" / "resnet56-1d-third"
EVIL = "net\n::error::pwned\n  ::stop-commands::x ##[error]y \x1b[31m\x9b2J \u202egnp\x07"
FORBIDDEN = "\x1b\x9b\x07\u202e\x00\r"


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch):
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


OWN = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")


def harmless(text, commands=()):
    """Whether a terminal and a runner only show a text, but for the commands that are edgeprune's own."""
    assert not set(text) & set(FORBIDDEN)
    assert [found for found in map(obeyed, text.splitlines()) if found] == list(commands)
    text.encode()
    return True


def harmless_file(text):
    """Whether a page or a form only shows a text, and printing it does no more."""
    assert not set(text) & set(FORBIDDEN)
    assert not [line for line in text.splitlines() if line.strip().startswith("::")]
    return True


@pytest.fixture(params=[EVIL, "::error::net"])
def report(tmp_path, request):
    """A report whose model has such a name."""
    path = shutil.copytree(REAL, tmp_path / "run") / "report.json"
    plain = json.loads(path.read_text())
    plain["baseline"]["name"] = request.param
    path.write_text(json.dumps(plain))
    return path


@pytest.mark.parametrize("coloured", [False, True])
def test_lines_tables_and_bars(capsys, monkeypatch, coloured):
    if coloured:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("NO_COLOR", "1")
    console = Console(Verbosity())
    console.stage(EVIL)
    console.note("::error::pwned")
    console.print(EVIL)
    console.headline("[bold]" + EVIL)
    console.table(("::error::a", EVIL), [("::error::" + "x" * 300, EVIL), (EVIL, "[link=http://x]y")])
    with console.track("::error::pwned", 2) as advance:
        advance(1, EVIL)
        advance(1, "[red]done")
    captured = capsys.readouterr()
    out, err = captured
    if coloured:  # rich has sequences of its own; those of the name are shown in full below
        out, err = (OWN.sub("", part) for part in captured)
    assert harmless(out)
    assert harmless(err)
    assert out.count(r"\x1b[31m\x9b2J \u202egnp\x07") == 5
    assert err.count(r"\x1b[31m\x9b2J \u202egnp\x07") >= 2
    assert harmless(console.log)


def test_json_is_the_same_and_holds_no_command(capsys):
    Console(Verbosity(as_json=True)).json({"name": EVIL})
    text = capsys.readouterr().out
    assert json.loads(text) == {"name": EVIL}
    assert harmless(text)


@pytest.mark.parametrize(
    "error", [DataError(f"{EVIL} holds nothing", EVIL), click.UsageError(EVIL), ValueError(EVIL), OSError(EVIL)]
)
def test_errors_and_even_bugs(run, monkeypatch, error):
    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr("edgeprune.targets.names", fail)
    assert harmless(run("targets", "list").err)


def test_names_on_the_command_line(run, tmp_path):
    for name in (EVIL, "x\udcff", "::error::x"):
        assert harmless(run("report", tmp_path / name.replace("\x00", "")).err)
        assert harmless(run(name).err)


def test_a_message_is_bounded_and_shows_no_dump():
    assert len(ConfigError("x" * 10**6, "y" * 10**6).message) <= 500
    assert len(ConfigError("x" * 10**6, "y" * 10**6).hint) <= 500
    from edgeprune.errors import reason_of

    said = "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model failed:Protobuf parsing failed."
    assert reason_of(RuntimeError(said)) == "Load model failed:Protobuf parsing failed."
    torch = "[enforce fail at inline_container.cc:145] . failed finding central directory\nframe #0: c10::Throw"
    assert reason_of(RuntimeError(torch)) == "failed finding central directory"


def test_a_check_in_github_actions(run, report, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    budget = tmp_path / "edgeprune.toml"
    budget.write_text("[targets.host-cpu]\nmax_median_ms = 0.0001\nmax_p99_ms = 100\n")
    forms = {name: tmp_path / name for name in ("markdown", "junit", "gitlab-metrics", "benchmark-json", "trend")}
    (tmp_path / "history").mkdir()
    options = [word for name, path in forms.items() for word in (f"--{name}", path)]
    ended = run("check", report, "--budget", budget, *options, "--history", tmp_path / "history", "--keep")
    assert ended.code == 1, ended.err
    assert harmless(ended.out)
    assert harmless(ended.err, commands=["error"])
    assert harmless_file((tmp_path / "summary.md").read_text())
    for path in forms.values():
        assert harmless_file(path.read_text()), path
    assert len(list(ElementTree.parse(forms["junit"]).getroot().iter("testcase"))) == 2
    kept = [path.name for path in (tmp_path / "history").iterdir() if path.is_dir()]
    assert all(name.isprintable() for name in kept)


def test_pages_of_a_report(run, report):
    assert run("report", report.parent).code == 0
    for name in ("report.md", "report.html"):
        assert harmless_file((report.parent / name).read_text())
    assert harmless(run("report", report.parent).out)


def test_class_names_of_data(run, tmp_path):
    iq = np.random.default_rng(0).standard_normal((60, 2, 32)).astype(np.float32)
    labels = np.repeat([0, 1, 2], 20)
    np.savez(tmp_path / "set.npz", iq=iq, labels=labels, classes=np.array([EVIL, "::error::b", "##[error]c"]))
    ended = run("data", "info", tmp_path / "set.npz")
    assert harmless(ended.out)
    assert harmless(ended.err)
