"""A network cut into successive stages for the synaptic flow, each an affine map with no negative coefficient.

A network of magnitudes has this property if it consists only of convolutions, linear layers, batch norm in evaluation
mode, additions, averages, reshapes and rectifiers: for a frame of ones nothing in it is ever negative, so a rectifier
passes everything. Such networks are recognized by tracing and examining every operation; any other is refused.
"""

import operator
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import fx, nn

from edgeprune.criteria._synflow.growth import MAXIMA, WEIGHTED
from edgeprune.errors import ModelError
from edgeprune.network.tracing import Code

_LINEAR: tuple[type[nn.Module], ...] = (
    nn.Identity,
    nn.ReLU,
    nn.LeakyReLU,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Flatten,
    nn.Unflatten,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
)
_FUNCTIONS = (
    torch.relu,
    torch.flatten,
    torch.mean,
    torch.cat,
    torch.unsqueeze,
    torch.squeeze,
    torch.permute,
    torch.transpose,
    torch.reshape,
    nn.functional.relu,
    nn.functional.dropout,
    nn.functional.avg_pool1d,
    nn.functional.avg_pool2d,
    nn.functional.adaptive_avg_pool1d,
    nn.functional.adaptive_avg_pool2d,
    operator.getitem,
    getattr,
)
_ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
_METHODS = (
    "relu",
    "relu_",
    "flatten",
    "mean",
    "sum",
    "unsqueeze",
    "squeeze",
    "permute",
    "transpose",
    "reshape",
    "view",
    "contiguous",
    "expand",
    "size",
)


@dataclass(frozen=True)
class Stage:
    """A stretch of the network with one tensor in and one out.

    Attributes:
        unit: Index of the unit to choose whose weights are in the stretch; None for a stretch without any.
        module: Module that computes it; its parameters and buffers keep the names that they have in the network.
    """

    unit: int | None
    module: fx.GraphModule


def stages_of(code: Code, owners: Mapping[str, int]) -> list[Stage]:
    """Cut a network so that no stage holds the weights of two units.

    Args:
        code: Code of the network, in eval mode.
        owners: Index of the unit, by the name of each of its parameters and buffers, for all units to choose from.

    Returns:
        The whole network, in order. Operations before the first choice may take a maximum, others may not.

    Raises:
        ModelError: It cannot be traced, is no chain of these units, or has an operation other than those above.
    """
    model = code.model
    try:
        traced = fx.symbolic_trace(model)
    except Exception:  # tracing runs the network's own code
        traced = code.of("", whole=True)
    stretches = _joined([(_units(traced, nodes, owners), nodes) for nodes in _stretches(traced.graph)])
    known = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    chosen = False
    stages = []
    for unit, nodes in stretches:
        chosen = chosen or unit is not None
        for node in nodes[1:]:
            if not _is_affine(traced, node, known) and (chosen or not _takes_maximum(traced, node)):
                raise ModelError(f"{node.name} is no affine map without negative coefficients")
        stages.append(Stage(unit, _module(traced, nodes)))
    return stages


def _stretches(graph: fx.Graph) -> list[list[fx.Node]]:
    """Cut the operations wherever a single value is used by all that follows: after each such value."""
    nodes = list(graph.nodes)
    place = {node: index for index, node in enumerate(nodes)}
    stretches: list[list[fx.Node]] = []
    last_use = 0
    for index, node in enumerate(nodes[:-1]):
        if stretches:
            stretches[-1].append(node)
        if last_use <= index:
            stretches.append([node])
        last_use = max([last_use, *(place[user] for user in node.users)])
    if not stretches or nodes[-1].args != (stretches.pop()[0],):
        raise ModelError("it returns several things")
    return stretches


def _units(traced: fx.GraphModule, nodes: list[fx.Node], owners: Mapping[str, int]) -> set[int]:
    """Indices of the units whose weights a stretch uses."""
    found = set()
    for node in nodes[1:]:
        if node.op == "call_module":
            inner = traced.get_submodule(str(node.target)).named_parameters(prefix=str(node.target))
            found |= {owners[name] for name, _ in inner if name in owners}
        elif node.op == "get_attr" and node.target in owners:
            found.add(owners[str(node.target)])
    return found


def _joined(stretches: list[tuple[set[int], list[fx.Node]]]) -> list[tuple[int | None, list[fx.Node]]]:
    """Join stretches of the same unit, and stretches without a unit to the one before."""
    joined: list[tuple[int | None, list[fx.Node]]] = []
    for units, nodes in stretches:
        if len(units) > 1:
            raise ModelError(f"units {', '.join(map(str, sorted(units)))} do not follow one another")
        unit = next(iter(units), None)
        if joined and unit in (None, joined[-1][0]):
            joined[-1][1].extend(nodes[1:])
        else:
            joined.append((unit, list(nodes)))
    units_found = [unit for unit, _ in joined if unit is not None]
    if len(set(units_found)) < len(units_found):
        raise ModelError("the weights of a unit are used in several places")
    return joined


def _module(traced: fx.GraphModule, nodes: list[fx.Node]) -> fx.GraphModule:
    """Module that computes the last node from the first."""
    graph = fx.Graph()
    copies = {nodes[0]: graph.placeholder("value")}
    for node in nodes[1:]:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(copies[nodes[-1]])
    return fx.GraphModule(traced, graph)


def _is_affine(traced: fx.GraphModule, node: fx.Node, known: set[str]) -> bool:
    """Whether an operation on magnitudes is an affine map without negative coefficients."""
    if node.op == "call_module":
        module = traced.get_submodule(str(node.target))
        averages = isinstance(module, nn.modules.batchnorm._BatchNorm) and not module.track_running_stats
        return isinstance(module, (*WEIGHTED, *_LINEAR)) and not averages
    if node.op == "get_attr":
        return node.target in known
    if node.target in _ADDITIONS:
        return len(node.all_input_nodes) == len(node.args) and not node.kwargs
    if node.target is nn.functional.pad:
        return node.kwargs.get("mode", "constant") == "constant" and not node.kwargs.get("value") and len(node.args) < 3
    return node.target in (_FUNCTIONS if node.op == "call_function" else _METHODS)


def _takes_maximum(traced: fx.GraphModule, node: fx.Node) -> bool:
    return node.op == "call_module" and type(traced.get_submodule(str(node.target))) in MAXIMA
