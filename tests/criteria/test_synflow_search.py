"""The search against brute force over networks built one by one, and against optima known in closed form."""

import copy
import itertools
import math
import re

import pytest
import synthetic
import torch
from judged import chain_of, subject_of
from torch import nn

from edgeprune.criteria import synflow_search
from edgeprune.criteria._fresh import fresh
from edgeprune.criteria._synflow import fronts
from edgeprune.criteria._synflow.flow import ones
from edgeprune.criteria._synflow.fronts import Front, Least, least
from edgeprune.criteria._synflow.growth import Flow
from edgeprune.criteria._synflow.stages import stages_of
from edgeprune.criteria.synflow_search import Probe, criterion
from edgeprune.errors import ConfigError, ModelError
from edgeprune.models.resnet import ResNet
from edgeprune.network.tracing import Code


def resnet(dims=1, blocks=3, seed=0):
    """A small residual network away from its initial values, and the chain of its blocks."""
    model = synthetic.shaken(ResNet(dims, blocks, 3), seed)
    with torch.no_grad():
        for index, block in enumerate(model.blocks):
            block.conv2.weight *= 0.25 * (1 + 7 * index % 5)
    return model, chain_of(*(f"blocks.{index}" for index in range(3 * blocks)), shortcuts=(blocks, 2 * blocks))


def flow_of(model, paths, length, seed):
    """SynFlow of a probe built from scratch: fresh network, modules swapped in, magnitudes, one backward pass."""
    probe = fresh(model, seed)
    for path in "+".join(paths).split("+") if paths else ():
        probe.set_submodule(path, copy.deepcopy(model.get_submodule(path)))
    probe.double().eval()
    for module in probe.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.zero_()
    with torch.no_grad():
        for value in probe.parameters():
            value.abs_()
    probe(torch.ones(1, 2, length, dtype=torch.float64)).sum().backward()
    return sum(float((value.grad * value.detach()).abs().sum()) for value in probe.parameters())


def by_brute_force(subject, segment, count):
    """The set of least flow, every one of them built and judged on its own."""
    path_of = {unit.index: unit.path for unit in subject.chain.units}
    return min(
        itertools.combinations(segment, count),
        key=lambda chosen: flow_of(
            subject.model, [path_of[index] for index in chosen], subject.shape.length, subject.seed
        ),
    )


@pytest.fixture(autouse=True)
def _weights_that_no_fresh_probe_has():
    torch.manual_seed(11)


def test_a_probe_is_what_it_is_said_to_be():
    model, chain = resnet()
    probe = Probe(subject_of(model, chain, seed=5))
    for chosen in ((), (2,), (0, 3, 8)):
        expected = flow_of(model, [f"blocks.{index}" for index in chosen], 16, 5)
        assert probe.score(chosen) == pytest.approx(expected, rel=1e-12)


def test_every_set_begins_with_the_same_fresh_probe():
    model, chain = resnet()
    probe = Probe(subject_of(model, chain))
    first = probe.score((1, 2))
    assert probe.score((4, 5, 6)) != first
    assert probe.score((1, 2)) == first


@pytest.mark.parametrize(("dims", "blocks"), [(1, 2), (2, 2)])
@pytest.mark.parametrize("count", range(1, 6))
def test_the_growth_of_the_flow_is_the_score_and_the_least_of_all(dims, blocks, count):
    model, chain = resnet(dims, blocks, seed=count)
    probe = Probe(subject_of(model, chain))
    owners = {name: unit for unit, state in probe.trained.items() for name in state}
    trained = {name: value for state in probe.trained.values() for name, value in state.items()}
    stages = stages_of(probe.code, owners)
    found = least(stages, count, ones(probe.model, probe.shape), probe.fresh, trained, lambda _steps, _text: None)
    every = {chosen: probe.score(chosen) for chosen in itertools.combinations(range(3 * blocks), count)}
    assert found.score == pytest.approx(every[found.chosen], rel=1e-12)
    assert found.score == pytest.approx(min(every.values()), rel=1e-12)
    assert found.flows < 2 * len(stages) * len(every)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_segment_against_brute_force(seed):
    model, chain = resnet(seed=seed)
    subject = subject_of(model, chain, length=8, seed=seed)
    kept = criterion.choose(subject, [[0, 1, 2, 3, 4], [5, 6, 7, 8]], [2, 3])
    assert kept == {*by_brute_force(subject, [0, 1, 2, 3, 4], 2), *by_brute_force(subject, [5, 6, 7, 8], 3)}


