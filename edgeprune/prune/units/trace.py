"""Data flow of a network, as a graph: all operations between its one input and its one output.

The network is a chain of pieces, from one tensor that the whole flow passes through to the next (`dominators.cut`).
"""

import inspect
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import networkx as nx
import torch
from torch import fx, nn
from torch.utils.flop_counter import FlopCounterMode

from edgeprune.errors import ModelError, reason_of
from edgeprune.network.running import copies_traced, countable, quiet_torch
from edgeprune.prune.units.dominators import cut, opened

_BATCH = 2
_LONG = 4  # layers that a shortcut leads over which are cut one by one

T = TypeVar("T", bound=Hashable)


class NotExportedError(ModelError):
    """Network that torch cannot export."""


@dataclass(frozen=True)
class Node:
    """Operation: its module path from outer to inner, the shape it makes, its parameters and its cost for one frame."""

    name: str
    operation: str
    modules: tuple[str, ...]
    shape: tuple[int, ...]
    parameters: tuple[tuple[str, int], ...]
    macs: int


@dataclass(frozen=True)
class Piece:
    """Operations between two nodes that all data pass through, including the second, in order of execution.

    Attributes:
        nodes: The operations.
        closes: Whether it is the end of a long shortcut, which belongs to no unit.
    """

    nodes: tuple[Node, ...]
    closes: bool = False

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of its output, without the batch."""
        return self.nodes[-1].shape


def pieces_of(model: nn.Module, channels: int, length: int) -> tuple[Piece, ...]:
    """Cut a network where its whole data flow passes through one tensor.

    Args:
        model: Network that takes frames (N, channels, length); must be in eval mode.
        channels: Rows of a frame.
        length: Samples of a frame.

    Raises:
        NotExportedError: It cannot be exported.
        ModelError: It has several inputs or outputs.
    """
    _require_one_input(model)
    example = torch.zeros(_BATCH, channels, length)
    try:
        with quiet_torch(), copies_traced():
            program = torch.export.export(model, (example,), strict=False)
    except Exception as error:  # export runs the model's own code
        raise NotExportedError(
            f"the network cannot be traced: {reason_of(error)}", "Its layers cannot be told apart"
        ) from error
    outputs = program.graph_signature.user_outputs
    if len(outputs) != 1 or len(program.graph_signature.user_inputs) != 1:
        raise ModelError(
            f"the network has {len(program.graph_signature.user_inputs)} inputs and {len(outputs)} outputs, "
            "and a chain of layers needs one of each",
            "Name a `factory` whose network calls yours with one input and returns the one output to use",
        )
    nodes = {node.name: node for node in program.graph_module.graph.nodes}
    if outputs[0] not in nodes:
        raise ModelError(f"the network returns {outputs[0]!r} for every frame, not a tensor")
    source, sink = nodes[program.graph_signature.user_inputs[0]], nodes[outputs[0]]
    flow = nx.DiGraph((user, node) for node in nodes.values() for user in node.all_input_nodes)
    if source not in flow or sink not in nx.descendants(flow, source):
        raise ModelError("the network's output does not depend on its input")
    between = {source, sink} | (nx.descendants(flow, source) & nx.ancestors(flow, sink))
    costs = _macs(program)
    parameters = {
        name: (target, program.state_dict[target].numel())
        for name, target in program.graph_signature.inputs_to_parameters.items()
    }
    callable_paths = {path for path, module in model.named_modules() if path and type(module) is not nn.Module}
    described = {
        node: _node(node, between, parameters, costs, callable_paths) for node in nodes.values() if node in between
    }
    return cut_into_pieces(flow, source, sink, described, _is_tensor)


def cut_into_pieces(
    flow: nx.DiGraph, source: T, sink: T, described: Mapping[T, Node], passes: Callable[[T], bool]
) -> tuple[Piece, ...]:
    """Cut a data flow into pieces, also within one long shortcut over several blocks.

    Args:
        flow: Graph with edges from inputs to their users.
        source: First node.
        sink: Last node.
        described: Operations between the two, in order of execution.
        passes: Whether to cut at an operation.
    """
    order = {node: position for position, node in enumerate(described)}

    def pieces(begin: T, end: T, inside: set[T], closes: bool) -> list[Piece]:
        if len(inside) > 1 and not closes:
            parts = opened(flow, begin, end, inside, lambda node: bool(described[node].parameters), passes)
            if parts is not None and _is_long(parts, described, end):
                return walk(begin, parts, opened_part=True)
        nodes = (described[node] for node in sorted(inside, key=order.__getitem__))
        return [Piece(tuple(nodes), closes)]

    def walk(begin: T, parts: list[tuple[T, set[T]]], opened_part: bool) -> list[Piece]:
        found = []
        for place, (end, inside) in enumerate(parts):
            found += pieces(begin, end, inside, opened_part and place == len(parts) - 1)
            begin = end
        return found

    return tuple(walk(source, cut(flow, source, sink, passes), opened_part=False))


def _is_long(parts: list[tuple[T, set[T]]], described: Mapping[T, Node], joint: T) -> bool:
    """Whether a shortcut spans several blocks, and not the body of one."""
    blocks = [
        end for end, inside in parts[:-1]
        if len(inside) > 1 and "add" in described[end].operation and any(described[node].parameters for node in inside)
    ]  # fmt: skip
    layers = [end for end, inside in parts[:-1] if any(described[node].macs for node in inside)]
    return len(blocks) > 1 or ("add" not in described[joint].operation and len(layers) >= _LONG)


def _is_tensor(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), torch.Tensor)


def _require_one_input(model: nn.Module) -> None:
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):  # code that tells no signature
        return
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [each.name for each in parameters if each.kind in positional and each.default is inspect.Parameter.empty]
    if len(needed) > 1:
        raise ModelError(
            f"the network takes {len(needed)} inputs ({', '.join(needed)}), and a chain of layers needs one",
            "Join them within the network's own code, from the one frame that it is given",
        )


def _node(
    node: fx.Node,
    between: set[fx.Node],
    parameters: dict[str, tuple[str, int]],
    costs: dict[str, int],
    callable_paths: set[str],
) -> Node:
    stack = node.meta.get("nn_module_stack") or {}
    value = node.meta.get("val")
    return Node(
        name=node.name,
        operation=str(node.target),
        modules=tuple(path for path, _ in stack.values() if path in callable_paths),
        shape=tuple(int(size) for size in value.shape[1:]) if isinstance(value, torch.Tensor) else (),
        parameters=tuple(parameters[name] for name in _read_by(node, between) if name in parameters),
        macs=costs.get(node.name, 0),
    )


def _read_by(node: fx.Node, between: set[fx.Node]) -> list[str]:
    """Parameters that an operation reads beside the data flow, directly or through operations on weights alone."""
    found: list[str] = []
    queue = [node]
    while queue:
        beside = [source for source in queue.pop().all_input_nodes if source not in between]
        found += [source.name for source in beside]
        queue += beside
    return found


class _Counter(fx.Interpreter):
    """Runs a graph and records the multiply-accumulates of every node."""

    def __init__(self, module: fx.GraphModule, counter: FlopCounterMode) -> None:
        super().__init__(module, garbage_collect_values=True)
        self.macs: dict[str, int] = {}
        self._counter = counter

    def run_node(self, n: fx.Node) -> object:
        if n.op != "call_function":
            return super().run_node(n)
        before = self._counter.get_total_flops()
        result = super().run_node(n)
        self.macs[n.name] = (self._counter.get_total_flops() - before) // (2 * _BATCH)
        return result


@torch.no_grad()
def _macs(program: torch.export.ExportedProgram) -> dict[str, int]:
    """Count the multiply-accumulates of each node for one frame, by PyTorch's own formulas, from shapes alone."""
    placeholders = [node for node in program.graph_module.graph.nodes if node.op == "placeholder"]
    with FlopCounterMode(display=False) as flops, countable():
        counter = _Counter(program.graph_module, flops)
        counter.run(*(node.meta["val"] for node in placeholders))
    return counter.macs
