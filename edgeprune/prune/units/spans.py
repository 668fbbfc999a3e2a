"""Where in the code of a module a unit lies that is not a module of its own: between which two steps."""

import operator

import networkx as nx
import torch
from torch import fx, nn

from edgeprune.errors import ModelError
from edgeprune.network.tracing import traced_code
from edgeprune.prune.units.core import Core
from edgeprune.prune.units.dominators import cut


def place_of(model: nn.Module, core: Core) -> tuple[str, tuple[str, str]]:
    """The innermost module whose code a unit can be cut out of, and between which of its steps.

    Raises:
        ModelError: There is none; it tells of the module that holds the unit.
    """
    problem: ModelError | None = None
    for holder in core.holders:
        try:
            return holder, span_of(model, holder, core.weights, core.trailing_steps(holder))
        except ModelError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def span_of(model: nn.Module, path: str, weights: frozenset[str], trailing: int) -> tuple[str, str]:
    """The step whose result goes into a unit, and the step that gives the unit's own result.

    Args:
        model: The whole network.
        path: Of the module whose code holds the unit, '' for the whole network.
        weights: Names of the unit's parameters in the network.
        trailing: How many pieces without weights after the last with weights may belong to it, at most.

    Raises:
        ModelError: The code cannot be traced, or the unit's weights are not used in a place of their own.
    """
    where = path or "the network's own code"
    traced = traced_code(model.get_submodule(path), path)
    pieces = _pieces(traced, where)
    names = _weights(traced)
    same = {name: id(parameter) for name, parameter in model.named_parameters(remove_duplicate=False)}
    wanted = {same[name] for name in weights}
    own = []
    for position, (_, inside) in enumerate(pieces):
        paths = {f"{path}.{name}" if path else name for node in inside for name in names[node]}
        used = {same[name] for name in paths if name in same}
        if used & wanted and used - wanted:
            raise ModelError(f"{where} mixes it with other layers in one step")
        if used & wanted:
            own.append(position)
        elif used and own:
            break
    if not own:
        raise ModelError(f"{where} does not use its weights")
    last = own[-1]
    for _, inside in pieces[last + 1 : last + 1 + trailing]:
        if any(names[node] for node in inside):
            break
        last += 1
    begin = pieces[own[0] - 1][0] if own[0] else _source(traced, where)
    return begin.name, pieces[last][0].name


def _pieces(traced: fx.GraphModule, where: str) -> list[tuple[fx.Node, set[fx.Node]]]:
    """The code cut where all data pass through one step: that step, and all steps since the one before."""
    source = _source(traced, where)
    output = next(node for node in traced.graph.nodes if node.op == "output")
    sink = output.args[0]
    if not isinstance(sink, fx.Node):
        raise ModelError(f"{where} returns several things")
    flow = _flow(traced)
    if source is sink or sink not in nx.descendants(flow, source):
        raise ModelError(f"{where} does nothing with its input")
    return cut(flow, source, sink, lambda node: not _is_bundle(node))


def _flow(traced: fx.GraphModule) -> nx.DiGraph:
    """What is computed from what; the size of a tensor depends on no data, and so on nothing."""
    nodes = traced.graph.nodes
    flow = nx.DiGraph((source, node) for node in nodes if not _is_size(node) for source in node.all_input_nodes)
    flow.add_nodes_from(nodes)
    return flow


def _is_size(node: fx.Node) -> bool:
    if node.target is getattr:
        return node.args[1] in ("shape", "ndim", "dtype", "device")
    return node.target in ("size", "dim", "numel", len, torch.ops.aten.sym_size.int)


def _is_bundle(node: fx.Node) -> bool:
    """Whether a step gives several things, which others take out one by one."""
    return bool(node.users) and all(
        user.target is operator.getitem and isinstance(user.args[1], int) for user in node.users
    )


def _source(traced: fx.GraphModule, where: str) -> fx.Node:
    source: fx.Node | None = next((node for node in traced.graph.nodes if node.op == "placeholder"), None)
    if source is None:
        raise ModelError(f"{where} takes no input")
    return source


def _weights(traced: fx.GraphModule) -> dict[fx.Node, set[str]]:
    """Names, within the traced module, of the parameters that each step uses, also where they are computed first."""
    moving = nx.descendants(_flow(traced), _source(traced, "")) | {_source(traced, "")}
    used: dict[fx.Node, set[str]] = {}
    for node in traced.graph.nodes:
        used[node] = {name for source in node.all_input_nodes if source not in moving for name in used[source]}
        if node.op == "call_module":
            target = str(node.target)
            used[node] |= {f"{target}.{name}" for name, _ in traced.get_submodule(target).named_parameters()}
        elif node.op == "get_attr":
            used[node].add(str(node.target))
    return used
