"""What every criterion promises, also one that is added later."""

import contextlib
import copy
import functools
import math
from dataclasses import replace

import pytest
import synthetic
import torch
from judged import CLASSES, LENGTH, frames, subject_of, trained
from torch import nn

from edgeprune import registry
from edgeprune.protocols import Search
from edgeprune.prune.planning import allot

NAMES = registry.names("criteria")


class InCode(nn.Module):
    """Residual units written out in the network's own code."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv1d(2, 6, 3, padding=1)
        self.first, self.second = nn.Conv1d(6, 6, 3, padding=1), nn.Conv1d(6, 6, 3, padding=1)
        self.norm = nn.BatchNorm1d(6)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.first(x))
        x = torch.relu(x + self.norm(self.second(x)))
        return self.fc(x.mean(-1))


class Checked(InCode):
    """The same where `torch.fx` cannot follow the code, since it looks at shapes."""

    def forward(self, x):
        assert x.size(1) == 2, "I and Q"
        if x.dim() == 4:
            x = x.squeeze(1)
        return super().forward(x)


class Recurrent(nn.Module):
    """A stack of two recurrent layers in one module."""

    def __init__(self):
        super().__init__()
        self.layers = nn.GRU(6, 6, num_layers=2, batch_first=True)
        self.stem, self.fc = nn.Conv1d(2, 6, 3), nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.fc(self.layers(torch.relu(self.stem(x)).transpose(1, 2))[0][:, -1])


class Narrowing(nn.Module):
    """A unit that changes the shape, so that the layer after it is rebuilt when it goes."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Conv1d(inner, outer, 3, padding=1), nn.BatchNorm1d(outer), nn.ReLU(inplace=True))
                for inner, outer in ((2, 4), (4, 6), (6, 6), (6, 6))
            )
        )
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.fc(self.layers(x).mean(-1))


MODELS = {"trained": trained, "code": InCode, "checked": Checked, "recurrent": Recurrent, "narrowing": Narrowing}


@functools.cache
def judged(name):
    torch.manual_seed(5)
    return subject_of(trained() if name == "trained" else synthetic.shaken(MODELS[name]()))


@pytest.fixture(params=MODELS)
def subject(request):
    """A network, its chain and frames. Read only: it is shared."""
    return judged(request.param)


@pytest.fixture(params=NAMES)
def criterion(request):
    return registry.get("criteria", request.param)


def test_every_droppable_unit_has_a_score_and_no_other(criterion, subject):
    found = criterion.scores(subject)
    assert len(found) > 1
    assert found.keys() == set(subject.chain.droppable)
    assert all(type(score) is float and math.isfinite(score) for score in found.values())


def test_scores_are_the_same_again_and_leave_no_trace(criterion, subject):
    torch.rand(1)  # away from the state right after any seed
    before, random, threads = synthetic.frozen(subject.model), torch.get_rng_state(), torch.get_num_threads()
    data = [part.clone() for part in (subject.train.iq, subject.validation.iq)]
    first = criterion.scores(subject)
    assert torch.equal(torch.get_rng_state(), random)
    torch.rand(3)
    assert criterion.scores(subject) == first
    assert synthetic.unchanged(subject.model, before)
    assert all(parameter.grad is None for parameter in subject.model.parameters())
    assert all(not (module._forward_hooks or module._forward_pre_hooks) for module in subject.model.modules())
    assert torch.is_grad_enabled()
    assert torch.get_num_threads() == threads
    assert all(map(torch.equal, data, (subject.train.iq, subject.validation.iq)))


@pytest.mark.parametrize("name", NAMES)
def test_the_network_is_judged_in_evaluation_mode_and_left_in_its_own(name):
    subject = replace(judged("trained"), model=copy.deepcopy(trained()))
    found = registry.get("criteria", name)
    expected = found.scores(subject)
    subject.model.train()
    subject.model.stem.eval()
    before = synthetic.frozen(subject.model)
    assert found.scores(subject) == expected
    if isinstance(found, Search):
        found.choose(subject, [subject.chain.droppable], [1])
    assert synthetic.unchanged(subject.model, before)


class Bars:
    """A progress that keeps every bar: its total, and how far it came."""

    def __init__(self):
        self.bars = []

    def note(self, text): ...

    @contextlib.contextmanager
    def track(self, label, total):
        self.bars.append([total, 0])
        yield self.advance

    def advance(self, steps, text):
        self.bars[-1][1] += steps


def test_work_that_was_announced_is_done(criterion, subject):
    progress = Bars()
    criterion.scores(replace(subject, progress=progress))
    if isinstance(criterion, Search):
        criterion.choose(replace(subject, progress=progress), [subject.chain.droppable], [1])
    assert all(total == done for total, done in progress.bars)


@pytest.mark.parametrize("keep", [1, 2])
def test_a_search_keeps_as_many_as_it_is_told(criterion, subject, keep):
    assert isinstance(criterion, Search) == callable(getattr(criterion, "choose", None))
    if not isinstance(criterion, Search):
        return
    units = list(subject.chain.droppable)
    segments = [units[:1], units[1:]]
    counts = allot([len(segment) for segment in segments], keep)
    torch.rand(1)
    before, random = synthetic.frozen(subject.model), torch.get_rng_state()
    kept = criterion.choose(subject, segments, counts)
    assert [len(kept & set(segment)) for segment in segments] == counts
    assert len(kept) == keep
    assert criterion.choose(subject, segments, counts) == kept
    assert synthetic.unchanged(subject.model, before)
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("name", NAMES)
def test_only_what_needs_data_looks_at_them(name):
    subject, found = judged("trained"), registry.get("criteria", name)
    other = replace(subject, train=frames(9, LENGTH, 4), validation=frames(9, LENGTH, 5))
    same = found.scores(subject) == found.scores(other)
    assert same == (name in {"random", "uniform", "synflow", "synflow-search"})


@pytest.mark.parametrize("name", NAMES)
def test_code_that_looks_at_shapes_is_scored_as_without(name):
    criterion = registry.get("criteria", name)
    plain, checked = judged("code"), judged("checked")
    assert [unit.edit for unit in checked.chain.units] == [unit.edit for unit in plain.chain.units]
    assert criterion.scores(checked) == criterion.scores(plain)
    if isinstance(criterion, Search):
        segments = [range(len(plain.chain.units))]
        assert criterion.choose(checked, segments, [1]) == criterion.choose(plain, segments, [1])
