"""The page on Python is what it says: its code runs from top to bottom, in one namespace, beside small files."""

import logging
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import synthetic
from markdown_it import MarkdownIt

import edgeprune as ep
from edgeprune import targets
from edgeprune.network import checkpoint as checkpoints

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "python.md"


def blocks(page):
    """The Python in a page, block by block."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    return [token.content for token in tokens if token.type == "fence" and token.info == "python"]


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A folder with model.pt, frames.npz and a budget, where this machine is measured shortly."""
    frames = synthetic.frames_of(synthetic.cells())
    np.savez(tmp_path / "frames.npz", iq=frames.iq, labels=frames.labels, classes=frames.classes, snrs=frames.snrs)
    network = synthetic.taught(synthetic.checkpoint().model, frames)
    model = replace(synthetic.checkpoint(), model=network, classes=frames.classes)
    checkpoints.save(tmp_path / "model.pt", model)
    short = targets.Bench(rounds=6, round_ms=2.0, warmup_ms=1.0, processes=1)
    known = targets.get
    monkeypatch.setattr(targets, "get", lambda name: known(name).model_copy(update={"bench": short}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_runs_from_top_to_bottom(beside, capsys, monkeypatch):
    page = ModuleType("page")  # whose classes can be pickled, as those of a notebook or a program
    monkeypatch.setitem(sys.modules, "page", page)
    space = vars(page)
    found = blocks(PAGE)
    assert len(found) > 5
    for block in found:
        exec(compile(block, str(PAGE), "exec"), space)
    said = capsys.readouterr().out
    assert "`keep_ratio=2.0` is not a share. Allowed: 0 to 1" in said or "`keep_ratio=2` is not a share" in said
    assert space["plan"].plan.criterion == "weight-norm"
    assert ep.load(beside / "lean.pt", trust_pickle=True).module(synthetic.signals()).shape == (4, 3)
    report = space["report"]
    assert (report.folder / "report.html").is_file()
    assert report.verdict in repr(report)
    assert report.report.pruned.params == space["small"].parameters
    assert {path.name for path in beside.iterdir()} >= {"plan.png", "weights.pt", "run"}
    assert logging.getLogger("edgeprune").level == logging.NOTSET
