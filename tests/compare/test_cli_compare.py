"""The command, from what is typed to what is left."""

import json
import sys

import pytest

from edgeprune import targets
from edgeprune.cli import main

GRID = """
title = "From the command line"
models = ["net.pt"]
methods = ["edgeprune", "{other}"]
ratios = [0.25]
seeds = [{seeds}]
[data]
path = ["frames.npz"]
[training]
epochs = {epochs}
batch_size = 32
learning_rate = 0.01
[bench]
target = "{target}"
rounds = 6
round_ms = 2.0
"""


@pytest.fixture
def run(capsys, monkeypatch):
    """Run the command line in this process: exit code, standard output, standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["edgeprune", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return call


@pytest.fixture
def grid(place, tmp_path):
    """A grid file beside nothing: its paths are absolute."""

    def write(other="random", seeds="0", epochs=1):
        text = GRID.format(other=other, seeds=seeds, epochs=epochs, target=place / "quick-cpu.toml")
        text = text.replace('"net.pt"', f'"{place / "net.pt"}"').replace('"frames.npz"', f'"{place / "frames.npz"}"')
        (tmp_path / "grid.toml").write_text(text)
        return tmp_path / "grid.toml"

    return write


@pytest.mark.usefixtures("exported_as_placeholders")
def test_one_command_leaves_a_table_and_says_who_won(run, grid, tmp_path):
    typed = ("compare", "--grid", grid(), "--out", tmp_path / "run", "--workers", "0", "--epochs", "0")
    code, out, err = run(*typed)
    assert code == 0, err
    rows = [line.split("\t") for line in out.splitlines() if "\t" in line]
    assert [row[1] for row in rows] == ["Method", "net, unpruned", "net, edgeprune, 25 %", "net, random, 25 %"]
    assert "of the units removed: " in out
    code, out, _ = run(*typed, "--json")
    content = json.loads(out)
    assert (code, content["schema"], content["title"]) == (0, "edgeprune-compare/1", "From the command line")
    assert content == json.loads((tmp_path / "run" / "compare.json").read_text())
    assert content["commands"][0].startswith("edgeprune compare --grid")
    assert all(cell["cost"]["flops"] >= cell["cost"]["macs"] > 0 for cell in content["cells"])


def test_a_dry_run_lists_the_cells(run, grid, tmp_path):
    code, out, _ = run(
        "compare", "--grid", grid(seeds="0, 1"), "--out", tmp_path / "run", "--dry-run", "--ratios", "0.5"
    )
    assert code == 0
    assert out.splitlines()[1:] == [
        f"net--frames--{method}--r0.5--s{seed}\trun" for method in ("edgeprune", "random") for seed in (0, 1)
    ]
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("exported_as_placeholders")
def test_a_study_is_one_command(run, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(targets, "get", lambda _: targets.read(place / "quick-cpu.toml"))
    few = ("--epochs", "0", "--seeds", "0", "--ratios", "0.5", "--rounds", "6", "--round-ms", "1")
    short = (*few, "--workers", "0", "--json")
    code, out, err = run("compare", "--study", "deviations", place / "net.pt", "--data", place / "frames.npz", *short)
    assert code == 0, err
    content = json.loads(out)
    assert content["failed"] == []
    assert [row["method"] for row in content["rows"]] == [
        "unpruned",
        "as-here",
        "their-traceback",
        "their-probe",
        "their-choice",
        "their-transitions",
        "all-four",
    ]
    page = (tmp_path / "runs" / "compare-deviations-net" / "compare.html").read_text()
    assert 'id="kept"' in page


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ((), "either --grid FILE or --study NAME MODEL"),
        (("--grid", "g.toml", "--study", "kept"), "either --grid FILE or --study NAME MODEL"),
        (("--grid", "g.toml", "net.pt"), "either --grid FILE or --study NAME MODEL"),
        (("--study", "kept"), "names no model"),
        (("--study", "keptt", "net.pt"), "Did you mean 'kept'?"),
        (("--grid", "gone.toml"), "no such grid file: gone.toml"),
        (("--grid", "gone.toml", "--seeds", "a,b"), "--seeds 'a,b' is not a list of numbers"),
        (("--study", "kept", "gone.pt"), "no such file"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(run, typed, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("compare", *typed)
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []
