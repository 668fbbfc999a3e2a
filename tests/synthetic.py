"""Small frames, networks and a silent progress for the tests; nothing here is random from run to run."""

import contextlib
import copy
import functools
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgeprune import datasets, registry
from edgeprune.errors import DataError
from edgeprune.frames.labelled import checked
from edgeprune.models.resnet import ResNet
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.frames import Frames, Reading
from edgeprune.records.pruning import Arch, InputSpec, LayerChain

CLASSES = ("BPSK", "CW", "QPSK")
SNRS = (-4, 10)
LENGTH = 32
QUICK_CPU = """
name = "quick-cpu"
description = "the host, measured shortly"
runtime = "onnxruntime"
opset = 18
precisions = ["fp32"]
[bench]
rounds = 6
round_ms = 2.0
warmup_ms = 1.0
processes = 2
"""


class Silent:
    """A progress that remembers what it was told and may interrupt at a given text."""

    def __init__(self, stop_at: str | None = None) -> None:
        self.said: list[tuple[int, str]] = []
        self.totals: dict[str, int] = {}
        self.stop_at = stop_at

    def stage(self, title: str, reused: bool = False) -> None: ...

    def note(self, text: str) -> None: ...

    @contextlib.contextmanager
    def track(self, label: str, total: int):
        self.totals[label] = total
        yield self._advance

    def _advance(self, steps: int, text: str) -> None:
        self.said.append((steps, text))
        if self.stop_at is not None and text.startswith(self.stop_at):
            raise KeyboardInterrupt


def cells(per_cell=25, length=LENGTH, classes=CLASSES, snrs=SNRS, seed=0) -> dict[tuple[str, int], np.ndarray]:
    """Frames float32 (n, 2, L) of every (class, SNR); a class is a tone of its own frequency in noise."""
    generator = np.random.default_rng(seed)
    time = np.arange(length)
    table = {}
    for place, name in enumerate(classes):
        for snr in snrs:
            phase = generator.uniform(0, 2 * np.pi, (per_cell, 1))
            tone = np.exp(1j * (2 * np.pi * (place + 1) / 11 * time + phase))
            noise = generator.normal(size=(per_cell, 2, length)) * 10 ** (-snr / 20)
            table[name, snr] = (np.stack([tone.real, tone.imag], axis=1) + noise).astype(np.float32)
    return table


def frames_of(table: dict[tuple[str, int], np.ndarray]) -> Frames:
    """The cells as frames, in the order of the table."""
    names = sorted({name for name, _ in table})
    return checked(
        np.concatenate(list(table.values())),
        names,
        np.concatenate([np.full(len(iq), names.index(name)) for (name, _), iq in table.items()]),
        np.concatenate([np.full(len(iq), snr) for (_, snr), iq in table.items()]),
        source="synthetic.pkl",
        sha256="f" * 64,
    )


def refused(path: Path, reading: Reading | None = None) -> str:
    """What reading a file or folder is refused with: one line that names it, and what to do."""
    with pytest.raises(DataError) as caught:
        datasets.read(path, reading)
    assert "\n" not in str(caught.value)
    assert path.is_dir() or path.stem in caught.value.message
    return str(caught.value)


