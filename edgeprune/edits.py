"""Edits: how a network is rebuilt from the unpruned one, when it is pruned and again whenever it is loaded.

A dropped unit is one module replaced. `identity` puts nothing in its place. `shortcut` keeps what a residual unit does
beside its body: the module is traced, its last addition is replaced by the operand that is the skip branch, and what
only the body needed is deleted. A skip branch that was broadcast in the addition is expanded to the shape the addition
had.
"""

import copy
import operator
from collections.abc import Sequence

import torch
from torch import fx, nn

from edgeprune.errors import ModelError, reason_of
from edgeprune.records import Edit

_ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")


def apply_edits(model: nn.Module, edits: Sequence[Edit]) -> nn.Module:
    """A copy of the model with the edits made; the model itself is untouched.

    Raises:
        ModelError: An edit names a module that is not there, or one without a skip branch.
    """
    edited = copy.deepcopy(model)
    for edit in edits:
        try:
            module = edited.get_submodule(edit.path)
        except AttributeError as error:
            raise ModelError(f"the plan drops {edit.path!r}, which the network does not have") from error
        if module is edited:
            raise ModelError("the plan drops the whole network")
        if edit.drop == "identity":
            replacement: nn.Module = nn.Identity()
        elif edit.drop == "shortcut":
            replacement = shortcut_of(module, edit.path, edit.expand)
        else:
            raise ModelError(f"the plan drops {edit.path!r} as {edit.drop!r}, which this version does not know")
        replacement.train(module.training)
        edited.set_submodule(edit.path, replacement)
    return edited


def shortcut_of(module: nn.Module, path: str, expand: tuple[int, ...] | None) -> nn.Module:
    """What is left of a residual module without its body.

    Args:
        module: The residual module; not changed, its skip branch is shared with the result.
        path: Its name, for messages.
        expand: Shape (without batch) to broadcast the skip branch to, or None when it has that shape.

    Raises:
        ModelError: It cannot be traced, or does not end in the addition of a body and a skip branch.
    """
    traced = _traced(module, path)
    addition, skip = residual_addition(traced.graph, path)
    with traced.graph.inserting_before(addition):
        if expand is not None:
            skip = traced.graph.call_method("expand", (skip, -1, *expand))
    addition.replace_all_uses_with(skip)
    traced.graph.eliminate_dead_code()
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def skip_is_input(module: nn.Module, path: str) -> bool:
    """Whether a residual module adds its body to nothing but its input.

    Raises:
        ModelError: It cannot be traced, or does not end in the addition of a body and a skip branch.
    """
    traced = _traced(module, path)
    _, skip = residual_addition(traced.graph, path)
    between = [node for node in _ancestors(skip) if node.op != "placeholder"]
    return all(
        node.op == "call_module" and isinstance(traced.get_submodule(str(node.target)), nn.Identity) for node in between
    )


def _traced(module: nn.Module, path: str) -> fx.GraphModule:
    try:
        return fx.symbolic_trace(module)
    except Exception as error:  # tracing runs the module's own code
        raise ModelError(f"{path} cannot be traced, so its shortcut is not found: {reason_of(error)}") from error


def residual_addition(graph: fx.Graph, path: str) -> tuple[fx.Node, fx.Node]:
    """The last addition of a residual module, and its operand that is the skip branch: the one of fewer operations.

    An addition of a bias is none: both operands must come from the input.

    Raises:
        ModelError: There is no addition of two branches.
    """
    for node in reversed(graph.nodes):
        operands = [argument for argument in node.args if isinstance(argument, fx.Node) and _from_input(argument)]
        if node.target in _ADDITIONS and len(operands) == 2:
            return node, min(operands, key=lambda operand: len(_ancestors(operand)))
    raise ModelError(f"{path} does not add a body to a skip branch")


def _from_input(node: fx.Node) -> bool:
    return any(ancestor.op == "placeholder" for ancestor in _ancestors(node))


def _ancestors(node: fx.Node) -> set[fx.Node]:
    """The node and all that it is computed from, the module's input included."""
    found: set[fx.Node] = set()
    queue = [node]
    while queue:
        current = queue.pop()
        if current not in found:
            found.add(current)
            queue += current.all_input_nodes
    return found
