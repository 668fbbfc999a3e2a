"""Position of a unit in the code of a module, if it is not a module of its own: between which two steps."""

import operator

import networkx as nx
import torch
from torch import fx

from edgeprune.errors import ModelError
from edgeprune.network.edits import result_of
from edgeprune.network.tracing import Code
from edgeprune.prune.units.core import Core
from edgeprune.prune.units.dominators import cut, opened

Part = tuple[fx.Node, set[fx.Node]]
"""A step that all data pass through, and all steps since the previous one."""


class Places:
    """Positions of a network's units in the code of its modules.

    Args:
        code: Code of the network.
    """

    def __init__(self, code: Code) -> None:
        self._code = code
        self._same = {name: id(weight) for name, weight in code.model.named_parameters(remove_duplicate=False)}
        self._holders: dict[str, _Holder | ModelError] = {}

    def of(self, core: Core) -> tuple[str, tuple[str, str]]:
        """Innermost module whose code a unit can be cut out of, and between which of its steps.

        Raises:
            ModelError: There is none; the message names the module that holds the unit.
        """
        problem: ModelError | None = None
        for holder in core.holders:
            try:
                return holder, self.span_of(holder, core.weights, core.trailing_steps(holder))
            except ModelError as error:
                problem = problem or error
        assert problem is not None
        raise problem

    def span_of(self, path: str, weights: frozenset[str], trailing: int) -> tuple[str, str]:
        """Step whose result is the input of a unit, and the step that gives the unit's own result.

        Args:
            path: Path of the module whose code holds the unit, '' for the whole network.
            weights: Names of the unit's parameters in the network.
            trailing: Largest number of weightless pieces after the last with weights that may belong to it.

        Raises:
            ModelError: The code cannot be traced, or the unit's weights are used in several places.
        """
        holder = self._holder(path)
        own = holder.own({self._same[name] for name in weights})
        last = own[-1]
        for _, inside in holder.parts[last + 1 : last + 1 + trailing]:
            if any(holder.used[node] for node in inside):
                break
            last += 1
        begin = holder.parts[own[0] - 1][0] if own[0] else holder.source
        return begin.name, holder.parts[last][0].name

    def _holder(self, path: str) -> "_Holder":
        if path not in self._holders:
            try:
                self._holders[path] = _Holder(self._code.of(path), path, self._same)
            except ModelError as error:
                self._holders[path] = error
        found = self._holders[path]
        if isinstance(found, ModelError):
            raise found
        return found


class _Holder:
    """Code of one module, cut where all data pass through one step.

    Attributes:
        source: Input of the module.
        parts: Parts of the code, in order.
        used: Weights that each step uses, by their ids, including those that are computed first.
    """

    def __init__(self, traced: fx.GraphModule, path: str, same: dict[str, int]) -> None:
        self._where = path or "the network's own code"
        if not path and not isinstance(next(reversed(traced.graph.nodes)).args[0], fx.Node):
            raise ModelError(f"{self._where} returns several things")
        self._flow = _flow(traced)
        self.source = _source(traced, self._where)
        self.parts = _pieces(traced, self._where)
        names = _weights(traced)
        self.used = {
            node: {same[full] for name in names[node] if (full := f"{path}.{name}" if path else name) in same}
            for node in traced.graph.nodes
        }
        self._index()

    def _index(self) -> None:
        self._weights = [set().union(*(self.used[node] for node in inside)) for _, inside in self.parts]
        self._users: dict[int, list[int]] = {}
        for place, weights in enumerate(self._weights):
            for weight in weights:
                self._users.setdefault(weight, []).append(place)

    def own(self, wanted: set[int]) -> list[int]:
        """Indices of the parts that use some weights: those from the first on without others between them.

        Raises:
            ModelError: There are none, or one uses others too.
        """
        while True:
            places = sorted({place for weight in wanted for place in self._users.get(weight, ())})
            mixed = next((place for place in places if self._weights[place] - wanted), None)
            if mixed is None:
                break
            if not self._open(mixed):
                raise ModelError(f"{self._where} mixes it with other layers in one step")
        if not places:
            raise ModelError(f"{self._where} does not use its weights")
        return [place for place in places if all(self._weights[other] <= wanted for other in range(places[0], place))]

    def _open(self, place: int) -> bool:
        """Cut a part at its only branch with weights, if it has one."""
        end, inside = self.parts[place]
        begin = self.parts[place - 1][0] if place else self.source
        parts = opened(self._flow, begin, end, inside, lambda node: bool(self.used[node]), _is_whole)
        if parts is None or len(parts) < 3:
            return False
        self.parts[place : place + 1] = parts
        self._index()
        return True


def _pieces(traced: fx.GraphModule, where: str) -> list[Part]:
    """Cut the code where all data pass through one step."""
    source = _source(traced, where)
    flow = _flow(traced)
    sink = result_of(traced.graph)
    if sink is None or sink not in nx.descendants(flow, source):
        raise ModelError(f"{where} does nothing with its input")
    return cut(flow, source, sink, _is_whole)


def _flow(traced: fx.GraphModule) -> nx.DiGraph:
    """Data flow of the code; the size of a tensor depends on no data, and so on nothing."""
    nodes = traced.graph.nodes
    flow = nx.DiGraph((source, node) for node in nodes if not _is_size(node) for source in node.all_input_nodes)
    flow.add_nodes_from(nodes)
    return flow


def _is_size(node: fx.Node) -> bool:
    if node.target is getattr:
        return node.args[1] in ("shape", "ndim", "dtype", "device")
    return node.target in ("size", "dim", "numel", len, torch.ops.aten.sym_size.int)


def _is_whole(node: fx.Node) -> bool:
    return not _is_bundle(node)


def _is_bundle(node: fx.Node) -> bool:
    """Whether a step gives several values, which other steps take out one by one."""
    return bool(node.users) and all(
        user.target is operator.getitem and isinstance(user.args[1], int) for user in node.users
    )


def _source(traced: fx.GraphModule, where: str) -> fx.Node:
    source: fx.Node | None = next((node for node in traced.graph.nodes if node.op == "placeholder"), None)
    if source is None:
        raise ModelError(f"{where} takes no input")
    return source


def _weights(traced: fx.GraphModule) -> dict[fx.Node, set[str]]:
    """Names, within the traced module, of the parameters that each step uses, even if they are computed first."""
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
