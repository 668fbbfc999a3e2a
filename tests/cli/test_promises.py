"""`prune-and-export` and `plan` with a latency budget, a bound on accuracy, and a width.

Export and measurement are made up here, since they take most of a job's time and are tested elsewhere.
"""

import contextlib
import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from edgeprune.bench import protocol
from edgeprune.cli import main
from edgeprune.files.store import file_sha256, write_json
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.edits import apply_edits
from edgeprune.pipeline import job as whole_job
from edgeprune.pipeline import open_folder
from edgeprune.prune.channels.scores import METHODS
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.constraints import Timing
from edgeprune.records.pruning import Edit, OnnxModel, PrunePlan
from edgeprune.report.pages import markdown
from edgeprune.report.schema.json import load, parse
from edgeprune.tasks import evaluate, export
from edgeprune.tasks import width as narrowing
from edgeprune.tasks.data import frames as inputs
from edgeprune.tasks.latency import budget

BLOCKS = (0, 4, 9, 12, 18, 22)  # of resnet56-1d; a network of 8 units is left
PRUNED_MS = 0.25


def made_up_export(model, spec, iq, target, path, metadata, progress, **how):
    path.write_bytes(path.name.encode())
    return OnnxModel(path.name, file_sha256(path), 12, 18, 1, "none", (), 0.0, 1, 0, "made up")


def made_up_bench(baseline, pruned, frames, runtime, settings, out_dir, progress, processes=None):
    setup = protocol.Setup("made-up", "not at all", "fp32", settings.batch, settings.threads, {})
    times = {"baseline": [np.full(200, 0.5)] * 6, "pruned": [np.full(200, PRUNED_MS)] * 6}
    return protocol.conclude(times, {"baseline": "0", "pruned": "1"}, setup, (), out_dir, range(1, 7))


def plain_report(folder, document):
    write_json(folder / "report.json", document)
    (folder / "report.md").write_text(markdown.render(parse(document, "the document")))


@pytest.fixture(scope="module", autouse=True)
def light():
    """No export, no measurement, no drawings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "export", made_up_export)
        patch.setattr(protocol, "measure", made_up_bench)
        patch.setattr(whole_job, "write", plain_report)
        yield


@pytest.fixture(scope="module")
def small(world, tmp_path_factory):
    """The model of the world with 6 of its blocks, as a file of its own, and its chain."""
    whole = checkpoints.load(world / "model.pt")
    edits = tuple(Edit(f"blocks.{block}", "identity") for block in range(27) if block not in BLOCKS)
    dropped = PrunePlan(whole.sha256, "none", "none", ((0, 28),), (), (), (), edits)
    path = tmp_path_factory.mktemp("small") / "small.pt"
    network = apply_edits(whole.model, edits, (2, 32)).eval()
    saved = checkpoints.save(path, replace(whole, model=network, plan=dropped))
    return path, layers_of(saved.model, saved.input, saved.sha256)


class FakeStopwatch:
    """A clock by which each droppable unit takes a tenth of the unpruned network's time, of `unpruned_ms`."""

    unpruned_ms = 100.0

    def __init__(self, model, chain, frames, target, precision, batch, folder):
        self.chain = chain

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def time(self, kept, progress):
        ratio = 1 - 0.1 * (len(self.chain.droppable) - len(kept))
        units = tuple(unit.index for unit in self.chain.units if not unit.droppable or unit.index in kept)
        time_ms = ratio * self.unpruned_ms
        return Timing(units, "0" * 64, time_ms, self.unpruned_ms, ratio, (ratio, ratio), "latency/kept/samples.npz")


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(budget, "Stopwatch", FakeStopwatch)
    return FakeStopwatch


def job(world, model, out, *more):
    target, data = world / "quick-cpu.toml", world / "frames.npz"
    given = ("--target", target, "--data", data, "--epochs", 1, "--out", out, "--accept-baseline")
    return ("prune-and-export", model, *given, *more)


def stages(folder):
    return sorted(file.stem for file in folder.glob("[0-9][0-9]-*.json"))


