"""Where a unit lies in code: by hand, on code that is read and not run."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from edgeprune.errors import ModelError
from edgeprune.network.tracing import Code
from edgeprune.prune.units.spans import Places


class Written(nn.Module):
    """A module with weights of every kind whose code is given."""

    def __init__(self, code):
        super().__init__()
        self.code = code
        self.a, self.b, self.c = (nn.Conv1d(4, 4, 1) for _ in range(3))
        self.norm, self.rnn = nn.BatchNorm1d(4), nn.GRU(4, 4)
        self.scale, self.shift = nn.Parameter(torch.ones(4, 1)), nn.Parameter(torch.zeros(4, 1))

    def forward(self, x):
        return self.code(self, x)


def span_of(model, path, weights, trailing):
    return Places(Code(model, (4, 8))).span_of(path, weights, trailing)


def span(code, *weights, trailing=0, path=""):
    model = Written(code)
    if path:
        model = nn.Sequential(nn.Identity(), model)
    return span_of(model, path, frozenset(weights), trailing)


A = ("a.weight", "a.bias")
B = ("b.weight", "b.bias")


class TestFound:
    def test_a_layer_between_two_others(self):
        def code(self, x):
            return self.c(self.b(self.a(x)))

        assert span(code, *B) == ("a", "b")
        assert span(code, *A) == ("x", "a")
        assert span(code, *A, *B) == ("x", "b")

    def test_in_a_module_of_the_network(self):
        names = [f"1.{name}" for name in B]
        assert span(lambda self, x: self.b(self.a(x)), *names, path="1") == ("a", "b")

    def test_what_follows_without_weights_goes_along_as_far_as_it_is_the_units(self):
        def code(self, x):
            x = torch.relu(self.a(x))
            x = self.b(x)
            x = x * torch.sigmoid(x)
            return self.c(functional.max_pool1d(x, 2))

        assert span(code, *B, trailing=0) == ("relu", "b")
        assert span(code, *B, trailing=1) == ("relu", "mul")
        assert span(code, *B, trailing=2) == ("relu", "max_pool1d")
        assert span(code, *B, trailing=9) == ("relu", "max_pool1d")

    def test_branches_belong_to_what_joins_them(self):
        def code(self, x):
            x = self.a(x)
            x = x + torch.tanh(self.b(x))
            return self.c(x)

        assert span(code, *B) == ("a", "add")

    def test_weights_of_the_module_itself_even_where_they_are_computed(self):
        def code(self, x):
            x = self.a(x)
            x = x * torch.exp(self.scale) + self.shift.abs()
            return self.c(x)

        assert span(code, "scale") == ("a", "mul")
        assert span(code, "shift") == ("mul", "add")
        assert span(code, "scale", "shift") == ("a", "add")

    def test_shapes_that_are_looked_at_do_not_tie_steps_together(self):
        def code(self, x):
            frames, channels, length = x.shape
            x = self.a(x).reshape(frames, channels * length)
            x = self.b(x.reshape(frames, channels, length))
            return self.c(x).reshape(x.size(0), -1)

        assert span(code, *B) == ("reshape_1", "b")

    def test_a_module_that_gives_several_things_ends_where_one_is_taken(self):
        def code(self, x):
            x, _ = self.rnn(self.a(x))
            return self.b(x)

        names = [name for name, _ in Written(None).named_parameters() if name.startswith("rnn.")]
        assert span(code, *names) == ("a", "getitem")

    def test_a_layer_used_twice_in_a_row_is_one_place(self):
        assert span(lambda self, x: self.c(self.b(self.b(self.a(x)))), *B) == ("a", "b_1")

    def test_weights_under_another_name(self):
        model = Written(lambda self, x: self.c(self.b(self.a(x))))
        model.alias = model.b
        assert span_of(model, "", frozenset({"alias.weight", "alias.bias"}), 0) == ("a", "b")

    def test_in_a_graph_that_was_cut_before_the_names_are_the_same(self):
        model = Written(lambda self, x: self.c(torch.relu(self.b(self.a(x)))))
        traced = Code(model, (4, 8)).of("")
        assert span_of(traced, "", frozenset(B), 1) == span_of(model, "", frozenset(B), 1) == ("a", "relu")


class TestRefused:
    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            (lambda self, x: self.c(self.a(x) + self.b(x)), "mixes it with other layers in one step"),
            (lambda self, x: self.c(self.a(x)), "does not use its weights"),
            (lambda self, x: x if x.sum() > 0 else self.b(x), "cannot be traced, so no part of it can be cut out"),
            (lambda self, x: (self.b(x), x), "returns several things"),
            (lambda self, x: self.b(torch.ones(1, 4, 4)), "does nothing with its input"),
            (lambda self, x: x, "does nothing with its input"),
        ],
    )
    def test_with_the_reason(self, code, reason):
        with pytest.raises(ModelError) as caught:
            span(code, *B)
        assert "the network's own code" in caught.value.message
        assert reason in caught.value.message

    def test_a_module_without_input(self):
        class Alone(nn.Module):
            def forward(self):
                return torch.ones(1)

        with pytest.raises(ModelError, match="takes no input"):
            span_of(Alone(), "", frozenset(), 0)
