"""The page on Python is what it says: its code runs from top to bottom, in one namespace, beside small files."""

import logging
import subprocess
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


STAND_IN = '''
"""As much of Lightning as the example uses."""
import torch

class LightningModule(torch.nn.Module):
    logged = {}
    def log(self, name, value, **_):
        self.logged.setdefault(name, []).append(float(value))

class Trainer:
    def __init__(self, max_epochs, logger, enable_checkpointing):
        self.max_epochs = max_epochs
    def fit(self, module, train, validation):
        module.trainer = self
        self.estimated_stepping_batches = self.max_epochs * len(train)
        made = module.configure_optimizers()
        optimiser, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
        for _ in range(self.max_epochs):
            module.train()
            for number, batch in enumerate(train):
                optimiser.zero_grad()
                module.training_step(batch, number).backward()
                optimiser.step()
                schedule.step()
            module.eval()
            with torch.no_grad():
                for number, batch in enumerate(validation):
                    module.validation_step(batch, number)
'''


@pytest.mark.parametrize("name", ["finetune_torch.py", "finetune_lightning.py"])
def test_an_example_trains_a_pruned_network(beside, name):
    """Lightning is played by a stand-in with the few methods that the example uses."""
    (beside / "lightning.py").write_text(STAND_IN)
    words = [sys.executable, str(ROOT / "examples" / name), "model.pt", "frames.npz", "out.pt", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(beside)})
    assert done.returncode == 0, done.stderr[-2000:]
    before, after = ep.load(beside / "model.pt"), ep.load(beside / "out.pt")
    assert after.parameters < before.parameters
    assert after.pruned_by is not None
    assert f"{ep.evaluate(after, 'frames.npz').top1:.2%}" in done.stdout