class TestLatencyBudget:
    def test_the_job_keeps_what_fits_and_reports_both_figures(self, world, small, tmp_path, run, clock):
        path, chain = small
        outcome = run(*job(world, path, tmp_path, "--latency-budget", 73, "--json"))
        assert outcome.code == 0, outcome.err
        report = outcome.json
        # 6 droppable units at 10 ms, 40 ms for the rest: 71.5 ms (98 %) are enough for 3.
        assert len(report["plan"]["kept"]) == 2 + 3
        assert report["latency"]["budget_ms"] == 73
        assert report["latency"]["predicted_ms"] == pytest.approx(70)
        assert report["latency"]["pruned"]["median_ms"] == PRUNED_MS
        assert report["latency_plan"]["fixed_ms"] == pytest.approx(40)
        assert list(report["latency_plan"]["costs_ms"]) == [str(index) for index in chain.droppable]
        assert [each["units"] for each in report["latency_plan"]["candidates"]] == [5]
        assert "05-latency" in stages(tmp_path)
        assert "## Latency budget" in (tmp_path / "report.md").read_text()
        again = run(*job(world, path, tmp_path, "--latency-budget", 73, "--dry-run", "--json"))
        assert [name for name, what in again.json["stages"].items() if what == "run"] == ["12-report"]

    def test_a_final_measurement_over_the_budget_is_said_and_ends_with_code_1(
        self, world, small, tmp_path, run, clock, monkeypatch
    ):
        monkeypatch.setattr(clock, "unpruned_ms", 0.3)
        outcome = run(*job(world, small[0], tmp_path, "--latency-budget", 0.2))
        assert outcome.code == 1
        assert "The pruned network is over the latency budget: its median is 0.250 ms, above 0.200 ms." in outcome.out
        warnings = json.loads((tmp_path / "report.json").read_text())["warnings"]
        assert any(warning.startswith("The pruned network is over the latency budget") for warning in warnings)

    def test_a_budget_that_nothing_meets_names_the_nearest(self, world, small, tmp_path, run, clock):
        outcome = run(*job(world, small[0], tmp_path, "--latency-budget", 30))
        assert outcome.code == 2
        assert "the nearest keeps 2 of 8 units and takes 40 ms on quick-cpu" in outcome.err
        assert not (tmp_path / "report.json").exists()

    def test_a_budget_that_the_unpruned_network_meets_drops_nothing_and_says_so(
        self, world, small, tmp_path, run, clock
    ):
        outcome = run(*job(world, small[0], tmp_path, "--latency-budget", 150))
        assert outcome.code == 0, outcome.err
        assert "within the budget: nothing is dropped" in outcome.err
        assert load(tmp_path / "report.json").plan.dropped == ()
        assert "nothing was dropped" in (tmp_path / "report.md").read_text()

    def test_a_plan_within_a_budget_is_that_of_the_job(self, world, small, tmp_path, run, clock):
        plan = tmp_path / "plan.json"
        source = ("plan", small[0], "--data", world / "frames.npz", "--out", plan, "--latency-budget", 73)
        outcome = run(*source, "--target", world / "quick-cpu.toml")
        assert outcome.code == 0, outcome.err
        content = json.loads(plan.read_text())
        assert len(content["kept"]) == 5
        assert content["evidence"]["latency"]["predicted_ms"] == pytest.approx(70)
        run(*job(world, small[0], tmp_path / "run", "--latency-budget", 73))
        assert load(tmp_path / "run" / "report.json").plan.kept == tuple(content["kept"])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--latency-budget", 1, "--keep", 3), "--keep and --latency-budget were both given"),
            (("--latency-budget", 1, "--keep-ratio", 0.5), "--keep-ratio and --latency-budget were both given"),
            (("--latency-budget", 1), "--latency-budget was given without --target"),
            (("--target", "host-cpu"), "--target was given without --latency-budget"),
            (("--latency-budget", 0), "0 is not in the range"),
        ],
    )
    def test_options_that_contradict_each_other_are_refused(self, world, small, tmp_path, run, options, message):
        outcome = run("plan", small[0], "--data", world / "frames.npz", "--out", tmp_path / "plan.json", *options)
        assert outcome.code == 2
        assert message in " ".join(outcome.err.split())


