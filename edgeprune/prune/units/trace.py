"""The data flow of a network, as a graph: what is computed from the one input on the way to the one output.

The network is a chain of pieces, from one tensor that the whole flow passes through to the next (`flow.cut`).
"""

import inspect
from dataclasses import dataclass

import networkx as nx
import torch
from torch import fx, nn
from torch.utils.flop_counter import FlopCounterMode

from edgeprune.errors import ModelError, reason_of
from edgeprune.network.running import countable, quiet_torch
from edgeprune.prune.units.dominators import cut

_BATCH = 2


class NotExportedError(ModelError):
    """A network that torch cannot export."""


@dataclass(frozen=True)
class Node:
    """One operation: its module path from outer to inner, the shape it makes, its parameters and cost for one frame."""

    name: str
    operation: str
    modules: tuple[str, ...]
    shape: tuple[int, ...]
    parameters: tuple[tuple[str, int], ...]
    macs: int


@dataclass(frozen=True)
class Piece:
    """The operations between two nodes that all data pass through, the second included, in order of execution."""

    nodes: tuple[Node, ...]

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of what leaves it, without the batch."""
        return self.nodes[-1].shape


def pieces_of(model: nn.Module, channels: int, length: int) -> tuple[Piece, ...]:
    """Cut a network where its whole data flow passes through one tensor.

    Args:
        model: Takes frames (N, channels, length); must be in eval mode.
        channels: Rows of a frame.
        length: Samples of a frame.

    Raises:
        NotExportedError: It cannot be exported.
        ModelError: It has several inputs or outputs.
    """
    _require_one_input(model)
    example = torch.zeros(_BATCH, channels, length)
    try:
        with quiet_torch():
            program = torch.export.export(model, (example,), strict=False)
    except Exception as error:  # export runs the model's own code
        raise NotExportedError(
            f"the network cannot be traced: {reason_of(error)}", "Its layers cannot be told apart"
        ) from error
    outputs = program.graph_signature.user_outputs
    if len(outputs) != 1 or len(program.graph_signature.user_inputs) != 1:
        raise ModelError(
            f"the network has {len(program.graph_signature.user_inputs)} inputs and {len(outputs)} outputs, "
            "and a chain of layers needs one of each"
        )
    nodes = {node.name: node for node in program.graph_module.graph.nodes}
    if outputs[0] not in nodes:
        raise ModelError(f"the network answers {outputs[0]!r} to every frame, not a tensor")
    source, sink = nodes[program.graph_signature.user_inputs[0]], nodes[outputs[0]]
    flow = nx.DiGraph((user, node) for node in nodes.values() for user in node.all_input_nodes)
    if source not in flow or sink not in nx.descendants(flow, source):
        raise ModelError("the network's output does not depend on its input")
    parts = cut(flow, source, sink, lambda node: isinstance(node.meta.get("val"), torch.Tensor))
    between = {source}.union(*(inside for _, inside in parts))
    costs = _macs(program, example)
    parameters = {
        name: (target, program.state_dict[target].numel())
        for name, target in program.graph_signature.inputs_to_parameters.items()
    }
    callable_paths = {path for path, module in model.named_modules() if path and type(module) is not nn.Module}
    order = {node: position for position, node in enumerate(nodes.values())}
    return tuple(
        Piece(
            tuple(
                _node(node, between, parameters, costs, callable_paths)
                for node in sorted(inside, key=order.__getitem__)
            )
        )
        for _, inside in parts
    )


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
    """What an operation reads beside the data flow, directly or through operations on weights alone."""
    found: list[str] = []
    queue = [node]
    while queue:
        beside = [source for source in queue.pop().all_input_nodes if source not in between]
        found += [source.name for source in beside]
        queue += beside
    return found


class _Counter(fx.Interpreter):
    """Runs a graph and counts the multiply-accumulates of every node."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.macs: dict[str, int] = {}

    def run_node(self, n: fx.Node) -> object:
        if n.op != "call_function":
            return super().run_node(n)
        with FlopCounterMode(display=False) as counter:
            result = super().run_node(n)
        self.macs[n.name] = counter.get_total_flops() // (2 * _BATCH)
        return result


@torch.no_grad()
def _macs(program: torch.export.ExportedProgram, example: torch.Tensor) -> dict[str, int]:
    """Multiply-accumulates of each node for one frame, by PyTorch's own formulas."""
    counter = _Counter(program.graph_module)
    signature = program.graph_signature
    weights = {**program.state_dict, **program.constants}
    lifted = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    placeholders = [node.name for node in program.graph_module.graph.nodes if node.op == "placeholder"]
    with countable():
        counter.run(*(weights[lifted[name]] if name in lifted else example for name in placeholders))
    return counter.macs