def test_a_network_in_training_mode_is_searched_in_evaluation_mode():
    model, chain = resnet()
    subject = subject_of(model, chain, length=8)
    told = []
    subject.progress.note = told.append
    expected = criterion.choose(subject, [range(9)], [4])
    assert "found with" in told[0]
    model.train()
    assert criterion.choose(subject, [range(9)], [4]) == expected
    assert told[1] == told[0]
    assert all(module.training for module in model.modules())


class Chained(nn.Module):
    """Linear layers one after another on a flattened frame."""

    def __init__(self, count, width, between=nn.Identity):
        super().__init__()
        self.head = nn.Linear(6, width, bias=False)
        self.layers = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(count))
        self.between = between()

    def forward(self, x):
        x = self.head(x.flatten(1))
        for layer in self.layers:
            x = self.between(layer(x))
        return x


def layers(count):
    return chain_of(*(f"layers.{index}" for index in range(count)))


def test_155_million_sets_of_single_numbers():
    # One number a layer: S = (layers) · Π |w|, so the best set has the least ratios of trained to fresh.
    model = Chained(30, 1)
    subject = subject_of(model, layers(30), length=3, seed=4)
    renewed = fresh(model, 4)
    ratios = [abs(model.layers[k].weight.item() / renewed.layers[k].weight.item()) for k in range(30)]
    assert math.comb(30, 15) == 155_117_520
    assert criterion.choose(subject, [range(30)], [15]) == set(sorted(range(30), key=ratios.__getitem__)[:15])


def test_nothing_and_everything_need_no_search():
    subject = subject_of(Chained(3, 2), layers(3), length=3)
    assert criterion.choose(subject, [[0, 1], [2]], [2, 0]) == {0, 1}


def test_units_that_must_stay_are_no_choice():
    subject = subject_of(Chained(5, 3), chain_of(*(f"layers.{k}" for k in range(5)), fixed=(1, 4)), length=3)
    assert criterion.choose(subject, [range(5)], [3]) == {0, 2, 3}
    assert criterion.scores(subject).keys() == {0, 2, 3}


def test_the_score_of_a_unit_is_that_of_the_probe_with_it_alone():
    model, chain = resnet()
    found = criterion.scores(subject_of(model, chain, seed=2))
    assert found == {k: pytest.approx(-flow_of(model, [f"blocks.{k}"], 16, 2), rel=1e-12) for k in range(9)}


def test_says_how_many_sets_there_were_and_how_many_were_looked_at():
    told = []
    subject = subject_of(Chained(9, 3), layers(9), length=3)
    subject.progress.note = told.append
    criterion.choose(subject, [range(6), range(6, 9)], [3, 1])
    found = [
        re.fullmatch(r"segment (\d): best of (\d+) sets of (\d) of (\d) units, found with (\d+) partial ones", line)
        for line in told
    ]
    assert [match.groups()[:4] for match in found] == [("1", "20", "3", "6"), ("2", "3", "1", "3")]
    assert all(int(match.group(5)) > 0 for match in found)


class Pooled(nn.Module):
    """A maximum before the layers, or after them."""

    def __init__(self, first):
        super().__init__()
        self.first = first
        self.conv = nn.Conv1d(2, 3, 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv1d(3, 3, 3, padding=1) for _ in range(4))
        self.pool = nn.MaxPool1d(2)

    def forward(self, x):
        x = self.conv(x)
        if self.first:
            x = self.pool(x)
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x if self.first else self.pool(x)


@pytest.mark.parametrize(("first", "how"), [(True, "found with"), (False, "6 evaluated (pool is no affine map")])
def test_a_maximum_may_come_before_the_choice_only(first, how):
    told = []
    subject = subject_of(Pooled(first), layers(4), length=8)
    subject.progress.note = told.append
    assert criterion.choose(subject, [range(4)], [2]) == set(by_brute_force(subject, range(4), 2))
    assert how in told[0]


def test_units_of_several_modules():
    parts = [
        part
        for inner in (2, 3, 3, 3)
        for part in (nn.Conv1d(inner, 3, 3, padding=1), nn.ReLU(), nn.BatchNorm1d(3), nn.LeakyReLU())
    ]
    model = synthetic.shaken(nn.Sequential(*parts))
    subject = subject_of(model, chain_of(*(f"{4 * k}+{4 * k + 2}" for k in range(4))), length=6)
    told = []
    subject.progress.note = told.append
    for count in (1, 2, 3):
        chosen = criterion.choose(subject, [range(4)], [count])
        assert chosen == set(by_brute_force(subject, range(4), count))
    assert all("found with" in line for line in told)


