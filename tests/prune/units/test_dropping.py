"""How each unit can be dropped: what was tried, and the reason in words."""

from collections import namedtuple
from dataclasses import dataclass

import pytest
import synthetic
import torch
from synthetic import Doing
from torch import nn
from torch.nn import functional

from edgeprune.network.edits import apply_edits
from edgeprune.prune.units.chain import layers_of
from edgeprune.prune.units.core import Core
from edgeprune.prune.units.trace import Node
from edgeprune.records.pruning import Edit, InputSpec

LENGTH = 16
Both = namedtuple("Both", "mean result")


@dataclass
class Made:
    hidden: torch.Tensor | None = None
    mean: torch.Tensor | None = None
    layer: str = ""


class Network(nn.Module):
    """A stem, something in the middle, and a head, joined by code."""

    def __init__(self, code, **parts):
        super().__init__()
        self.code = code
        self.stem, self.fc = nn.Conv1d(2, 4, 3, padding=1), nn.Linear(4 * LENGTH, 3)
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.fc(self.code(self, functional.relu(self.stem(x))).flatten(1))


class Named(nn.Module):
    """A block that is called by the names of its inputs."""

    def __init__(self):
        super().__init__()
        self.conv = conv()

    def forward(self, x, scale):
        return {"made": functional.relu(self.conv(x) * scale)}


def conv(width=4, out=4, **options):
    return nn.Conv1d(width, out, 3, padding=1, **options)


def middle(code, **parts):
    """The units between stem and head of a network that is left as it was; what they can be dropped by works."""
    model = synthetic.shaken(Network(code, **parts))
    before = synthetic.frozen(model)
    units = layers_of(model, InputSpec(2, LENGTH), "").units
    assert synthetic.unchanged(model, before)
    for unit in units:
        if unit.edit is not None:
            assert apply_edits(model, [unit.edit], (2, LENGTH))(synthetic.signals(3, LENGTH)).shape == (3, 3)
    return units[1:-1]


