"""The data flow of a network, as a graph: what is computed from the one input on the way to the one output.

The whole flow passes through a node exactly when the node dominates the output (Cooper, Harvey & Kennedy 2001); the
network is a chain of pieces from one such node to the next.
"""

import warnings
from dataclasses import dataclass

import networkx as nx
import torch
from torch import fx, nn
from torch.utils.flop_counter import FlopCounterMode

from edgeprune.errors import ModelError, reason_of

_BATCH = 2


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
        ModelError: It cannot be exported, or has several inputs or outputs.
    """
    example = torch.zeros(_BATCH, channels, length)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(model, (example,), strict=False)
    except Exception as error:  # export runs the model's own code
        raise ModelError(
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
    between = (nx.descendants(flow, source) & nx.ancestors(flow, sink)) | {source, sink}
    dominators = nx.immediate_dominators(flow.subgraph(between), source)
    joints = [sink]
    while joints[-1] is not source:
        joints.append(dominators[joints[-1]])
    cuts = [node for node in joints if isinstance(node.meta.get("val"), torch.Tensor)]
    costs = _macs(program, example)
    parameters = {
        name: (target, program.state_dict[target].numel())
        for name, target in program.graph_signature.inputs_to_parameters.items()
    }
    order = {node: position for position, node in enumerate(nodes.values())}
    pieces = []
    for begin, end in zip(cuts[::-1], cuts[-2::-1], strict=False):
        inside = (nx.descendants(flow.subgraph(between), begin) & nx.ancestors(flow.subgraph(between), end)) | {end}
        inside_in_order = sorted(inside, key=order.__getitem__)
        pieces.append(Piece(tuple(_node(node, between, parameters, costs) for node in inside_in_order)))
    return tuple(pieces)


def _node(node: fx.Node, between: set[fx.Node], parameters: dict[str, tuple[str, int]], costs: dict[str, int]) -> Node:
    stack = node.meta.get("nn_module_stack") or {}
    value = node.meta.get("val")
    return Node(
        name=node.name,
        operation=str(node.target),
        modules=tuple(path for path, _ in stack.values() if path),
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
    counter.run(*(weights[lifted[name]] if name in lifted else example for name in placeholders))
    return counter.macs
