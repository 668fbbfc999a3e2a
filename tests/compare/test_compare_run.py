"""Whole comparisons in this process: what they leave, reuse and report."""

import functools
import json
import shutil

import numpy as np
import onnxruntime
import pytest
import synthetic
import torch
from comparisons import save_frames

from edgeprune import datasets
from edgeprune.compare import run
from edgeprune.compare.cell import attempt, stages, work
from edgeprune.compare.grid.read import parse
from edgeprune.compare.workers import Workers
from edgeprune.errors import ConfigError, DataError, ModelError
from edgeprune.export import export
from edgeprune.files.run_folder import begun_name
from edgeprune.files.store import file_sha256
from edgeprune.frames.labelled import split_frames, take
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.model_file import ModelOptions
from edgeprune.records.pruning import InputSpec
from edgeprune.tasks import plan
from edgeprune.train import accuracy, finetune
from edgeprune.train.evaluate import predict

pytestmark = pytest.mark.usefixtures("exported_as_placeholders")


def grid_of(place, **changes):
    plain = {
        "models": ["net.pt"],
        "methods": ["train-on", "edgeprune", "l1", "scratch"],
        "ratios": [0.25],
        "seeds": [0, 1],
        "networks": ["gru2", {"name": "lstm2", "learning_rate": 1e30}],
        "data": {"path": ["frames.npz"]},
        "training": {"epochs": 2, "batch_size": 32, "learning_rate": 0.01},
        "bench": {"target": str(place / "quick-cpu.toml"), "rounds": 6, "round_ms": 2.0},
        "plots": ["curves", "kept"],
    }
    chosen = {key: value for key, value in {**plain, **changes}.items() if value is not None}
    return parse(chosen, "the grid", place)


def small(place, **changes):
    """A grid of one method and one seed."""
    return grid_of(place, **{"methods": ["edgeprune"], "seeds": [0], "networks": ["gru2"], **changes})


def compare(grid, out, progress=None):
    return run.compare(grid, out, ModelOptions(), Workers(0), "edgeprune compare", progress or synthetic.Silent())


def of_cell(out, name):
    return {file.stem: json.loads(file.read_text()) for file in sorted((out / "cells" / name).glob("[0-9]*.json"))}


@pytest.fixture(scope="module")
def finished(place, tmp_path_factory, exported_as_placeholders):
    """A comparison that ran through, and its folder."""
    out = tmp_path_factory.mktemp("finished") / "run"
    return compare(grid_of(place), out), out


def test_layers_are_compared_and_scored_once_for_all_ratios(place, tmp_path, monkeypatch):
    asked = []
    for what in ("similarity", "scores"):
        made = getattr(plan, what)
        monkeypatch.setattr(plan, what, lambda *given, what=what, made=made: asked.append(what) or made(*given))
    grid = small(place, ratios=[0.25, 0.5, 0.75], methods=["edgeprune", "synflow"], networks=None)
    cells = compare(grid, tmp_path / "run").cells
    assert sorted(asked) == ["scores", "scores", "similarity"]
    assert len({each.cost.params for each in cells if each.method == "edgeprune"}) == 3


def test_softly_pruned_channels_follow_a_reference_that_leaves_fewer(place, tmp_path):
    def macs(**reference):
        methods = [{"name": "edgeprune", **reference}, "sfp"]
        cells = compare(small(place, methods=methods, networks=None), tmp_path / "run").cells
        return {each.method: each.cost.macs for each in cells}

    before, after = macs(), macs(then_width=0.75)
    assert after["edgeprune"] < before["edgeprune"]
    assert after["sfp"] < before["sfp"]


