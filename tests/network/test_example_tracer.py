"""Code that `torch.fx` cannot follow as a graph: the same answers, for any number of frames."""

import copy
from collections import namedtuple

import pytest
import torch
from torch import fx, nn

from edgeprune.errors import ModelError
from edgeprune.network.tracing import Code

SHAPE = (2, 8)
Pair = namedtuple("Pair", "kept changed")


class Written(nn.Module):
    """A network whose code is given."""

    def __init__(self, code):
        super().__init__()
        self.code = code
        self.a, self.b, self.rnn = nn.Conv1d(2, 2, 1), nn.Conv1d(2, 2, 1), nn.GRU(2, 3, batch_first=True)
        self.seq, self.scale = nn.Sequential(nn.Conv1d(2, 2, 1), nn.ReLU()), nn.Parameter(torch.full((2, 1), 2.0))
        self.register_buffer("shift", torch.arange(16.0))

    def forward(self, x, mask=None):
        return self.code(self, x, mask)


def checks(self, x, mask):
    assert x.size(1) == 2, "I and Q"
    if x.dim() == 4:
        x = x.squeeze(1)
    return self.b(self.a(x))


def default(self, x, mask):
    x = self.a(x)
    if mask is not None:
        x = x * mask
    return x


def numbers(self, x, mask):
    channels, length = int(x.shape[1]), int(x.size(2))
    return self.a(x).reshape(-1, channels * length) / float(length)


def loops(self, x, mask):
    return torch.stack([row * place for place, row in enumerate(self.a(x).unbind(1))], 1).sum(1)


def states(self, x, mask):
    start = torch.zeros(1, x.size(0), 3, device=x.device)
    out, last = self.rnn(x.transpose(1, 2), start)
    return out[:, -1] + last[-1]


def own_copy(self, x, mask):
    kept = copy.deepcopy(x)
    return self.a(x) + kept


def weights(self, x, mask):
    weight = self.a.weight / self.a.weight.norm()
    assert x.ndim == 3
    return nn.functional.conv1d(x, weight) * self.scale + self.shift[: x.size(-1)]


def bundles(self, x, mask):
    made = {"pair": Pair(x, self.a(x)), "length": x.size(2)}
    kept, changed = made["pair"]
    return kept + changed if len(made) == 2 and made["length"] > 4 else kept


def length_of(self, x, mask):
    return self.a(x) if len(x.shape) == 3 else self.b(x)


@pytest.mark.parametrize(
    "code",
    [checks, default, numbers, loops, states, own_copy, weights, bundles, length_of],
    ids=lambda code: code.__name__,
)
@torch.no_grad()
def test_code_that_looks_at_shapes_is_the_same_graph_for_any_number_of_frames(code):
    torch.manual_seed(0)
    model = Written(code).eval()
    traced = Code(model, SHAPE).of("")
    assert isinstance(traced, fx.GraphModule)
    for frames in (1, 2, 7):
        x = torch.randn(frames, *SHAPE)
        assert torch.equal(traced(x), model(x))
    assert dict(traced.named_parameters()).items() <= dict(model.named_parameters()).items()  # none is a constant


def test_inside_a_network_and_down_to_the_layers_of_pytorch():
    model = nn.Sequential(nn.Conv1d(2, 2, 1), Written(lambda self, x, mask: self.seq(x) if x.dim() == 3 else x))
    code = Code(model.eval(), SHAPE)
    assert [node.name for node in code.of("1").graph.nodes if node.op == "call_module"] == ["seq"]
    assert [node.name for node in code.of("1", whole=True).graph.nodes if node.op == "call_module"] == [
        "seq_0",
        "seq_1",
    ]
    assert code.of("1") is code.of("1")
    with torch.no_grad():
        x = torch.randn(4, *SHAPE)
        assert torch.equal(code.changeable("1")(x), model[1](x))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (lambda self, x, mask: x if x.mean() > 0 else self.a(x), "branches on the data"),
        (lambda self, x, mask: self.a(x).reshape(int(x.size(0)), -1), "takes the number of frames as a plain number"),
        (lambda self, x, mask: self.a(x) if x.size(0) > 2 else x, "branches on the number of frames"),
        (lambda self, x, mask: torch.stack([self.a(frame) for frame in x]), "goes through the frames one by one"),
        (lambda self, x, mask: self.a(x) * float(x.mean()), "takes the data or the number of frames as a plain number"),
    ],
)
def test_code_that_needs_the_data_or_the_number_of_frames_is_refused_with_the_reason(code, reason):
    with pytest.raises(ModelError, match="the network's own code cannot be traced") as caught:
        Code(Written(code).eval(), SHAPE).of("")
    assert reason in caught.value.message
    assert "\n" not in caught.value.message


@torch.no_grad()
def test_tensors_that_code_makes_go_along_to_a_copy_of_the_module():
    model = Written(lambda self, x, mask: self.b(self.a(x) * torch.tensor([[2.0], [3.0]]))).eval()
    code = Code(model, SHAPE)
    duplicate, x = copy.deepcopy(model), torch.randn(3, *SHAPE)
    assert torch.equal(code.changeable("", duplicate)(x), model(x))
