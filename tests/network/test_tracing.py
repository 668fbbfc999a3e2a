"""The code of modules as graphs: the same answers, the same submodules, the same names."""

import pytest
import synthetic
import torch
from torch import nn
from torch.nn import functional

from edgeprune.errors import ModelError
from edgeprune.network.tracing import Code, overheard

SHAPE = (2, 16)


def traced_code(module):
    return Code(module, SHAPE).of("")


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv1d(2, 2, 1), nn.Sequential(nn.Conv1d(2, 2, 1), nn.ReLU())
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x, factor=1.0):
        x = functional.dropout(self.a(x) * self.scale, p=0.4, training=self.training)
        return functional.dropout1d(self.b(x) * factor, 0.2, self.training)


class TestTracedCode:
    def test_the_steps_are_submodules_and_what_is_between_them(self):
        block = Block()
        traced = traced_code(block)
        steps = [(node.op, node.name) for node in traced.graph.nodes]
        assert steps == [
            ("placeholder", "x"),
            ("placeholder", "factor"),
            ("call_module", "a"),
            ("get_attr", "scale"),
            ("call_function", "mul"),
            ("call_module", "dropout"),
            ("call_module", "b"),
            ("call_function", "mul_1"),
            ("call_module", "dropout1d"),
            ("output", "output"),
        ]
        assert traced.a is block.a
        assert traced.b is block.b

    @pytest.mark.parametrize("training", [True, False])
    def test_answers_are_those_of_the_module_in_either_mode(self, training):
        block = Block().train(training)
        traced, x = traced_code(block), synthetic.signals()
        assert block.training is training
        for mode in (True, False):
            torch.manual_seed(0)
            wanted = block.train(mode)(x, 2.0)
            torch.manual_seed(0)
            assert torch.equal(traced.train(mode)(x, 2.0), wanted)
        assert traced.dropout.p == 0.4
        assert traced.dropout1d.p == 0.2

    def test_of_a_graph_is_another_graph_with_the_same_names_and_submodules(self):
        traced = traced_code(Block())
        again = traced_code(traced)
        assert [node.name for node in again.graph.nodes] == [node.name for node in traced.graph.nodes]
        assert again.graph is not traced.graph
        assert again.a is traced.a

    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            (lambda self, x: self.part(x) if x.sum() > 0 else x, "symbolically traced variables cannot be used"),
            (lambda self, x: (x.add_(1), self.part(x))[1], "add_ changes a tensor in place"),
            (lambda self, x: (functional.relu(x, inplace=True), x)[1], "relu changes a tensor in place"),
            (lambda self, x: (self.part(x), x)[1], "part changes a tensor in place"),
        ],
    )
    def test_code_that_cannot_be_a_graph_is_refused_with_the_reason(self, code, reason):
        class Coded(nn.Module):
            def __init__(self):
                super().__init__()
                self.part = nn.ReLU(inplace=True)

            def forward(self, x):
                return code(self, x)

        with pytest.raises(ModelError, match=f"block cannot be traced, so no part of it can be cut out: {reason}"):
            Code(nn.ModuleDict({"block": Coded()}), SHAPE).of("block")

    def test_what_is_overwritten_and_used_is_fine(self):
        x = synthetic.signals()
        model = nn.Sequential(nn.Conv1d(2, 2, 1), nn.ReLU(inplace=True))
        assert torch.equal(Code(model, SHAPE).of("", whole=True)(x), model(x))


class TestOverheard:
    @torch.no_grad()
    def test_steps_are_told_of_each_time_the_module_runs(self):
        block, x = Block().eval(), synthetic.signals()
        heard = []
        with overheard(block, traced_code(block), {"mul": heard.append, "nothing": heard.append}):
            answers = [block(x), block(x, factor=3.0)]
        assert torch.equal(answers[0], block(x))
        assert torch.equal(answers[1], block(x, 3.0))
        assert len(heard) == 2
        assert torch.equal(heard[0], block.a(x))
        assert "forward" not in vars(block)
        assert len(heard) == 2

    @torch.no_grad()
    def test_hooks_inside_still_work(self):
        block, seen = Block().eval(), []
        block.a.register_forward_hook(lambda *_: seen.append(1))
        with overheard(block, traced_code(block), {}):
            block(synthetic.signals(), 1.0)
        assert seen == [1]

    def test_the_module_is_as_before_even_after_an_error(self):
        block = Block().eval()
        block.forward = own = lambda x, factor: x
        traced = traced_code(Block())
        with pytest.raises(ZeroDivisionError), overheard(block, traced, {"x": lambda _: 1 / 0}):
            block(synthetic.signals(), 1.0)
        assert block.forward is own

    @torch.no_grad()
    def test_each_argument_goes_where_it_belongs_however_it_is_given(self):
        class Many(nn.Module):
            def forward(self, x, *others, scale=1.0, **more):
                return (x + others[1]) * scale + more["shift"]

        model, x, heard = Many().eval(), synthetic.signals(), []
        with overheard(model, traced_code(model), {"mul": heard.append}):
            answer = model(x, -x, 2 * x, shift=2.0, scale=3.0)
        assert torch.equal(answer, (x + 2 * x) * 3.0 + 2.0)
        assert torch.equal(heard[0], (x + 2 * x) * 3.0)
