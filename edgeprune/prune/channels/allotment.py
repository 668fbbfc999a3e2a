"""Number of channels that each group loses, so that a network reaches a requested cost.

Channels are removed one after the other. Methods that treat all layers alike take from the layer that has lost the
smallest share of its own; the others take wherever the score is lowest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from edgeprune.errors import ModelError
from edgeprune.network.compute import copied, shapes_copy
from edgeprune.network.widths import Size, is_channelwise, resize, sizes_of
from edgeprune.prune.channels.dependencies import Group, makers
from edgeprune.prune.channels.macs import macs_by_module, macs_of, macs_resized
from edgeprune.records.pruning import InputSpec

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
        f"Channels stay in {', '.join(staying[:_NAMED])}{more}: they are the answer, protected, hidden states, or "
        "mixed with others in code"
    )