@pytest.fixture(scope="module")
def searched(world, small, tmp_path_factory):
    """The folder of a job that looked for the fewest units where every number will do, what it said, and the frames
    that numbers of units were chosen by.
    """
    folder, frames = tmp_path_factory.mktemp("searched"), []
    said, real = io.StringIO(), evaluate.top1
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        patch.setattr(
            evaluate, "top1", lambda model, asked, *others: frames.append(asked) or real(model, asked, *others)
        )
        patch.setattr(sys, "argv", ["edgeprune", *map(str, job(world, small[0], folder, "--max-accuracy-drop", 1))])
        with pytest.raises(SystemExit) as stop:
            main()
    assert stop.value.code == 0, said.getvalue()
    return folder, said.getvalue(), frames


class TestAccuracyBound:
    def test_the_fewest_units_are_found_and_the_trial_is_not_trained_again(self, searched):
        folder, said, _ = searched
        report = json.loads((folder / "report.json").read_text())
        # Every network loses at most all: 2 to 7 units are bisected at 5, 3, 2.
        assert [trial["units"] for trial in report["accuracy_bound"]["trials"]] == [5, 3, 2]
        assert report["pruned"]["units"] == 2
        assert sorted(file.name for file in (folder / "trials").iterdir()) == ["keep-02", "keep-03", "keep-05"]
        assert file_sha256(folder / "pruned.pt") == file_sha256(folder / "trials" / "keep-02" / "pruned.pt")
        assert said.count("> fine-tune") == 3
        bound = report["accuracy_bound"]
        assert bound["drop"] == pytest.approx(bound["baseline_top1"] - bound["pruned_top1"])
        assert "## Accuracy bound" in (folder / "report.md").read_text()

    def test_it_is_reused(self, searched, world, small, run):
        again = run(*job(world, small[0], searched[0], "--max-accuracy-drop", 1, "--dry-run", "--json"))
        assert [name for name, what in again.json["stages"].items() if what == "run"] == ["12-report"]

    def test_another_bound_uses_the_trials_there_are(self, searched, world, small, tmp_path, run, monkeypatch):
        shutil.copytree(searched[0], tmp_path / "run")
        unpruned = file_sha256(small[0])
        monkeypatch.setattr(evaluate, "top1", lambda model, *_: 0.9 if model.sha256 == unpruned else 0.8)
        outcome = run(*job(world, small[0], tmp_path / "run", "--max-accuracy-drop", 0.2))
        assert outcome.code == 0, outcome.err
        assert outcome.err.count("> fine-tune") == 0

    def test_a_trial_is_what_the_job_with_that_number_makes(self, searched, world, small, tmp_path, run):
        run(*job(world, small[0], tmp_path, "--keep", 3))
        one, other = (
            checkpoints.load(path).model.state_dict()
            for path in (searched[0] / "trials" / "keep-03" / "pruned.pt", tmp_path / "pruned.pt")
        )
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[key]) for key, value in one.items())

    def test_the_frames_of_the_test_split_choose_nothing(self, searched, world, small):
        parts = inputs.frames_for(checkpoints.load(small[0]), world / "frames.npz")
        assert len(searched[2]) == 6
        assert all(np.array_equal(frames.iq, parts["validation"].iq) for frames in searched[2])

    def test_fresh_forgets_trials_and_timings_too(self, searched, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(searched[0], folder)
        (folder / "latency").mkdir()
        (folder / "latency" / "kept-0123456789ab.json").write_text('{"schema": "edgeprune-stage/1"}')
        (folder / "trials" / "mine.txt").write_text("mine")
        with open_folder(folder, fresh=True):
            assert not list(folder.glob("**/[0-9k]*-*.json"))
        assert (folder / "trials" / "mine.txt").exists()

    def test_an_interrupted_search_goes_on_with_the_trial_it_was_in(self, world, small, tmp_path, run, monkeypatch):
        real, asked = evaluate.top1, []

        def interrupted(model, frames, progress, *others):
            asked.append(model)
            if len(asked) == 3:  # the unpruned network, the first trial, and the second
                raise KeyboardInterrupt
            return real(model, frames, progress, *others)

        monkeypatch.setattr(evaluate, "top1", interrupted)
        assert run(*job(world, small[0], tmp_path, "--max-accuracy-drop", 1)).code == 130
        monkeypatch.undo()
        outcome = run(*job(world, small[0], tmp_path, "--max-accuracy-drop", 1))
        assert outcome.code == 0
        assert outcome.err.count("fine-tune: reused") + outcome.err.count("reused  fine-tune") == 3
        assert outcome.err.count("> fine-tune") == 1

    def test_no_number_of_units_holds_the_bound(self, world, small, tmp_path, run, monkeypatch):
        unpruned = file_sha256(small[0])
        monkeypatch.setattr(evaluate, "top1", lambda model, *_: 0.9 if model.sha256 == unpruned else 0.5)
        outcome = run(*job(world, small[0], tmp_path, "--max-accuracy-drop", 0.3))
        assert outcome.code == 2
        assert "no pruned network holds --max-accuracy-drop 0.3: the nearest keeps" in outcome.err
        assert "loses 0.4000 of top-1 on the validation split" in outcome.err

    @pytest.mark.parametrize(("drop", "code"), [(0.3, 1), (0.5, 0)])
    def test_beside_a_number_of_units_it_is_checked(self, world, small, tmp_path, run, monkeypatch, drop, code):
        unpruned = file_sha256(small[0])
        monkeypatch.setattr(evaluate, "top1", lambda model, *_: 0.9 if model.sha256 == unpruned else 0.5)
        outcome = run(*job(world, small[0], tmp_path, "--max-accuracy-drop", drop, "--keep", 4))
        assert outcome.code == code, outcome.err
        report = load(tmp_path / "report.json")
        assert report.accuracy_bound.drop == pytest.approx(0.4)
        assert report.accuracy_bound.trials == ()
        broken = "The pruned network is less accurate than required: it loses 40 percentage points"
        assert (broken in outcome.out) == (code == 1)


class TestThenWidth:
    def test_channels_go_after_the_layers_and_before_the_training(self, world, small, tmp_path, run):
        outcome = run(*job(world, small[0], tmp_path, "--keep", 5, "--then-width", 0.5, "--json"))
        assert outcome.code == 0, outcome.err
        report, width = outcome.json, outcome.json["width"]
        layers, narrow, final = (
            checkpoints.load(tmp_path / name) for name in ("reassembled.pt", "narrowed.pt", "pruned.pt")
        )
        counted = []
        for model in (layers, narrow, final):
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                model.model(torch.zeros(1, 2, 32))
            counted.append(counter.get_total_flops() // 2)
        assert 0.45 * counted[0] < counted[1] <= 0.5 * counted[0]
        assert counted[2] == counted[1]
        assert (width["macs_before"], report["pruned"]["macs"]) == (counted[0], counted[1])
        assert report["pruned"]["params"] == sum(each.numel() for each in narrow.model.parameters())
        channels = sum(
            module.out_channels - narrow.model.get_submodule(path).out_channels
            for path, module in layers.model.named_modules()
            if isinstance(module, torch.nn.Conv1d)
        )
        assert width["channels"] == channels > 0
        assert width["method"] == "l1"
        assert "## Width" in (tmp_path / "report.md").read_text()

    def test_needs_its_package(self, world, small, tmp_path, run, monkeypatch):
        monkeypatch.setattr(narrowing.importlib.util, "find_spec", lambda name: None)
        outcome = run(*job(world, small[0], tmp_path, "--then-width", 0.5))
        assert outcome.code == 2
        assert "pip install 'edgeprune[width]'" in outcome.err

    @pytest.mark.parametrize("share", [0, 1, 1.5])
    def test_a_share_that_is_none_is_refused(self, world, small, tmp_path, run, share):
        assert run(*job(world, small[0], tmp_path, "--then-width", share)).code == 2

    def test_the_command_line_knows_every_method(self, run):
        listed = next(
            line for line in run("prune-and-export", "--help-all").out.splitlines() if "--width-method" in line
        )
        assert listed.split("[")[1].split("]")[0].split("|") == sorted(METHODS)


def test_a_second_run_in_the_same_folder_is_refused_until_the_first_is_gone(world, small, tmp_path, run):
    hold = "import sys, time; from pathlib import Path; from edgeprune.files.run_folder import held\n"
    hold += "with held(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    first = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    refused = run(*job(world, small[0], tmp_path, "--keep", 3))
    first.kill()
    first.wait()
    first.stdout.close()
    assert refused.code == 2
    assert f"another run is at work in {tmp_path}" in refused.err
    assert stages(tmp_path) == []
    assert run(*job(world, small[0], tmp_path, "--keep", 3)).code == 0