class Shift(nn.Module):
    """Adds its weights to its input, in place."""

    def __init__(self):
        super().__init__()
        self.by = nn.Parameter(torch.randn(4))

    def forward(self, x):
        return x.add_(self.by)


def test_units_that_work_in_place():
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(6, 4), *(part for _ in range(3) for part in (Shift(), nn.Linear(4, 4)))
    )
    subject = subject_of(model, chain_of(*map(str, range(2, 8))), length=3)
    told = []
    subject.progress.note = told.append
    for count in range(1, 6):
        chosen = criterion.choose(subject, [range(6)], [count])
        assert chosen == set(by_brute_force(subject, range(6), count))
    assert all("found with" in line for line in told)


class Entangled(nn.Module):
    """Two units side by side, so that neither is before the other."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))

    def forward(self, x):
        x = x.flatten(1)
        return self.layers[2](self.layers[0](x) + self.layers[1](x))


class Twice(nn.Module):
    """A unit used before and after another."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))

    def forward(self, x):
        return self.layers[0](self.layers[1](self.layers[0](x.flatten(1))))


class Shifted(nn.Module):
    """A constant of its own code, which is no magnitude."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))

    def forward(self, x):
        return self.layers[1](self.layers[0](x.flatten(1)) + torch.full((6,), -1.0))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Chained(3, 6, nn.Tanh), "between is no affine map"),
        (Entangled(), "units 0, 1 do not follow one another"),
        (Twice(), "the weights of a unit are used in several places"),
        (Shifted(), "is no affine map"),
    ],
)
def test_what_the_search_assumes_is_found_out(model, reason):
    with pytest.raises(ModelError, match=reason):
        stages_of(
            Code(model.eval(), (2, 8)), {f"layers.{k}.{part}": k for k in range(3) for part in ("weight", "bias")}
        )


def test_other_networks_are_judged_set_by_set():
    subject = subject_of(Chained(5, 4, nn.Tanh), layers(5), length=3)
    assert criterion.choose(subject, [range(5)], [2]) == set(by_brute_force(subject, range(5), 2))


def test_too_many_sets_to_judge_one_by_one():
    subject = subject_of(Chained(16, 2, nn.Tanh), layers(16), length=3)
    with pytest.raises(ConfigError, match=r"12,870 sets of units 0 to 15 one by one.*\(between is no affine") as caught:
        criterion.choose(subject, [range(16)], [8])
    assert "`criterion='synflow'`" in caught.value.hint


def test_a_flow_that_is_not_what_was_promised_is_not_trusted(monkeypatch):
    told = []
    subject = subject_of(Chained(4, 3), layers(4), length=3)
    subject.progress.note = told.append
    monkeypatch.setattr(synflow_search, "least", lambda *_: Least((0, 1), 1.0, 1))
    assert criterion.choose(subject, [range(4)], [2]) == set(by_brute_force(subject, range(4), 2))
    assert "6 evaluated (its flow is not what its operations promise)" in told[0]


def test_more_partial_choices_than_fit(monkeypatch):
    monkeypatch.setattr(fronts, "_MOST_BYTES", 3 * 2 * 16 * 16 * 8)  # of 16 channels and 16 samples, twice
    model, chain = resnet()
    with pytest.raises(ConfigError, match="and memory for 3 is allowed"):
        criterion.choose(subject_of(model, chain), [range(9)], [4])


def test_a_flow_beyond_double_precision_is_a_model_error():
    model = Chained(12, 2)
    for parameter in model.parameters():
        nn.init.constant_(parameter, 1e38)
    with pytest.raises(ModelError, match="beyond double precision"):
        criterion.choose(subject_of(model, layers(12), length=3), [range(12)], [11])


def test_what_another_flow_is_below_of_is_dropped():
    value = torch.tensor([[1.0, 4.0], [2.0, 2.0], [2.0, 4.0], [3.0, 5.0], [2.0, 2.0]], dtype=torch.float64)
    growth = torch.tensor([[5.0], [5.0], [9.0], [4.0], [5.0]], dtype=torch.float64)
    front = Front(Flow(value[:4], growth[:4]), ((0,), (1,), (2,), (3,)))
    left = fronts._undominated([front, Front(Flow(value[4:], growth[4:]), ((4,),))])
    assert left.choices == ((1,), (0,), (3,))  # (2,) is above (0,) and (1,), (3,) grows less, and (4,) equals (1,)
    assert torch.equal(left.flow.value, value[[1, 0, 3]])
    assert torch.equal(left.flow.growth, growth[[1, 0, 3]])
