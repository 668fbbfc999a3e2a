"""Removal of channels from a network, and which of them can be removed.

A group of channels can be removed if removing some of them gives the same output as reading zeros in their place. This
is verified by running both: then nothing else reads the channels, and every layer loses the right ones.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from edgeprune.errors import ConfigError
from edgeprune.network.compute import beside, copied
from edgeprune.network.widths import picked, replace, sizes_of
from edgeprune.prune.channels.dependencies import Group, coupled_groups, makers
from edgeprune.records.pruning import InputSpec

_FRAMES = 2


def groups_of(model: nn.Module, shape: InputSpec, protect: Sequence[str] = ()) -> tuple[Group, ...]:
    """List all groups whose channels can be removed.

    Args:
        model: Network in eval mode; left unchanged.
        shape: Shape of its frames.
        protect: Paths of modules that keep the channels they make, including all modules in them.

    Raises:
        ConfigError: Torch-Pruning is not installed, or a protected path is not in the network.
        ModelError: The network cannot be traced.
    """
    paths = {path for path, _ in model.named_modules()}
    unknown = [path for path in protect if path not in paths]
    if unknown:
        raise ConfigError(f"the network has no module {unknown[0]!r} to protect")
    free = [
        group for group in coupled_groups(model, shape) if not any(_is_within(path, protect) for path in makers(group))
    ]
    if _is_exact(model, shape, free):
        return tuple(free)
    return tuple(group for group in free if _is_exact(model, shape, [group]))


def without(model: nn.Module, removed: Sequence[tuple[Group, Sequence[int]]]) -> nn.Module:
    """Copy a network without some channels of some groups."""
    gone: dict[str, tuple[set[int], set[int]]] = {}
    for group, channels in removed:
        for member in group.members:
            inputs, outputs = gone.setdefault(member.path, (set(), set()))
            indices = {index for channel in channels for index in member.indices[channel]}
            if member.side != "outputs":
                inputs |= indices
            if member.side != "inputs":
                outputs |= indices
    sizes = sizes_of(model)
    narrowed = copied(model)
    kept = {
        path: [[k for k in range(size) if k not in side] for size, side in zip(sizes[path], gone[path], strict=True)]
        for path in gone
    }
    replace(narrowed, {path: picked(narrowed.get_submodule(path), *sides) for path, sides in kept.items()})
    return narrowed


def _is_within(path: str, roots: Iterable[str]) -> bool:
    return any(path == root or path.startswith(f"{root}.") or not root for root in roots)


@torch.no_grad()
def _is_exact(model: nn.Module, shape: InputSpec, groups: Sequence[Group]) -> bool:
    """Whether removing half the channels of the groups is equivalent to reading zeros in their place.

    The channels are drawn at random, since a shuffle maps a regular choice onto itself. The weights are disturbed,
    since one that happens to be zero hides a channel that is mistaken for another.
    """
    generator = torch.Generator().manual_seed(0)
    trial = _disturbed(model, generator)
    frames = beside(model, torch.randn(_FRAMES, shape.channels, shape.length, generator=generator))
    removed = [
        (group, torch.randperm(group.channels, generator=generator)[: group.channels // 2].tolist()) for group in groups
    ]
    try:
        frames, trial, before = _precisely(trial, frames)
        answer = without(trial, removed)(frames)
        for group, channels in removed:
            for member in group.members:
                if member.side == "inputs":
                    indices = [index for channel in channels for index in member.indices[channel]]
                    _read_zeros(trial.get_submodule(member.path), indices)
        expected = trial(frames)
    except Exception:  # a width that is written into the network's own code
        return False
    if answer.shape != expected.shape:
        return False
    rounding = torch.finfo(answer.dtype).eps
    effect, scale = float((expected - before).abs().max()), float(expected.abs().max())
    allowed = float(rounding**0.5 * effect + 1e4 * rounding * scale)
    return float((answer - expected).abs().max()) <= allowed


def _disturbed(model: nn.Module, generator: torch.Generator) -> nn.Module:
    trial = copied(model)
    for parameter in trial.parameters():
        scale = parameter.abs().mean().clamp(min=0.1).expand_as(parameter)
        noise = torch.randn(parameter.shape, generator=generator).to(parameter)
        parameter.add_(0.1 * noise * torch.where(parameter == 0, scale, parameter))
    return trial


def _precisely(model: nn.Module, frames: Tensor) -> tuple[Tensor, nn.Module, Tensor]:
    """Convert frames, network and its output to float64, or leave them where its code requires another type."""
    double = copied(model).double()
    try:
        return frames.double(), double, double(frames.double())
    except Exception:  # whatever the network's own code says of float64
        return frames, model, model(frames)


def _read_zeros(module: nn.Module, inputs: list[int]) -> None:
    """Make a module read zeros for some of its inputs."""
    for name, weight in module.named_parameters(recurse=False):
        if name == "weight" or name.startswith("weight_ih_l0"):
            weight[:, inputs] = 0
