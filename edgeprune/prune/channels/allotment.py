"""Number of channels that each group loses, so that a network reaches a requested cost.

Channels are removed one after the other. Methods that treat all layers alike take from the layer that has lost the
smallest share of its own; the others take wherever the score is lowest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edgeprune.errors import ModelError, reason_of
from edgeprune.network.compute import copied, shapes_copy
from edgeprune.network.widths import Size, is_channelwise, resize, sizes_of
from edgeprune.prune.channels.dependencies import Group, makers
from edgeprune.records.pruning import InputSpec


def macs_of(model: nn.Module, shape: InputSpec) -> int:
    """Count the multiply-accumulates of a network for one frame, by PyTorch's own formulas, from shapes alone.

    Raises:
        ModelError: It does not run on PyTorch's meta device.
    """
    return macs_by_module(model, shape)[""]


def macs_by_module(model: nn.Module, shape: InputSpec) -> dict[str, int]:
    """Count them for every module, by its path; '' is the network. A module without any may be missing.

    Raises:
        ModelError: It does not run on PyTorch's meta device.
    """
    shapes = shapes_copy(model).eval()
    try:
        with torch.no_grad(), torch.device("meta"), FlopCounterMode(display=False) as counter:
            shapes(torch.zeros(1, shape.channels, shape.length))
    except Exception as error:  # the network's own code
        raise ModelError(f"the cost of the network cannot be counted: {reason_of(error)}") from error
    root = type(model).__name__
    named = {name.removeprefix(f"{root}."): flops for name, flops in counter.get_flop_counts().items() if name != root}
    return {**{path: sum(flops.values()) // 2 for path, flops in named.items()}, "": counter.get_total_flops() // 2}


def macs_resized(module: nn.Module, macs: int, size: Size) -> int:
    """Multiply-accumulates of a resized module: they grow with its weights.

    Args:
        module: Module before resizing.
        macs: Multiply-accumulates before resizing.
        size: New size.
    """
    old = sizes_of(module)[""]
    return macs * _weights(module, size) // _weights(module, old) if macs else 0


def _weights(module: nn.Module, size: Size) -> int:
    """Number of weights that are multiplied, up to a factor that does not depend on the size."""
    if isinstance(module, nn.RNNBase):
        weights = {name: weight for name, weight in module.named_parameters() if weight.dim() > 1}
        reading = sum(len(weight) for name, weight in weights.items() if name.startswith("weight_ih_l0"))
        return sum(weight.numel() for weight in weights.values()) + reading * (size[0] - module.input_size)
    return size[1] if is_channelwise(module) else size[0] * size[1]


TOLERANCE = 0.05
_NAMED = 3


@dataclass(frozen=True)
class Wanted:
    """Required cost of the network.

    Attributes:
        scope: 'layer' to take the same share of every group, 'network' to compare scores between groups.
        keep_macs: Largest share of the multiply-accumulates that may remain.
        round_to: Divisor of the widths that change.
    """

    scope: Literal["layer", "network"]
    keep_macs: float
    round_to: int


@dataclass(frozen=True)
class _Step:
    """Removal of channels from one group: after it, `removed` of them are gone."""

    group: int
    removed: int


def allot(
    network: nn.Module, shape: InputSpec, groups: Sequence[Group], scores: Sequence[Tensor], wanted: Wanted
) -> list[int]:
    """Decide how many channels each group loses: as few as make the network cheap enough.

    A channel that would save too much at once is skipped, with the rest of its group, when others come closer.

    Args:
        network: Network on the CPU, in eval mode.
        shape: Shape of its frames.
        groups: Groups of channels that can be removed.
        scores: Scores of every channel of each group, (channels,), more is better.
        wanted: Required cost, and how to reach it.

    Raises:
        ModelError: The removable channels do not save as much, or every choice is more than 5 % cheaper.
    """
    steps = _steps(groups, scores, wanted)
    cost = _costing(network, shape, groups, steps)
    whole = max(cost([]), 1)
    most = wanted.keep_macs * whole
    taken: list[_Step] = []
    nearest: list[int] = []
    while (left := cost([*taken, *steps])) <= most and steps:
        too_few, enough = 0, len(steps)
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            too_few, enough = (too_few, middle) if cost([*taken, *steps[:middle]]) <= most else (middle, enough)
        nearest.append(cost([*taken, *steps[:enough]]))
        if nearest[-1] >= (1 - TOLERANCE) * most:
            return _removed(groups, [*taken, *steps[:enough]])
        taken += steps[: enough - 1]
        steps = [step for step in steps[enough:] if step.group != steps[enough - 1].group]
    if not nearest:
        found = f"{left / whole:.1%} of the MACs are left at least, not {wanted.keep_macs:.1%}"
        raise ModelError(found, _staying(network, groups))
    raise ModelError(
        f"no choice of channels leaves about {wanted.keep_macs:.1%} of the MACs: the nearest are "
        f"{max(nearest) / whole:.1%} and {cost(taken) / whole:.1%}",
        "Ask for one of these, or round the widths less",
    )


def _steps(groups: Sequence[Group], scores: Sequence[Tensor], wanted: Wanted) -> list[_Step]:
    """List all steps in the order they are taken: by the share removed so far, or by the best score that is lost."""
    round_to = wanted.round_to
    keyed = []
    for place, (group, own) in enumerate(zip(groups, scores, strict=True)):
        ranked = own.sort().values.tolist()
        widest = (group.channels - 1) // round_to * round_to
        for kept in range(widest, 0, -round_to):
            removed = group.channels - kept
            key = removed / group.channels if wanted.scope == "layer" else ranked[removed - 1]
            keyed.append((key, place, removed))
    return [_Step(place, removed) for _, place, removed in sorted(keyed)]


def _costing(
    network: nn.Module, shape: InputSpec, groups: Sequence[Group], steps: Sequence[_Step]
) -> Callable[[Sequence[_Step]], int]:
    """Function that gives the MACs after some steps: computed from the weights where that is exact, or counted.

    It is not exact where a network multiplies channels in its own code.
    """
    before = macs_by_module(network, shape)
    shapes = shapes_copy(network)

    def counted(taken: Sequence[_Step]) -> int:
        narrowed = copied(shapes)
        resize(narrowed, _sizes(shapes, groups, _removed(groups, taken)))
        return macs_of(narrowed, shape)

    def worked_out(taken: Sequence[_Step]) -> int:
        sizes = _sizes(shapes, groups, _removed(groups, taken))
        costs = {path: before.get(path, 0) for path in sizes}
        left = sum(macs_resized(shapes.get_submodule(path), costs[path], size) for path, size in sizes.items())
        return before[""] - sum(costs.values()) + left

    tried = (steps, steps[: len(steps) // 2])
    return worked_out if all(worked_out(some) == counted(some) for some in tried) else counted


def _removed(groups: Sequence[Group], taken: Sequence[_Step]) -> list[int]:
    removed = [0] * len(groups)
    for step in taken:
        removed[step.group] = step.removed
    return removed


def _sizes(network: nn.Module, groups: Sequence[Group], removed: Sequence[int]) -> dict[str, Size]:
    """Sizes of all modules that lose channels."""
    old = sizes_of(network)
    new: dict[str, Size] = {}
    for group, count in zip(groups, removed, strict=True):
        for member in group.members if count else ():
            inputs, outputs = new.get(member.path, old[member.path])
            lost = count * len(member.indices[0])
            new[member.path] = inputs - lost * (member.side != "outputs"), outputs - lost * (member.side != "inputs")
    return new


def _staying(network: nn.Module, groups: Sequence[Group]) -> str:
    """Describe which layers keep their channels, and the possible reasons."""
    free = {path for group in groups for path in makers(group)}
    layers = [path for path in sizes_of(network) if not is_channelwise(network.get_submodule(path))]
    staying = [path for path in layers if path not in free]
    more = f" and {len(staying) - _NAMED} more" if len(staying) > _NAMED else ""
    return (
        f"Channels stay in {', '.join(staying[:_NAMED])}{more}: they are outputs, protected, hidden states, or "
        "mixed with others in code"
    )
