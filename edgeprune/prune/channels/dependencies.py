"""Dependencies between channels: those that can only be removed together, in every layer that makes or reads them.

They come from Torch-Pruning's dependency graph (Fang et al. 2023, "DepGraph"). It follows shuffles and some reshapes
wrongly, so its groups must be verified (`removal.groups_of`).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from edgeprune.errors import ConfigError, ModelError, reason_of
from edgeprune.network.compute import beside, copied, put_beside
from edgeprune.network.widths import Resizable, can_pick, sizes_of
from edgeprune.records.pruning import InputSpec

Side = Literal["inputs", "outputs", "both"]
_FRAMES = 2


@dataclass(frozen=True)
class Member:
    """Module that has the channels of a group.

    Attributes:
        path: Path of the module.
        side: Whether they are its inputs, its outputs, or both, for a module that works on each channel alone.
        indices: Indices of each of the group's channels in the module; several where a map was flattened.
    """

    path: str
    side: Side
    indices: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Group:
    """Channels that can be removed individually; each in all members at once."""

    channels: int
    members: tuple[Member, ...]


def makers(group: Group) -> list[str]:
    """Paths of the modules that make the channels of a group or pass them on."""
    return [member.path for member in group.members if member.side != "inputs"]


class _Fed(nn.Module):
    """Network behind a layer, so that the graph knows which channels are those of the input."""

    def __init__(self, network: nn.Module, channels: int) -> None:
        super().__init__()
        self.source = put_beside(network, nn.Conv1d(channels, channels, 1))
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.network(self.source(x))
        return result


def coupled_groups(model: nn.Module, shape: InputSpec) -> list[Group]:
    """List all groups in the graph, in the order of the network's modules; its inputs and outputs are in none.

    Where fewer channels are added to more (zero-padded shortcuts) there are two groups: the channels that exist
    everywhere, and the others.

    Args:
        model: Network in eval mode; left unchanged.
        shape: Shape of its frames.

    Raises:
        ConfigError: Torch-Pruning is not installed.
        ModelError: The network cannot be traced.
    """
    fed = _Fed(copied(model).requires_grad_(True), shape.channels)
    graph = _graph(fed, shape)
    sizes = sizes_of(model)
    names = {module: path for path, module in fed.network.named_modules()}
    roots = [module for module in names if isinstance(module, nn.modules.conv._ConvNd | nn.Linear)]
    roots = [module for module in roots if module in graph.module2node and names[module] in sizes]
    visited: set[str] = set()
    found = []
    for module in sorted(roots, key=lambda root: -sizes[names[root]][1]):
        if names[module] in visited:
            continue
        pruner = graph.get_pruner_of_module(module)
        channels = sizes[names[module]][1]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                coupled = graph.get_pruning_group(module, pruner.prune_out_channels, list(range(channels)))
        except (AttributeError, LookupError, TypeError, ValueError):  # a reshape that the graph does not follow
            continue
        for dependency, _ in coupled:
            if graph.is_out_channel_pruning_fn(dependency.handler):
                visited.add(names.get(dependency.target.module, ""))
        found += _split(_members(graph, coupled, names, fed.source) or [], channels)
    order = {path: place for place, path in enumerate(sizes)}
    return sorted(found, key=lambda group: min(order[path] for path in makers(group)))


def _graph(fed: _Fed, shape: InputSpec) -> Any:
    try:
        import torch_pruning
    except ImportError as error:
        raise ConfigError(
            "removing channels needs the package torch-pruning", "Install it with: pip install 'edgeprune[width]'"
        ) from error
    resizable = [module for module in fed.modules() if isinstance(module, Resizable)]
    frames = beside(fed, torch.zeros(_FRAMES, shape.channels, shape.length))
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            graph = torch_pruning.DependencyGraph().build_dependency(
                fed,
                example_inputs=[frames],
                customized_pruners={type(module): _PassesOn() for module in resizable},
                verbose=False,
            )
    except Exception as error:  # the network's own code, and a graph made from its gradients
        recurrent = [path for path, module in fed.network.named_modules() if isinstance(module, nn.RNNBase)]
        if recurrent:
            raise ModelError(
                f"nothing to narrow: {recurrent[0]} cannot be followed, and hidden states keep their width",
                "Prune layers alone",
            ) from error
        raise ModelError(f"the channels of the network cannot be traced: {reason_of(error)}") from error
    for module in resizable:
        node = graph.module2node.get(module)
        for dependency in node.dependencies if node else ():
            if any(dependency.target is source for source in node.inputs):
                dependency.index_mapping[0] = _leading(module.size[0])
    return graph


class _PassesOn:
    """Torch-Pruning's view of a `Resizable`: a channel that leaves it is the one that entered it."""

    pruning_dim = 1

    def prune_out_channels(self, layer: nn.Module, idxs: Sequence[int]) -> nn.Module:
        del idxs
        return layer

    prune_in_channels = prune_out_channels

    def get_in_channels(self, layer: Resizable) -> int:
        return layer.size[0]

    def get_out_channels(self, layer: Resizable) -> int:
        return layer.size[1]

    def get_in_channel_groups(self, layer: Resizable) -> int:
        del layer
        return 1

    get_out_channel_groups = get_in_channel_groups


def _leading(count: int) -> Any:
    """Function that selects the channels leaving a module that also entered it."""
    return lambda indices: [index for index in indices if index.idx < count]


def _members(graph: Any, coupled: Any, names: dict[nn.Module, str], source: nn.Module) -> list[Member] | None:
    """Modules of a coupled group; None where its channels must stay, or the graph contradicts itself."""
    members = []
    for place in range(len(coupled)):
        dependency, indices = coupled[place]
        module = dependency.target.module
        outwards = graph.is_out_channel_pruning_fn(dependency.handler)
        if module is source or isinstance(module, nn.Parameter) or (outwards and not dependency.target.outputs):
            return None
        if module not in names or (isinstance(module, nn.PReLU) and module.num_parameters == 1):
            continue
        side: Side = "inputs"
        if outwards:
            side = "both" if graph.is_in_channel_pruning_fn(dependency.handler) else "outputs"
        if not can_pick(module) or (isinstance(module, nn.RNNBase) and outwards):
            return None
        size = sizes_of(module)[""][side != "inputs"]
        roots = coupled[place].root_idxs
        if None in roots or len(set(indices)) < len(indices) or not all(0 <= index < size for index in indices):
            return None
        by_channel: dict[int, list[int]] = {}
        for root, index in zip(roots, indices, strict=True):
            by_channel.setdefault(root, []).append(index)
        own = tuple(tuple(sorted(by_channel.get(channel, []))) for channel in range(len(coupled[0].idxs)))
        path = names[module]
        if isinstance(module, Resizable):
            entering = tuple(tuple(index for index in indices if index < module.size[0]) for indices in own)
            members += [Member(path, "inputs", entering), Member(path, "outputs", own)]
        else:
            members.append(Member(path, side, own))
    return members


def _split(members: list[Member], channels: int) -> list[Group]:
    """Split a group so that each part holds the channels of the same members."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for channel in range(channels):
        alike.setdefault(tuple(len(member.indices[channel]) for member in members), []).append(channel)
    return [
        Group(
            len(those),
            tuple(
                Member(member.path, member.side, tuple(member.indices[channel] for channel in those))
                for member, count in zip(members, counts, strict=True)
                if count
            ),
        )
        for counts, those in alike.items()
        if members and len(those) > 1
    ]
