"""A network in memory is pruned there, and comes to the same as one that goes through files."""

import copy
from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch

import edgeprune as ep
from edgeprune.network import checkpoint as checkpoints
from edgeprune.protocols import NullProgress
from edgeprune.tasks import plan as planning
from edgeprune.tasks.plan import PlanSettings


@pytest.fixture
def no_files(monkeypatch, tmp_path):
    """Makes writing any file an error."""

    def refuse(*_arguments, **_options):
        raise AssertionError("a file was written")

    # not `replacing`: whoever imports it meanwhile would keep what stands in for it
    for place in ("os.replace", "tempfile.mkdtemp", "torch.save", "numpy.savez"):
        monkeypatch.setattr(place, refuse)


def test_it_is_pruned_without_a_file_and_left_as_it_was(model, frames, no_files):
    before = synthetic.frozen(model.module)
    small = ep.prune(model, ep.plan(model, frames, keep_ratio=0.4), frames)
    assert small.parameters < model.parameters
    assert synthetic.unchanged(model.module, before)


def test_it_comes_to_the_same_as_through_files(files, tmp_path):
    data = files / "frames.npz"
    loaded = checkpoints.load(files / "model.pt")
    settings = PlanSettings(keep_ratio=0.5)
    planning.write_plan(loaded, data, settings, tmp_path / "plan.json", NullProgress())
    planning.prune(loaded, tmp_path / "plan.json", tmp_path / "pruned.pt", data, settings, NullProgress())
    expected = checkpoints.load(tmp_path / "pruned.pt")

    wrapped = ep.wrap(
        checkpoints.load(files / "model.pt").model,
        classes=loaded.classes,
        normalisation="rms",
        input_shape=(loaded.input.channels, loaded.input.length),
    )
    plan = ep.plan(wrapped, ep.read_frames(data), keep_ratio=0.5)
    small = ep.prune(wrapped, plan, data)
    assert plan.kept == expected.plan.kept
    state = small.module.state_dict()
    assert state.keys() == expected.model.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in expected.model.state_dict().items())


def test_a_plan_from_a_file_prunes_the_model_of_that_file(files, tmp_path):
    model, data = ep.load(files / "model.pt"), files / "frames.npz"
    plan = ep.plan(model, data, keep_ratio=0.5)
    plan.save(tmp_path / "plan.json")
    ours, theirs = ep.prune(model, plan, data), ep.prune(model, tmp_path / "plan.json", data)
    x = synthetic.signals()
    assert torch.equal(ours.module(x), theirs.module(x))


def test_a_network_in_training_mode_stays_in_it(model, frames):
    model.module.train()
    small = ep.prune(model, ep.plan(model, frames, keep_ratio=0.4), frames)
    assert model.module.training
    assert not small.module.training


def test_what_is_trained_since_is_another_model(model, frames):
    plan = ep.plan(model, frames, keep_ratio=0.4)
    first = model.sha256
    with torch.no_grad():
        next(model.module.parameters()).add_(1e-3)
    assert model.sha256 != first
    with pytest.raises(ep.ConfigError, match="the plan was made for a model with sha256"):
        ep.prune(model, plan, frames)


def test_a_loop_of_ones_own_counts(model, frames):
    small = ep.prune(model, ep.plan(model, frames, keep_ratio=0.4), frames)
    x, y = small.tensors(frames, "train")
    before = ep.evaluate(small, frames, split="train").top1
    optimiser = torch.optim.Adam(small.module.parameters(), lr=3e-3)
    small.module.train()
    for _ in range(40):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(small.module(x), y).backward()
        optimiser.step()
    after = ep.evaluate(small, frames, split="train")
    with torch.no_grad():
        right = small.module.eval()(x).argmax(1) == y
    assert after.top1 == pytest.approx(right.float().mean().item())
    assert after.top1 > before


def test_what_a_module_takes(model):
    raw = 7.0 * np.random.default_rng(0).standard_normal((3, 2, synthetic.LENGTH)).astype(np.float32)
    power = (raw.astype(np.float64) ** 2).sum(axis=(1, 2), keepdims=True) / synthetic.LENGTH
    scaled = torch.from_numpy((raw / np.sqrt(power)).astype(np.float32))
    assert "each divided by its root mean square" in repr(model)
    peak = ep.wrap(model.module, classes=model.classes, normalisation="peak", input_shape=model.input_shape)
    assert "x / max over n of sqrt(I[n]² + Q[n]²)" in repr(peak)
    assert model.as_module("normalised") is model.module
    on_raw = model.as_module("raw")
    torch.testing.assert_close(on_raw(torch.from_numpy(raw)), model.module(scaled), rtol=1e-4, atol=1e-5)
    assert {id(each) for each in on_raw.parameters()} == {id(each) for each in model.module.parameters()}


def test_tensors_are_what_the_module_takes(model, frames):
    x, y = model.tensors(frames, "test")
    raw, same = model.tensors(frames, "test", frames="raw")
    assert torch.equal(y, same)
    torch.testing.assert_close(x.square().mean(dim=(1, 2)), torch.full((len(x),), 0.5))
    assert torch.equal(model.module(x), model.as_module("raw")(raw))
    splits = [len(model.tensors(frames, split)[1]) for split in ("train", "validation", "test")]
    assert sum(splits) == len(frames)


def test_fine_tuning_leaves_the_model_and_the_teacher(model, frames):
    small = ep.prune(model, ep.plan(model, frames, keep_ratio=0.4), frames)
    kept = [synthetic.frozen(each.module) for each in (model, small)]
    told = synthetic.Silent()
    tuned = ep.finetune(small, teacher=model, epochs=2, batch_size=32, progress=told)
    assert all(synthetic.unchanged(each.module, was) for each, was in zip((model, small), kept, strict=True))
    assert tuned.sha256 != small.sha256
    assert len(tuned.record.metrics["training"]["epochs"]) == 2
    assert told.said