class TestModules:
    def test_one_module_of_the_same_shape(self):
        (unit,) = middle(lambda self, x: self.block(x), block=nn.Sequential(conv(), nn.BatchNorm1d(4), nn.ReLU()))
        assert unit.edit == Edit("block", "identity")
        assert unit.reason == "same shape in and out: removable"

    def test_one_that_is_asked_for_its_attributes_is_cut_out_in_code(self):
        def code(self, x):
            return functional.relu(self.block(x.to(self.block.weight.dtype)))

        (unit,) = middle(code, block=conv())
        assert unit.edit.path in ("", "block")
        assert unit.edit.span is not None

    def test_one_that_gives_more_than_a_tensor(self):
        pair = Doing(lambda self, x: (functional.relu(self.conv(x)), x.shape), conv=conv())
        (unit,) = middle(lambda self, x: self.pair(x)[0], pair=pair)
        assert unit.edit == Edit("pair", "identity", None, ("x", "relu"))

    def test_a_block_that_gives_its_result_in_a_tuple(self):
        block = Doing(lambda self, x: (x + functional.relu(self.conv(x)),), conv=conv())
        (unit,) = middle(lambda self, x: self.block(x)[0], block=block)
        assert (unit.drop, unit.kind) == ("identity", "residual")

    @pytest.mark.parametrize(
        ("bundle", "taken"),
        [
            (lambda x, other: (other, x), lambda given: given[1]),
            (lambda x, other: [other.mean(), x], lambda given: given[-1]),
            (lambda x, other: {"hidden": x, "weights": other.mean(), "length": 16}, lambda given: given["hidden"]),
            (lambda x, other: Both(other.mean(1), x), lambda given: given.result),
            (lambda x, other: (None, {"layers": [x]}), lambda given: given[1]["layers"][0]),
            (lambda x, other: Made(x, other.mean()), lambda given: given.hidden),
        ],
        ids=["tuple", "list", "dict", "named tuple", "nested", "dataclass"],
    )
    @pytest.mark.parametrize("residual", [True, False])
    def test_a_module_that_returns_several_things_of_which_one_is_used(self, bundle, taken, residual):
        def inside(self, x):
            made = functional.relu(self.conv(x))
            return bundle(x + made if residual else made, x)

        (unit,) = middle(lambda self, x: taken(self.block(x)), block=Doing(inside, conv=conv()))
        assert unit.drop == "identity"
        model = Network(lambda self, x: taken(self.block(x)), block=Doing(inside, conv=conv()))
        edited, x = apply_edits(model, [unit.edit], (2, LENGTH)), synthetic.signals(3, LENGTH)
        torch.testing.assert_close(edited(x), model.fc(functional.relu(model.stem(x)).flatten(1)))

    @pytest.mark.parametrize("weight", [False, True])
    def test_a_body_and_its_addition_in_modules_whose_methods_and_results_are_used(self, weight):
        """As transformers are written that let one choose how a branch is added."""

        class Adding(nn.Module):
            def __init__(self):
                super().__init__()
                self.gate = nn.Parameter(torch.ones(4, 1)) if weight else None
                self.scale = 1.0

            def prepare(self, x):
                if self.gate is not None:
                    assert self.gate.requires_grad
                return x, x

            def forward(self, made, kept, every=()):
                return made * (self.scale if self.gate is None else self.gate) + kept

        def code(self, x):
            every = []
            for block, adding in zip(self.blocks, self.adding, strict=True):
                x, kept = adding.prepare(x)
                every.append(x)
                made, beside = block(x)
                beside.layer = "conv"
                x = adding(made, kept, every=every)
            return x

        def body(self, x):
            made = functional.relu(self.conv(x))
            return made, Made(mean=made.mean())

        parts = {
            "blocks": nn.ModuleList(Doing(body, conv=conv()) for _ in range(3)),
            "adding": nn.ModuleList(Adding() for _ in range(3)),
        }
        units = middle(code, **parts)
        assert [unit.drop for unit in units] == [None if weight else "identity"] * 3
        if weight:
            assert "the network cannot run without it" in units[0].reason
            return
        model = Network(code, **parts)
        edited, x = apply_edits(model, [units[1].edit], (2, LENGTH)), synthetic.signals(3, LENGTH)
        del model.blocks[1], model.adding[1]
        torch.testing.assert_close(edited(x), model(x))

    def test_a_module_that_is_called_by_name(self):
        (unit,) = middle(
            lambda self, x: self.block(scale=2, x=x)["made"],
            block=Named(),
        )
        assert unit.edit == Edit("block", "identity", returns=('{"dict": {"made": {"input": 1}}}',))

    @pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
    def test_a_recurrent_layer_gives_its_input_for_its_output(self, kind):
        def code(self, x):
            x, _ = self.rnn(x.transpose(1, 2))
            return x.transpose(1, 2)

        (unit,) = middle(code, rnn=kind(4, 4, batch_first=True))
        assert unit.edit == Edit("rnn", "identity")
        first, second = middle(code, rnn=kind(4, 4, 2, batch_first=True))
        assert (first.edit, second.edit) == (Edit("rnn.layers.0", "identity"), Edit("rnn.layers.1", "identity"))


class TestAdapters:
    def test_what_comes_after_is_rebuilt(self):
        wide, after = middle(lambda self, x: self.b(functional.relu(self.a(x))), a=conv(4, 6), b=conv(6, 4))
        assert wide.edit == Edit("", "adapter", None, ("relu", "relu_1")) or wide.edit == Edit("a", "adapter")
        assert wide.reason == "changes the shape from 4×16 to 6×16: the layers after it are rebuilt for 4×16"
        assert after.drop == "adapter"

    def test_what_cannot_be_rebuilt_must_stay_with_the_reason(self):
        def code(self, x):
            x = self.wide(x)
            return torch.einsum("ncl,dc->ndl", x, self.weight)

        wide, _ = middle(code, wide=conv(4, 6), weight=nn.Parameter(torch.randn(4, 6)))
        assert wide.drop is None
        assert wide.reason.startswith(
            "changes the shape from 4×16 to 6×16, and the network cannot run without what was"
        )

    def test_what_changes_the_answer_must_stay(self):
        class Counting(nn.Module):
            def __init__(self):
                super().__init__()
                self.stem, self.wide = nn.Conv1d(2, 4, 1), nn.Conv1d(4, 6, 1)
                self.depth = nn.Conv1d(6, 6, 3, groups=6)

            def forward(self, x):
                return self.depth(self.wide(self.stem(x))).mean(-1)

        units = layers_of(Counting().eval(), InputSpec(2, LENGTH), "").units
        assert units[1].drop is None
        assert "without it the network returns (5, 4), not (5, 6)" in units[1].reason

    def test_the_first_and_the_last_take_the_signal_in_and_give_the_answer(self):
        units = layers_of(
            nn.Sequential(conv(2, 4), nn.Flatten(), nn.Linear(64, 3)).eval(), InputSpec(2, LENGTH), ""
        ).units
        assert [unit.reason.rpartition("; ")[2] for unit in units] == [
            "it reads the network input",
            "it gives the network output",
        ]

    def test_a_first_layer_of_the_same_shape_can_go(self):
        units = layers_of(nn.Sequential(conv(2, 2), conv(2, 3)).eval(), InputSpec(2, LENGTH), "").units
        assert units[0].edit == Edit("0", "identity")


