"""Channel pruning: narrows a network, as a baseline for layer pruning or after it.

Channels are removed one after the other in the order of a method's scores, until the network meets the requested cost.
Methods that treat all layers alike remove the same share of each; the others compare channels over the network.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from edgeprune.errors import ConfigError, ModelError, unknown_name
from edgeprune.network.compute import copied
from edgeprune.network.widths import Size, sizes_of
from edgeprune.prune.channels.allotment import Wanted, allot
from edgeprune.prune.channels.dependencies import Group
from edgeprune.prune.channels.removal import groups_of, without
from edgeprune.prune.channels.scores import METHODS
from edgeprune.records.pruning import InputSpec

_SOFT = "sfp"


@dataclass(frozen=True)
class _Choice:
    """Groups of a network, how many channels each loses, and in which order."""

    groups: tuple[Group, ...]
    counts: tuple[int, ...]
    orders: tuple[tuple[int, ...], ...]


def narrow(
    model: nn.Module,
    shape: InputSpec,
    method: str,
    keep_macs: float,
    *,
    protect: Sequence[str] = (),
    round_to: int = 1,
    seed: int = 0,
) -> tuple[nn.Module, dict[str, Size]]:
    """Copy a network narrower, on its device and in eval mode; the network itself is left unchanged.

    Its inputs and outputs stay, and at least one channel of every layer. A channel that would save too much at once is
    skipped when smaller ones come closer to the requested cost.

    Args:
        model: Network that takes normalized frames (N, channels, length).
        shape: Shape of its frames.
        method: One of `scores.METHODS`.
        keep_macs: Largest share of the multiply-accumulates that may remain, above 0 and below 1.
        protect: Paths of modules that keep the channels they make, including all modules in them.
        round_to: Divisor of the widths that change.
        seed: Seed of a method's random draws (only `rfp` has any).

    Returns:
        The narrowed network, and the sizes of the modules that changed: `widths.resize` with them and the state dict
        rebuild it.

    Raises:
        ConfigError: An unknown method, a number out of range, or Torch-Pruning is not installed.
        ModelError: The removable channels do not save as much, or every choice is more than 5 % cheaper.
    """
    network = copied(model).eval()
    choice = _choice(network, shape, method, keep_macs, protect, round_to, seed)
    removed = [order[:count] for order, count in zip(choice.orders, choice.counts, strict=True)]
    narrowed = without(network, list(zip(choice.groups, removed, strict=True)))
    before = sizes_of(network)
    return narrowed, {path: size for path, size in sizes_of(narrowed).items() if size != before[path]}


def soften(
    model: nn.Module,
    shape: InputSpec,
    keep_macs: float,
    *,
    protect: Sequence[str] = (),
    round_to: int = 1,
) -> Callable[[nn.Module], None]:
    """Build the step of soft filter pruning after every epoch (He et al. 2018): the smallest filters are set to zero.

    They continue to be trained, and others may be the smallest after the next epoch. The number of zeroed filters is
    the number that `narrow` by `sfp` removes at the same cost, so that after the last epoch it removes exactly those.
    The running statistics of a zeroed filter are zeroed too, so that evaluation matches training.

    Args:
        model: The network before training; left unchanged.
        shape: Shape of its frames.
        keep_macs: Largest share of the multiply-accumulates that `narrow` will leave.
        protect: As for `narrow`.
        round_to: As for `narrow`.

    Returns:
        Function to call with the network after each epoch, for `train(after_epoch=...)`.

    Raises:
        ConfigError: A number is out of range, or Torch-Pruning is not installed.
        ModelError: As for `narrow`.
    """
    network = copied(model).eval()
    choice = _choice(network, shape, _SOFT, keep_macs, protect, round_to, 0)

    @torch.no_grad()
    def after_epoch(trained: nn.Module) -> None:
        for group, count in zip(choice.groups, choice.counts, strict=True):
            smallest = _order(_scores(trained, group, _SOFT, (0,)))[:count]
            for member in group.members if smallest else ():
                if member.side != "inputs":
                    _zero(trained.get_submodule(member.path), [i for k in smallest for i in member.indices[k]])

    return after_epoch


def _choice(
    network: nn.Module,
    shape: InputSpec,
    method: str,
    keep_macs: float,
    protect: Sequence[str],
    round_to: int,
    seed: int,
) -> _Choice:
    if method not in METHODS:
        raise unknown_name("channel method", method, METHODS)
    if not 0 < keep_macs < 1:
        raise ConfigError(f"the share of MACs to keep must lie between 0 and 1, not {keep_macs}")
    if round_to < 1:
        raise ConfigError(f"widths cannot be rounded to multiples of {round_to}")
    found = groups_of(network, shape, protect)
    if not found:
        raise ModelError(
            "nothing to narrow: no channels can be removed without changing the inputs or outputs of the network, "
            "and hidden states keep their width",
            "Prune layers alone",
        )
    scored = [
        (group, scores)
        for place, group in enumerate(found)
        if (scores := _scores(network, group, method, (seed, place))) is not None
    ]
    if found and not scored:
        raise ModelError(
            f"{method} cannot score this network", "It needs batch normalization, and the network has none"
        )
    groups = [group for group, _ in scored]
    wanted = Wanted(METHODS[method].scope, keep_macs, round_to)
    counts = allot(network, shape, groups, [scores for _, scores in scored], wanted)
    return _Choice(tuple(groups), tuple(counts), tuple(tuple(_order(scores)) for _, scores in scored))


def _scores(network: nn.Module, group: Group, method: str, seed: tuple[int, ...]) -> Tensor | None:
    return METHODS[method].score(network, group, np.random.default_rng(seed))


def _order(scores: Tensor | None) -> list[int]:
    """Channels by score, the lowest first; the earlier of equals first."""
    order: list[int] = [] if scores is None else torch.argsort(scores, stable=True).tolist()
    return order


def _zero(module: nn.Module, outputs: list[int]) -> None:
    """Set filters, or their statistics in batch normalization, to zero."""
    if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
        for parameter in module.parameters(recurse=False):
            parameter[outputs] = 0
    elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
        module.running_mean[outputs] = 0