def test_every_cell_has_its_figures_and_only_the_diverged_ones_have_none(finished):
    comparison, out = finished
    assert [each.id for each in comparison.cells] == [
        *(f"net--frames--train-on--s{seed}" for seed in (0, 1)),
        *(f"net--frames--{method}--r0.25--s{s}" for method in ("edgeprune", "l1", "scratch") for s in (0, 1)),
        *(f"gru2--frames--trained--s{seed}" for seed in (0, 1)),
    ]
    assert [cell.id for cell in comparison.failed] == [f"lstm2--frames--trained--s{seed}" for seed in (0, 1)]
    assert all("training diverged in epoch 1" in cell.reason for cell in comparison.failed)
    assert {row.method for row in comparison.rows} == {"unpruned", "train-on", "edgeprune", "l1", "scratch", "gru2"}
    for each in (method for method in comparison.grid["methods"] if method["kind"] == "layers"):
        assert [each[key] for key in ("criterion", "metric", "segments")] == ["block-influence", "cka-unbiased", "auto"]
    assert {"compare.json", "compare.md", "compare.tex", "compare.html", "pareto.svg"} <= {
        f.name for f in out.iterdir()
    }


def test_accuracy_is_that_of_the_test_split_counted_by_hand(finished, place):
    comparison, out = finished
    frames = datasets.read(place / "frames.npz")
    test = split_frames(frames, 2016)["test"]
    power = np.sqrt((frames.iq[test] ** 2).sum(axis=1).mean(axis=1))[:, None, None]
    for figures in comparison.cells[2:4]:
        pruned = checkpoints.load(out / "cells" / figures.id / "pruned.pt")
        with torch.no_grad():
            called = pruned.model(torch.from_numpy(frames.iq[test] / power)).argmax(1).numpy()
        assert figures.top1 == pytest.approx((called == frames.labels[test]).mean())
        assert figures.frames == len(test)


def test_loss_is_that_of_the_paired_comparison(finished, place):
    comparison, out = finished
    frames = datasets.read(place / "frames.npz")
    test = take(frames, split_frames(frames, 2016)["test"])
    figures = next(cell for cell in comparison.cells if cell.method == "l1")
    logits = [
        predict(checkpoints.load(path).model, test.iq, InputSpec(2, synthetic.LENGTH), synthetic.Silent(), "")
        for path in (place / "net.pt", out / "cells" / figures.id / "pruned.pt")
    ]
    expected = accuracy.compare(*logits, test, "test")
    assert figures.loss.drop == pytest.approx(expected.drop)
    assert figures.loss.ci95 == pytest.approx(expected.drop_ci95)
    assert figures.loss.mcnemar_p == pytest.approx(expected.mcnemar_p)


def test_a_quarter_of_the_droppable_units_are_removed(finished):
    comparison, _ = finished
    chain = synthetic.chain("iq-transformer", synthetic.LENGTH, 3)
    for figures in comparison.cells:
        if figures.kind == "layers":
            assert len(figures.kept) == len(chain.units) - round(0.25 * len(chain.droppable))
            assert set(figures.fixed) == set(range(len(chain.units))) - set(chain.droppable)


def test_channels_are_matched_to_the_layers_in_multiply_accumulates(finished):
    comparison, _ = finished
    macs = {(cell.method, cell.seed): cell.cost.macs for cell in comparison.cells}
    for seed in (0, 1):
        assert 0.95 <= macs["l1", seed] / macs["edgeprune", seed] <= 1


def test_from_scratch_is_the_same_plan_with_other_weights(finished):
    comparison, out = finished
    by_method = {cell.method: cell for cell in comparison.cells if cell.seed == 0}
    assert by_method["scratch"].kept == by_method["edgeprune"].kept
    inherited, fresh = (
        checkpoints.load(out / "cells" / by_method[name].id / "reassembled.pt").model.state_dict()
        for name in ("edgeprune", "scratch")
    )
    assert inherited.keys() == fresh.keys()
    weights = [name for name, value in inherited.items() if value.dim() > 1]
    assert not any(torch.equal(inherited[name], fresh[name]) for name in weights)


def test_what_drops_nothing_and_what_is_unpruned_take_the_same(finished):
    comparison, _ = finished
    unpruned, trained_on = comparison.rows[:2]
    assert (unpruned.method, trained_on.method) == ("unpruned", "train-on")
    assert unpruned.macs.mean == trained_on.macs.mean == synthetic.chain("iq-transformer", synthetic.LENGTH, 3).macs
    assert trained_on.params_removed.mean == 0