def shaken(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network in eval mode with every weight and statistic of batch norm away from its initial value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                for value, low, high in (
                    (module.weight, 0.5, 1.5),
                    (module.bias, -0.3, 0.3),
                    (module.running_mean, -0.3, 0.3),
                    (module.running_var, 0.5, 1.5),
                ):
                    if value is not None:
                        value.copy_(low + (high - low) * torch.rand(value.shape, generator=generator))
    return network.eval()


def small_network(classes: int = len(CLASSES)) -> nn.Module:
    """A residual network of one block a stage, with the same fresh weights each time."""
    torch.manual_seed(1)
    return ResNet(1, 1, classes)


@functools.cache
def network(name: str, length: int, classes: int) -> nn.Module:
    """A registered network with shaken weights. Read only: it is shared."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return shaken(registry.family_of(name).build(name, channels=2, length=length, classes=classes))


@functools.cache
def chain(name: str, length: int, classes: int) -> LayerChain:
    """The chain of that network."""
    return layers_of(network(name, length, classes), InputSpec(2, length), "0" * 64)


def checkpoint(name: str = "resnet56-1d", length: int = LENGTH, classes: int = len(CLASSES)) -> Checkpoint:
    """That network as a checkpoint which says that its file has the sha256 of zeros; the network is shared."""
    return Checkpoint(
        model=network(name, length, classes),
        arch=Arch(name, {"channels": 2, "length": length, "classes": classes}),
        classes=tuple(f"class {number:02}" for number in range(classes)),
        input=InputSpec(2, length),
        data=None,
        plan=None,
        metrics={},
        name="synthetic",
        sha256="0" * 64,
    )


def taught(network: nn.Module, frames: Frames) -> nn.Module:
    """A copy of a residual network whose last layer is fitted to frames by least squares, which takes no training."""
    network, features = copy.deepcopy(network).eval(), []
    hook = network.fc.register_forward_hook(lambda _module, inputs, _output: features.append(inputs[0]))
    iq = torch.from_numpy(frames.iq)
    with torch.no_grad():
        network(iq / iq.square().sum(1, keepdim=True).mean(2, keepdim=True).sqrt())
        hook.remove()
        known = torch.cat([features[0], torch.ones(len(iq), 1)], dim=1)
        wanted = 8 * functional.one_hot(torch.from_numpy(frames.labels), len(frames.classes)).float()
        found = torch.linalg.lstsq(known, wanted, driver="gelsd").solution
        network.fc.weight.copy_(found[:-1].T)
        network.fc.bias.copy_(found[-1])
    return network


class Doing(nn.Module):
    """A module that does what a function says with its submodules."""

    def __init__(self, function, **parts) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


class Padding(nn.Module):
    """A module of a network's own: zeros behind the channels of its input, as many as it is told."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.size = (inputs, outputs)

    def resized(self, size: tuple[int, int]) -> "Padding":
        return Padding(*size)

    def forward(self, x):
        return functional.pad(x, (0, 0, 0, self.size[1] - self.size[0]))


def signals(count: int = 4, length: int = LENGTH, seed: int = 3) -> torch.Tensor:
    """Frames (count, 2, length) of noise."""
    return torch.randn(count, 2, length, generator=torch.Generator().manual_seed(seed))


def batch_norm_outputs(model, length):
    """Number of values that the batch norms of a model put out for one frame, counted by hooks."""
    counts = []
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output: counts.append(output.numel()))
        for module in model.modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    with torch.no_grad():
        model(signals(1, length))
    for hook in hooks:
        hook.remove()
    return sum(counts)


def frozen(model: nn.Module) -> tuple[dict[str, torch.Tensor], list[tuple[str, type, bool]], list[bool]]:
    """Everything of a model that must not change: its state, the type and mode of its modules, what takes gradients."""
    return (
        copy.deepcopy(model.state_dict()),
        [(path, type(module), module.training) for path, module in model.named_modules()],
        [parameter.requires_grad for parameter in model.parameters()],
    )


def unchanged(model: nn.Module, before: tuple) -> bool:
    """Whether a model is bit for bit what `frozen` saw."""
    state, modules, gradients = frozen(model)
    return (
        modules == before[1]
        and gradients == before[2]
        and state.keys() == before[0].keys()
        and all(torch.equal(value, before[0][name]) for name, value in state.items())
    )


class RunsCommand:
    """An object whose pickle runs a command that creates a file."""

    def __init__(self, marker) -> None:
        self.marker = marker

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.marker}",)


def trap(marker, protocol: int = 4) -> bytes:
    """A pickle that would create the file `marker`."""
    return pickle.dumps(RunsCommand(marker), protocol=protocol)