class TestShortcuts:
    def test_in_code_a_shortcut_that_computes_something_stays(self):
        def code(self, x):
            return self.skip(x) + functional.relu(self.body(x))

        (unit,) = middle(code, skip=nn.AvgPool1d(3, 1, 1), body=conv())
        assert unit.edit == Edit("", "shortcut", None, ("relu", "add"))
        assert unit.reason == "its shortcut stays; its body is cut out of the code of the network"

    def test_in_code_a_shortcut_that_loses_an_axis_is_broadcast_over_it_alone(self):
        (unit,) = middle(lambda self, x: functional.relu(self.body(x)) + x.amax(-1, keepdim=True), body=conv())
        assert unit.edit == Edit("", "shortcut", (-1, 16), ("relu", "add"))
        assert unit.collapses
        assert unit.reason.startswith("its shortcut stays, broadcast to 4×16; ")

    def test_in_a_module_a_shortcut_that_loses_an_axis_is_broadcast_over_it_alone(self):
        block = Doing(lambda self, x: functional.relu(self.body(x)) + x.amax(-1, keepdim=True), body=conv())
        (unit,) = middle(lambda self, x: self.block(x), block=block)
        assert unit.edit == Edit("block", "shortcut", (-1, 16))
        assert unit.reason == "its shortcut 4×1 stays, broadcast to 4×16"

    def test_in_code_that_cannot_be_traced_it_must_stay_with_the_reason(self):
        def code(self, x):
            x = x + functional.relu(self.body(x))
            return x if len(x) else -x

        (unit,) = middle(code, body=conv())
        assert unit.drop is None
        assert unit.reason.startswith("the network adds it in its own code: the network's own code cannot be traced")

    def test_an_addition_without_weights_makes_no_residual_unit(self):
        (unit,) = middle(lambda self, x: (y := self.conv(x)) + torch.sin(y).square(), conv=conv())
        assert unit.kind == "conv"
        assert unit.edit == Edit("", "identity", None, ("relu", "add"))


def test_nothing_is_printed_about_what_was_tried(capfd):
    def code(self, x):
        return torch.einsum("ncl,dc->ndl", self.wide(x + functional.relu(self.body(x))), self.weight)

    middle(code, body=conv(), wide=conv(4, 6), weight=nn.Parameter(torch.randn(4, 6)))
    assert "".join(capfd.readouterr()) == ""


def core(*nodes, trailing=0):
    nodes = tuple(Node(name, name, modules, (4, 4), (), 0) for name, modules in nodes)
    ends = nodes[len(nodes) - trailing :]
    return Core(nodes, (), True, (), (4, 4), (4, 4), False, False, ends, None, "inner")


class TestTrailingSteps:
    def test_an_operation_of_the_code_itself_is_one(self):
        assert core(("conv", ("conv",)), ("relu", ()), ("mul", ()), trailing=2).trailing_steps("") == 2

    def test_all_operations_in_one_module_are_one(self):
        unit = core(("conv", ("conv",)), ("relu", ("act",)), ("mul", ("act",)), trailing=2)
        assert unit.trailing_steps("") == 1

    def test_what_is_in_the_module_with_the_weights_is_none(self):
        unit = core(("conv", ("block", "block.conv")), ("relu", ("block",)), trailing=1)
        assert unit.trailing_steps("") == 0
        assert unit.trailing_steps("block") == 1