def test_every_cell_is_measured_beside_the_unpruned_network(finished):
    comparison, out = finished
    for figures in comparison.cells:
        assert figures.latency.against == "net"
        assert figures.latency.speedup > 0
        assert (out / figures.latency.samples_path).is_file()
    assert comparison.measurement.target == "quick-cpu"
    assert comparison.measurement.rounds == 6


def test_what_is_exported_answers_as_the_finished_network_does(finished, place, tmp_path, monkeypatch):
    (job, *_) = [
        job for job in _jobs(finished[1], place, tmp_path) if job.cell.method and job.cell.method.name == "scratch"
    ]
    monkeypatch.setattr(work, "export", functools.partial(export, simplifiers=()))
    work.CellWork(job, synthetic.Silent()).export(job.folder / "pruned.pt", tmp_path / "real.onnx")
    iq = synthetic.signals(5).numpy()
    session = onnxruntime.InferenceSession(str(tmp_path / "real.onnx"))
    expected = predict(checkpoints.load(job.folder / "pruned.pt").model, iq, InputSpec(2, 32), synthetic.Silent(), "")
    assert session.run(["logits"], {"iq": iq})[0] == pytest.approx(expected, abs=1e-4)
    assert json.loads(session.get_modelmeta().custom_metadata_map["plan"])["kept"] == list(
        next(each.kept for each in finished[0].cells if each.id == job.cell.id)
    )


def test_the_same_comparison_again_works_on_nothing_but_what_failed(finished, place, tmp_path, monkeypatch):
    out = tmp_path / "run"
    shutil.copytree(finished[1], out)
    before = {cell.id: of_cell(out, cell.id) for cell in finished[0].cells}
    attempted = []
    monkeypatch.setattr(run, "attempt", lambda job, *_: attempted.append(job.cell.id) or "")
    again = compare(grid_of(place), out)
    assert attempted == [cell.id for cell in finished[0].failed]
    assert {cell.id: of_cell(out, cell.id) for cell in again.cells} == before
    assert again.rows == finished[0].rows


def test_the_figures_name_files_and_not_where_they_were(finished, place):
    text = (finished[1] / "compare.json").read_text()
    assert str(place) not in text
    content = json.loads(text)
    assert (content["grid"]["models"], content["data"][0]["source"]) == (["net.pt"], "frames.npz")
    assert content["unpruned"][0]["sha256"] == file_sha256(place / "net.pt")


def test_an_outlook_says_what_would_be_done_and_writes_nothing(finished, place, tmp_path):
    states = run.cell_states(grid_of(place), finished[1], ModelOptions())
    assert {name for name, what in states.items() if what == "run"} == {cell.id for cell in finished[0].failed}
    fresh = run.cell_states(grid_of(place), tmp_path / "new", ModelOptions())
    assert set(fresh.values()) == {"run"}
    assert not (tmp_path / "new").exists()


def test_a_changed_grid_reuses_what_it_can(finished, place, tmp_path):
    out, name = tmp_path / "run", "net--frames--edgeprune--r0.25--s0"
    shutil.copytree(finished[1], out)
    before = of_cell(out, name)
    training = {"epochs": 1, "batch_size": 32, "learning_rate": 0.01}
    compare(small(place, training=training), out)
    after = of_cell(out, name)
    same = {stage for stage in before if before[stage] == after[stage]}
    assert same == {stages.PLAN, stages.PRUNE, "06-bench"}  # the placeholder is the same file, measured before
    assert len(after[stages.TRAIN]["record"]["epochs"]) == 1


def test_interrupted_within_a_training_it_ends_with_the_same_weights(finished, place, tmp_path, monkeypatch):
    out, name = tmp_path / "run", "net--frames--edgeprune--r0.25--s0"
    real, saved = finetune.save, []

    def stop_after_one(*arguments):
        real(*arguments)
        saved.append(arguments)
        if len(saved) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(finetune, "save", stop_after_one)
    grid = small(place, networks=[{"name": "gru2"}])
    with pytest.raises(KeyboardInterrupt):
        compare(grid, out)
    assert (out / "cells" / name / "training.state").is_file()
    compare(grid, out)
    assert len(saved) == 2 + 2  # two epochs of the cell in all, two of the reference network
    one, other = (
        checkpoints.load(folder / "cells" / name / "pruned.pt").model.state_dict() for folder in (out, finished[1])
    )
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert not list(out.rglob("*.state"))