def test_it_is_saved_by_torch_and_as_a_model_file(model, frames, tmp_path):
    small = ep.prune(model, ep.plan(model, frames, keep_ratio=0.4), frames)
    x = synthetic.signals()
    expected = small.module(x)
    torch.save(small.module, tmp_path / "module.pt")
    assert torch.equal(torch.load(tmp_path / "module.pt", weights_only=False)(x), expected)
    bare = copy.deepcopy(small.module)
    bare.load_state_dict(small.module.state_dict())
    assert torch.equal(bare(x), expected)
    saved = small.save(tmp_path / "small.pt")
    assert saved.sha256 == checkpoints.file_sha256(tmp_path / "small.pt")
    with pytest.raises(ep.ConfigError, match="pickle"):
        ep.load(tmp_path / "small.pt")
    again = ep.load(tmp_path / "small.pt", trust_pickle=True)
    assert torch.equal(again.module(x), expected)
    assert again.pruned_by == small.pruned_by


def test_a_network_that_cannot_be_pickled_says_so(tmp_path):
    class Local(torch.nn.Module):
        def forward(self, x):
            return x.mean(dim=2)

    model = ep.wrap(Local(), classes=["a", "b"], normalisation="none", input_shape=(2, 8))
    with pytest.raises(ep.ModelError, match="Local cannot be written to a file") as caught:
        model.save(tmp_path / "local.pt")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "local.pt").exists()


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"module": 3}, ep.ConfigError, "`module` is of type int"),
        ({"classes": "abc"}, ep.ConfigError, "`classes` are 'abc'"),
        ({"classes": ["a", "a", "b"]}, ep.ConfigError, "Give each name once"),
        ({"classes": ["a", "b"]}, ep.ModelError, "the network has 3 outputs, and `classes` names 2"),
        (
            {"normalisation": "z-score"},
            ep.ConfigError,
            "`normalisation` is 'z-score'. Allowed: 'none', 'rms', 'rms-rows'",
        ),
        ({"input_shape": (3, 32)}, ep.ModelError, "cannot read frames"),
    ],
)
def test_what_is_no_network_is_refused(given, kind, said):
    usual = {"module": synthetic.small_network(), "classes": ["a", "b", "c"], "normalisation": "rms"}
    with pytest.raises(kind) as caught:
        ep.wrap(**(usual | {"input_shape": (2, 32)} | given))
    assert said in str(caught.value)


def test_frames_in_memory_are_those_of_their_file(files):
    read = ep.read_frames(files / "frames.npz")
    made = ep.wrap_frames(read.iq, read.labels, classes=read.classes, snrs=read.snrs)
    assert np.array_equal(made.iq, read.iq)
    assert made.classes == read.classes
    assert repr(made) == "150 frames of 2×32 samples, 3 classes, SNR -4 to 10 dB: frames in memory"
    other = ep.wrap_frames(read.iq * 2, read.labels, classes=read.classes, snrs=read.snrs)
    assert other.sha256 != made.sha256
    with pytest.raises(ep.DataError, match="holds labels"):
        ep.wrap_frames(read.iq, read.labels, classes=read.classes[:2])


def test_a_network_is_built_by_a_function_with_arguments_and_the_weights_that_are_named(tmp_path):
    lines = ("from torch import nn", "def build(width):", "    parts = nn.Conv1d(2, width, 3), nn.Conv1d(width, 3, 3)")
    lines += ("    return nn.Sequential(*parts, nn.AdaptiveAvgPool1d(1), nn.Flatten())",)
    (tmp_path / "net.py").write_text("\n".join(lines))
    parts = torch.nn.Conv1d(2, 5, 3), torch.nn.Conv1d(5, 3, 3)
    network = torch.nn.Sequential(*parts, torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten())
    other = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    torch.save({"first": other, "second": network.state_dict()}, tmp_path / "weights.pt")
    given = {"factory": f"{tmp_path}/net.py:build", "classes": synthetic.CLASSES, "input_shape": (2, 32)}
    loaded = ep.load(tmp_path / "weights.pt", **given, factory_arg={"width": 5}, weights_key="second")
    x = synthetic.signals(4, 32)
    assert torch.equal(loaded.module(x), network(x))
    with pytest.raises(ep.EdgepruneError, match=r"first.*second"):
        ep.load(tmp_path / "weights.pt", **given, factory_arg={"width": 5})
    with pytest.raises(ep.EdgepruneError, match="needs width"):
        ep.load(tmp_path / "weights.pt", **given, weights_key="second")


@pytest.mark.parametrize(("limit", "outcome"), [(0.2, "pass"), (0.1, "fail")])
def test_a_latency_budget_is_judged(tmp_path, limit, outcome):
    report = Path(__file__).parents[2] / "docs/results/resnet56-1d-third/report.json"
    (tmp_path / "budget.toml").write_text(f"[targets.host-cpu]\nmax_median_ms = {limit}\n")
    found = ep.check(report, tmp_path / "budget.toml")  # its median is 0.134 ms
    assert (found.outcome, bool(found)) == (outcome, outcome == "pass")
    assert "max_median_ms" in repr(found)


def test_units_are_chosen_within_a_latency_budget(model, frames, files):
    chain, target = ep.units(model), str(files / "quick-cpu.toml")
    generous = ep.plan(model, frames, latency_budget=1000.0, target=target)
    assert len(generous.kept) == len(chain.units)
    with pytest.raises(ep.ConfigError, match="budget"):
        ep.plan(model, frames, latency_budget=1e-9, target=target)
