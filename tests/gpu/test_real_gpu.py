"""The whole small job and every stage on a real GPU, held against the CPU; skipped where there is none."""

import json

import pytest
import torch
from click.testing import CliRunner

from edgeprune import registry
from edgeprune.cli import app
from edgeprune.files.shipped import shipped
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.cards import choose
from edgeprune.network.compute import CPU
from edgeprune.protocols import NullProgress
from edgeprune.tasks import plan
from edgeprune.tasks.data.frames import frames_for
from edgeprune.tasks.plan import PlanSettings

MODEL = shipped("calib_data").parent / "examples" / "resnet56-1d-gr2016a.pt"
DATA = shipped("calib_data") / "gr2016a-high" / "frames.npz"


def run(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def model():
    return checkpoints.load(MODEL)


def test_the_whole_job_ends_well_and_its_plan_is_that_of_the_cpu(tmp_path):
    plans = {}
    for where in ("cpu", "cuda"):
        out = tmp_path / where
        job = ("prune-and-export", MODEL, "--target", "host-cpu", "--data", DATA, "--epochs", 1)
        run(*job, "--compute", where, "--out", out)
        report = json.loads((out / "report.json").read_text())
        plans[where] = report["plan"]["kept"]
        assert report["compute"]["device"] == ("cpu" if where == "cpu" else "cuda:0")
    assert plans["cuda"] == plans["cpu"]


@pytest.mark.parametrize("criterion", registry.names("criteria"))
def test_scores_are_those_of_the_cpu(model, criterion):
    parts, settings = frames_for(model, DATA), PlanSettings(criterion=criterion)
    chain = plan.layers_of(model.model, model.input, model.sha256)
    subject = plan.subject(model, chain, parts, settings, NullProgress())
    there, here = (plan.scores(subject, settings, where).values for where in (choose("cuda"), CPU))
    assert there == pytest.approx(here, rel=1e-4, abs=1e-6)
    assert {parameter.device.type for parameter in model.model.parameters()} == {"cpu"}


@pytest.mark.parametrize("metric", registry.names("similarity"))
def test_similarities_are_those_of_the_cpu(model, metric):
    train, settings = frames_for(model, DATA)["train"], PlanSettings(metric=metric)
    chain = plan.layers_of(model.model, model.input, model.sha256)
    there, here = (
        plan.similarity(model, chain, train, settings, NullProgress(), where).matrix for where in (choose("cuda"), CPU)
    )
    torch.testing.assert_close(torch.tensor(there), torch.tensor(here), rtol=1e-4, atol=1e-6)


def test_accuracy_agrees_within_its_interval():
    asked = ("eval", MODEL, "--data", DATA, "--json", "--compute")
    found = [json.loads(run(*asked, where).stdout) for where in ("cpu", "cuda")]
    low, high = found[0]["ci95"]
    assert low <= found[1]["top1"] <= high