def test_channels_find_out_what_they_are_matched_to_and_come_after_layers_too(finished, place, tmp_path):
    methods = ["l1", "sfp", {"name": "both", "then_width": 0.8}]
    comparison = compare(small(place, methods=methods), tmp_path)
    expected = next(cell.cost.macs for cell in finished[0].cells if cell.method == "l1")
    found = {cell.method: cell for cell in comparison.cells}
    assert found["l1"].cost.macs == expected
    assert 0.95 <= found["sfp"].cost.macs / found["l1"].cost.macs <= 1.05
    assert of_cell(tmp_path, found["l1"].id)[stages.MATCH]["record"] >= expected
    assert not (tmp_path / "cells" / "net--frames--edgeprune--r0.25--s0").exists()
    layers = next(cell for cell in finished[0].cells if cell.method == "edgeprune")
    assert found["both"].kept == layers.kept
    assert 0.95 * 0.8 <= found["both"].cost.macs / layers.cost.macs <= 0.8


def test_fewer_frames_to_choose_and_to_judge_by(place, tmp_path):
    data = {"path": ["frames.npz"], "test_frames": 16}
    training = {"epochs": 2, "batch_size": 32, "learning_rate": 0.01, "validation_frames": 8}
    comparison = compare(small(place, data=data, training=training), tmp_path)
    assert [cell.frames for cell in (*comparison.unpruned, *comparison.cells)] == [16] * 3
    for each in comparison.cells:
        assert each.top1 * 16 == pytest.approx(round(each.top1 * 16))
        assert [epoch.validation_top1 * 8 % 1 for epoch in each.curve] == [0, 0]
        assert len(np.load(tmp_path / "cells" / each.id / stages.RIGHT)) == 16


def test_soft_pruning_is_soft_for_half_of_the_epochs_and_continues_from_either_half(place, tmp_path, monkeypatch):
    real, saved = finetune.save, []

    def stop_after(path, key, state, parts):
        real(path, key, state, parts)
        saved.append(("soft" if "softly" in key else "cut", state.epoch))
        if len(saved) in stops:
            raise KeyboardInterrupt

    grid = small(place, methods=["sfp"], networks=None, training={"epochs": 5, "batch_size": 32, "learning_rate": 0.01})
    stops = ()
    whole = compare(grid, tmp_path / "whole").cells[0]
    monkeypatch.setattr(finetune, "save", stop_after)
    stops = (1, 3)  # in the soft half, and after the cut
    for _ in stops:
        with pytest.raises(KeyboardInterrupt):
            compare(grid, tmp_path / "resumed")
    resumed = compare(grid, tmp_path / "resumed").cells[0]
    folder = tmp_path / "resumed" / "cells" / resumed.id
    assert saved == [("soft", 1), ("soft", 2), ("cut", 1), ("cut", 2), ("cut", 3)]
    assert [each.epoch for each in resumed.curve] == [1, 2, 3, 4, 5]
    assert [each.train_loss for each in resumed.curve] == [each.train_loss for each in whole.curve]
    assert resumed.cost == whole.cost
    assert not list(folder.glob("training.s*"))


def test_the_released_choice_of_the_epoch_is_the_best_on_the_test_split(place, tmp_path):
    methods = [{"name": "theirs", "released": ["choice"]}]
    (figures, _) = compare(small(place, methods=methods), tmp_path).cells
    assert figures.top1 == pytest.approx(max(epoch.validation_top1 for epoch in figures.curve))


def test_no_epochs_leave_the_network_as_it_was_pruned(place, tmp_path):
    comparison = compare(small(place, training={"epochs": 0}, networks=["gru2"]), tmp_path)
    folder = tmp_path / "cells" / comparison.cells[0].id
    one, other = (checkpoints.load(folder / name).model.state_dict() for name in ("reassembled.pt", "pruned.pt"))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert comparison.cells[0].curve == ()


