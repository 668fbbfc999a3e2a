"""Where units are read; that similarity reads them right is tested with it."""

import pytest
import torch
from torch import nn

from edgeprune.errors import ModelError
from edgeprune.network.activations import read, taps_of
from edgeprune.records.pruning import LayerChain, Unit


def chain_of(*paths, steps=()):
    given = dict(steps)
    units = [Unit(index, path, "x", (), (), 0, 0, "", step=given.get(index)) for index, path in enumerate(paths)]
    return LayerChain("sha", tuple(units), 0, 0)


def outputs(model, chain, batch):
    with torch.no_grad():
        return read(model, taps_of(model, chain, batch), batch, torch.Tensor.clone)


class InCode(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.fc = nn.Conv1d(2, 2, 1), nn.Conv1d(2, 2, 1), nn.Linear(2, 3)

    def forward(self, x):
        x = torch.relu(x + self.first(x))
        x = torch.relu(x + self.second(x))
        return self.fc(x.mean(-1))


@torch.no_grad()
def test_a_unit_of_code_is_read_where_the_next_one_takes_it_in():
    model, batch = InCode(), torch.randn(5, 2, 7)
    steps = {0: ("", "there is"), 1: ("", "no such step")}
    first, second, answer = outputs(model, chain_of("first", "second", "fc", steps=steps), batch)
    after = torch.relu(batch + model.first(batch))
    assert torch.equal(first, after)
    assert torch.equal(second, torch.relu(after + model.second(after)).mean(-1))
    assert torch.equal(answer, model(batch))
    assert torch.equal(outputs(model, chain_of("first", "second", "fc"), batch)[0], model.first(batch))


@torch.no_grad()
def test_a_unit_of_code_is_read_at_its_last_step():
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.fc = Inside(), nn.Linear(5, 3)

        def forward(self, x, scale=2.0):
            x = torch.tanh(x * scale)
            return self.fc(torch.relu(self.inner(x=x)).mean(1))

    model, batch = Holder(), torch.randn(5, 2, 7)
    steps = enumerate([("", "mul"), ("inner", "relu"), ("", "relu"), ("", "fc")])
    found = outputs(model, chain_of(*["nowhere"] * 4, steps=steps), batch)
    scaled = batch * 2.0
    inside = torch.relu(torch.tanh(scaled) @ model.inner.first)
    last = torch.relu(inside @ model.inner.second)
    assert all(torch.equal(*pair) for pair in zip(found, [scaled, inside, last, model(batch)], strict=True))
    assert all("forward" not in vars(module) for module in model.modules())


class Repeated(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.again, self.fc = nn.Conv1d(2, 4, 1), nn.Conv1d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x):
        x = self.first(x)
        for _ in range(3):
            x = torch.tanh(self.again(x))
        return self.fc(x.mean(-1))


@torch.no_grad()
def test_each_unit_of_a_shared_module_is_read_in_its_own_call():
    model, batch = Repeated(), torch.randn(5, 2, 7)
    found = outputs(model, chain_of("first", "again", "again", "again", "fc"), batch)
    x = model.first(batch)
    expected = [x]
    for _ in range(3):
        expected.append(model.again(x))
        x = torch.tanh(expected[-1])
    assert all(torch.equal(output, wanted) for output, wanted in zip(found, [*expected, model(batch)], strict=True))


def test_a_module_called_more_often_than_it_has_units_is_not_read():
    with pytest.raises(ModelError, match=r"unit 1 \(again\) cannot be read: none of its modules runs just for it"):
        taps_of(Repeated(), chain_of("first", "again", "nowhere"), torch.randn(4, 2, 7))


class Inside(nn.Module):
    """Two units in the code of one module, which has no modules of its own."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(7, 6)), nn.Parameter(torch.randn(6, 5))

    def forward(self, x):
        return torch.relu(x @ self.first) @ self.second


@torch.no_grad()
def test_what_a_module_puts_out_is_the_output_of_the_last_unit_in_it():
    model, batch = nn.Sequential(nn.Conv1d(2, 2, 1), Inside(), nn.Flatten()), torch.randn(5, 2, 7)
    *_, last, _ = outputs(model, chain_of("0", "1", "2"), batch)
    assert torch.equal(last, model[:2](batch))
    with pytest.raises(ModelError, match=r"unit 1 \(1\) cannot be read"):
        outputs(model, chain_of("0", "1", "1", "2"), batch)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_any_number_of_frames_keeps_its_shape(count):
    model, batch = nn.Sequential(nn.Conv1d(2, 4, 3), nn.Flatten()), torch.randn(count, 2, 7)
    shapes = [tuple(output.shape) for output in outputs(model, chain_of("0", "1"), batch)]
    assert shapes == [(count, 4, 5), (count, 20)]


class Folded(nn.Module):
    """Folds time into the axis of the frames, as layers that look at each sample alone do."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)

    def forward(self, x):
        return self.layer(x.transpose(1, 2).reshape(-1, 2)).reshape(len(x), -1)


@torch.no_grad()
def test_frames_that_were_folded_with_time_are_told_apart_again():
    model, batch = Folded(), torch.randn(5, 2, 7)
    (output,) = outputs(model, chain_of("layer"), batch)
    assert torch.equal(output, model(batch).reshape(5, 7, 3))


def test_no_hooks_are_left():
    model = InCode()
    outputs(model, chain_of("first", "second", "fc"), torch.randn(4, 2, 7))
    assert all(not (part._forward_hooks or part._forward_pre_hooks) for part in model.modules())


def test_a_unit_that_nothing_can_be_read_of():
    with pytest.raises(ModelError, match=r"unit 0 \(missing\) cannot be read"):
        taps_of(InCode(), chain_of("missing", "elsewhere", "fc"), torch.randn(4, 2, 7))
