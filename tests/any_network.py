"""Networks of every kind that people bring, small: a strategy draws what they are made of.

A block's code is its `run`; called as a module it is one, called by `run` it is code of the network around it.
"""

from dataclasses import dataclass

import synthetic
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import nn

CHANNELS, LENGTH, CLASSES = 2, 16, 3
WIDTH = 8


class Block(nn.Module):
    def forward(self, x):
        return self.run(x)


def conv(width, out, size=3, **options):
    return nn.Conv1d(width, out, size, padding=size // 2, **options)


class Plain(Block):
    def __init__(self, width, out):
        super().__init__()
        self.conv, self.bn = conv(width, out, bias=False), nn.BatchNorm1d(out)

    def run(self, x):
        return F.relu(self.bn(self.conv(x)))


class Sequence(Block):
    """The same as modules alone."""

    def __init__(self, width, out):
        super().__init__()
        self.layers = nn.Sequential(conv(width, out), nn.BatchNorm1d(out), nn.ReLU(inplace=True), nn.Dropout(0.1))

    def run(self, x):
        return self.layers(x)


class Strided(Block):
    """Halves the map, by a pooling that only works on a large enough one."""

    def __init__(self, width, out):
        super().__init__()
        self.conv, self.pool = conv(width, out), nn.MaxPool1d(2)

    def run(self, x):
        return self.pool(F.gelu(self.conv(x)))


class Raw(Block):
    """Weights without a module around them, an activation computed in steps, and dropout as a function."""

    def __init__(self, width, out):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, width, 3) / width)

    def run(self, x):
        x = F.conv1d(x, self.weight, padding=1)
        return F.dropout(x * torch.sigmoid(x), 0.1, self.training)


class Mixer(Block):
    """Linear maps by einsum and after a reshape."""

    def __init__(self, width, out):
        super().__init__()
        self.weight, self.fc = nn.Parameter(torch.randn(out, width) / width), nn.Linear(out, out)

    def run(self, x):
        frames, _, length = x.shape
        x = torch.einsum("ncl,dc->ndl", x, self.weight).transpose(1, 2)
        return torch.tanh(self.fc(x.reshape(frames * length, -1)).reshape(frames, length, -1)).transpose(1, 2)


class Residual(Block):
    def __init__(self, width, out):
        super().__init__()
        self.conv1, self.bn1 = conv(width, out, bias=False), nn.BatchNorm1d(out)
        self.conv2, self.bn2 = conv(out, out, bias=False), nn.BatchNorm1d(out)
        self.relu = nn.ReLU()
        self.project = nn.Identity() if width == out else nn.Sequential(conv(width, out, 1), nn.BatchNorm1d(out))

    def run(self, x):
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + self.project(x))


class Bottleneck(Block):
    def __init__(self, width, out):
        super().__init__()
        self.down, self.middle, self.up = conv(width, 4, 1), conv(4, 4), conv(4, out, 1)
        self.bn = nn.BatchNorm1d(out)
        self.project = conv(width, out, 1) if width != out else None

    def run(self, x):
        body = self.bn(self.up(F.relu(self.middle(F.relu(self.down(x))))))
        return F.relu((x if self.project is None else self.project(x)) + body)


class PreActivation(Block):
    def __init__(self, width, out):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm1d(width), conv(width, out)
        self.bn2, self.conv2 = nn.BatchNorm1d(out), conv(out, out)
        self.project = conv(width, out, 1) if width != out else None

    def run(self, x):
        h = F.relu(self.bn1(x))
        skip = x if self.project is None else self.project(h)
        return skip + self.conv2(F.relu(self.bn2(self.conv1(h))))


class Pooled(Block):
    """Its shortcut is the mean over time, padded with zeros and broadcast."""

    def __init__(self, width, out):
        super().__init__()
        self.conv, self.more = conv(width, out), out - width

    def run(self, x):
        return F.relu(self.conv(x)) + F.pad(x.mean(2, keepdim=True), (0, 0, 0, self.more))


class Inception(Block):
    def __init__(self, width, out):
        super().__init__()
        self.one, self.three, self.five = conv(width, 2, 1), conv(width, 2, 3), conv(width, out - 4, 5)

    def run(self, x):
        return F.relu(torch.cat([self.one(x), self.three(x), self.five(x)], 1))


class SqueezeExcite(Block):
    def __init__(self, width, out):
        super().__init__()
        self.conv, self.squeeze, self.excite = conv(width, out), nn.Linear(out, 2), nn.Linear(2, out)

    def run(self, x):
        x = F.relu(self.conv(x))
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean(-1))))).unsqueeze(-1)


class Dense(Block):
    def __init__(self, width, out):
        super().__init__()
        self.first, self.second = conv(width, 4), conv(width + 4, 4)
        self.transition = conv(width + 8, out, 1)

    def run(self, x):
        x = torch.cat([x, F.relu(self.first(x))], 1)
        x = torch.cat([x, F.relu(self.second(x))], 1)
        return self.transition(x)


class Separable(Block):
    def __init__(self, width, out):
        super().__init__()
        self.depth, self.point = conv(width, width, groups=width, bias=False), conv(width, out, 1)
        self.bn = nn.BatchNorm1d(out)

    def run(self, x):
        return F.relu(self.bn(self.point(self.depth(x))))