def test_distillation_frames_and_mixing_are_as_the_grid_says(place, tmp_path):
    methods = ["edgeprune", {"name": "alone", "distill": False}, {"name": "mixed", "mix": 0.25}]
    training = {"epochs": 1, "batch_size": 32, "learning_rate": 0.01, "frames": 64, "mix": 0.75}
    grid = small(place, methods=methods, training=training)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        real = finetune._Loop.epoch

        def epoch(self, *arguments):
            seen.append((self.feed.frames, self.learner.teacher is not None, self.recipe.mix))
            return real(self, *arguments)

        patch.setattr(finetune._Loop, "epoch", epoch)
        compare(grid, tmp_path)
    assert seen == [(64, True, 0.75), (64, False, 0.75), (64, True, 0.25), (64, False, 0.75)]


def test_a_plug_in_that_raises_costs_its_own_cell_and_its_traceback_is_kept(place, tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("no luck\nat all")

    monkeypatch.setattr(plan, "decide", broken)
    comparison = compare(small(place), tmp_path)
    assert [(cell.method, cell.reason) for cell in comparison.failed] == [("edgeprune", "RuntimeError: no luck")]
    assert [cell.method for cell in comparison.cells] == ["gru2"]
    log = (tmp_path / "cells" / comparison.failed[0].id / "log.txt").read_text()
    assert "in broken" in log


def test_a_comparison_without_a_single_cell_is_an_error_that_says_why(place, tmp_path):
    networks = [{"name": "gru2", "learning_rate": 1e30}]
    with pytest.raises(ModelError, match=r"none of the 1 cells was finished; gru2--frames.*diverged"):
        compare(grid_of(place, models=None, methods=None, seeds=[0], networks=networks), tmp_path)


def test_reference_networks_alone_are_measured_alone(place, tmp_path):
    comparison = compare(grid_of(place, models=None, methods=None, seeds=[0], networks=["gru2"]), tmp_path)
    (figures,) = comparison.cells
    assert (figures.latency.against, figures.latency.speedup, figures.loss) == (None, None, None)
    assert comparison.rows[0].on_front


def test_a_model_is_compared_on_the_data_that_fit_it(place, tmp_path):
    save_frames(tmp_path / "longer.npz", length=64)
    both = {"path": ["frames.npz", str(tmp_path / "longer.npz")]}
    worklist = run.worklist_of(grid_of(place, data=both, networks=["gru2"]), tmp_path, ModelOptions())
    assert {job.cell.data.name for job in worklist.jobs if job.cell.model} == {"frames"}
    assert {job.cell.data.name for job in worklist.jobs if job.cell.network} == {"frames", "longer"}
    assert "net is not compared on longer" in worklist.warnings[0]
    with pytest.raises(DataError, match="2 x 64"):
        run.worklist_of(grid_of(place, data={"path": [str(tmp_path / "longer.npz")]}), tmp_path, ModelOptions())


def test_impossible_settings_are_found_before_any_work(place, tmp_path):
    with pytest.raises(ConfigError, match="reference networks have no data"):
        run.worklist_of(grid_of(place, models=None, methods=None, data=None), tmp_path, ModelOptions())
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write"):
        compare(grid_of(place), tmp_path / "file" / "run")


def test_what_a_killed_worker_left_unfinished_is_removed(finished, place, tmp_path):
    job = next(job for job in [*_jobs(finished[1], place, tmp_path)] if job.cell.method)
    leftover = job.folder / begun_name(job.folder / "pruned.pt")
    leftover.write_text("half")
    assert ("on the test split" in attempt.attempt(job, synthetic.Silent(), 0), leftover.exists()) == (True, False)


def _jobs(folder, place, tmp_path):
    """The jobs of the finished comparison in a copy of its folder."""
    out = tmp_path / "run"
    shutil.copytree(folder, out)
    return run.worklist_of(grid_of(place), out, ModelOptions()).jobs