class Recurrent(Block):
    """One or several recurrent layers over time."""

    def __init__(self, width, out, kind=nn.LSTM, layers=1, directions=1):
        super().__init__()
        self.rnn = kind(width, out // directions, layers, batch_first=True, bidirectional=directions == 2)

    def run(self, x):
        output, _ = self.rnn(x.transpose(1, 2))
        return output.transpose(1, 2)


class Encoder(Block):
    """The encoder layers of torch, which keep the width; a layer before them changes it."""

    def __init__(self, width, out, layers=0, norm_first=False):
        super().__init__()
        self.embed = nn.Identity() if width == out else conv(width, out, 1)
        options = {"dropout": 0.1, "batch_first": True, "norm_first": norm_first}
        layer = nn.TransformerEncoderLayer(out, 2, 12, **options)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False) if layers else layer

    def run(self, x):
        return self.encoder(self.embed(x).transpose(1, 2)).transpose(1, 2)


class Attention(Block):
    """An attention block of one's own, which hands on its weights too."""

    def __init__(self, width, out):
        super().__init__()
        self.norm, self.qkv, self.merge = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width))
        self.out = nn.Identity() if width == out else nn.Linear(width, out)

    def run(self, x):
        x = x.transpose(1, 2)
        frames, length, width = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(frames, length, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(frames, length, width)
        x = x + self.merge(attended)
        x = x + self.feed(x)
        return self.out(x).transpose(1, 2)


class Shared(Block):
    """One layer used three times."""

    def __init__(self, width, out):
        super().__init__()
        self.enter = Plain(width, out)
        self.again = nn.Sequential(conv(out, out), nn.ReLU())

    def run(self, x):
        x = self.enter(x)
        for _ in range(3):
            x = self.again(x)
        return x


class Paired(Block):
    """A module inside gives a tensor and something beside it."""

    def __init__(self, width, out):
        super().__init__()
        self.pair = _Pair(width, out)

    def run(self, x):
        x, _ = self.pair(x)
        return x


class _Pair(nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.conv = conv(width, out)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        return x, x.mean()


def _recurrent(kind, layers, directions=1):
    return lambda width, out: Recurrent(width, out, kind, layers, directions)


def _encoder(layers, norm_first):
    return lambda width, out: Encoder(width, out, layers, norm_first)


KINDS = {
    "plain": Plain,
    "sequence": Sequence,
    "strided": Strided,
    "raw": Raw,
    "mixer": Mixer,
    "residual": Residual,
    "bottleneck": Bottleneck,
    "pre-activation": PreActivation,
    "pooled": Pooled,
    "inception": Inception,
    "squeeze-excite": SqueezeExcite,
    "dense": Dense,
    "separable": Separable,
    "lstm": _recurrent(nn.LSTM, 1),
    "lstm of three": _recurrent(nn.LSTM, 3),
    "gru of two": _recurrent(nn.GRU, 2),
    "two-way gru": _recurrent(nn.GRU, 1, 2),
    "encoder layer": _encoder(0, False),
    "encoder of two": _encoder(2, True),
    "attention": Attention,
    "shared": Shared,
    "paired": Paired,
}


@dataclass(frozen=True)
class Part:
    """A block: what it is, how many channels it makes, and whether it is a module or code."""

    kind: str
    out: int
    module: bool = True


class Network(nn.Module):
    """A stem, blocks, and a head over the mean, the whole map or its last step."""

    def __init__(self, parts, head):
        super().__init__()
        self.parts, self.head = parts, head
        self.stem = conv(CHANNELS, WIDTH)
        self.blocks, width, length = nn.ModuleList(), WIDTH, LENGTH
        for part in parts:
            self.blocks.append(KINDS[part.kind](width, part.out))
            width, length = part.out, length // 2 if part.kind == "strided" else length
        self.fc = nn.Linear(width * length if head == "flat" else width, CLASSES)

    def forward(self, x):
        x = F.relu(self.stem(x))
        for part, block in zip(self.parts, self.blocks, strict=True):
            x = block(x) if part.module else block.run(x)
        if self.head == "flat":
            return self.fc(x.flatten(1))
        return self.fc(x.mean(-1) if self.head == "mean" else x[..., -1])


@dataclass(frozen=True)
class Drawn:
    """What a network is made of."""

    parts: tuple[Part, ...]
    head: str = "mean"

    def build(self):
        """The network with weights of its own, in eval mode; the same every time."""
        with torch.random.fork_rng():
            torch.manual_seed(len(self.parts))
            return synthetic.shaken(Network(self.parts, self.head))


@st.composite
def networks(draw, most=4):
    """Networks of one to `most` blocks."""
    count, width, parts = draw(st.integers(1, most)), WIDTH, []
    for _ in range(count):
        out = draw(st.sampled_from([width, width, 8, 12]))
        parts.append(Part(draw(st.sampled_from(sorted(KINDS))), max(out, width), draw(st.booleans())))
        width = parts[-1].out
    return Drawn(tuple(parts), draw(st.sampled_from(["mean", "flat", "last"])))
