"""Edits: how a pruned network is rebuilt from the unpruned one, when it is pruned and whenever it is loaded.

A dropped unit is one or several modules replaced, or a span of a module's traced code cut out. `identity` replaces it
by nothing. `shortcut` keeps the skip branch of a residual unit: its last addition is replaced by the operand that is
the skip branch, and everything that only the body needed is deleted; a skip branch that was broadcast in the addition
is expanded to the shape of the sum. `adapter` replaces a unit that changed the shape by nothing, and the layers after
it are rebuilt for their new input shape.
"""

import operator
from collections.abc import Sequence
from itertools import groupby

import torch
from torch import fx, nn
from torch.fx.node import map_arg
from torch.utils._pytree import tree_leaves

from edgeprune.errors import ModelError
from edgeprune.network.compute import copied
from edgeprune.network.refitting import refit
from edgeprune.network.tracing import Code
from edgeprune.network.unfold import stand_in, unfolded
from edgeprune.records.pruning import Edit, Unit

_aten = torch.ops.aten
_COPIES = (torch.clone, "clone", "contiguous", _aten.clone.default)
_ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_", _aten.add.Tensor, _aten.add_.Tensor)


def apply_edits(model: nn.Module, edits: Sequence[Edit], shape: tuple[int, int], code: Code | None = None) -> nn.Module:
    """Copy the model with the edits applied; the model itself is not changed.

    Args:
        model: The network, unfolded or not.
        edits: Units to drop. Without any, the result is a plain copy.
        shape: (channels, length) of a frame, for the layers that must be rebuilt.
        code: Code of the model, if some of it was traced already; it must be unfolded then.

    Raises:
        ModelError: An edit names a missing module, or one without a skip branch; or the network no longer runs.
    """
    edited = copied(model)
    if not edits:
        return edited
    edited = unfolded(edited)
    code = code or Code(unfolded(model), shape)
    for edit in edits:
        if edit.span is None:
            _replace(edited, edit, code)
    spans = sorted((edit for edit in edits if edit.span is not None), key=lambda edit: edit.path)
    for path, cuts in groupby(spans, key=lambda edit: edit.path):
        edited = _cut(edited, path, list(cuts), code)
    if any(edit.drop == "adapter" for edit in edits):
        refit(edited, shape)
    return edited


def lost_parameters(code: Code, unit: Unit) -> list[nn.Parameter]:
    """List the parameters that a network loses with a unit; a shortcut that stays keeps its own.

    Args:
        code: Code of the network, unfolded.
        unit: A droppable unit of it.
    """
    model = code.model
    edit = unit.edit or Edit(unit.path, unit.drop or "identity")
    if edit.span is not None:
        whole, left = (
            {name for name, _ in _cut(copied(model), edit.path, cuts, code).named_parameters()} for cuts in ([], [edit])
        )
        return [parameter for name, parameter in model.named_parameters() if name in whole - left]
    paths = edit.path.split("+")
    kept: set[nn.Parameter] = set()
    if edit.drop == "shortcut":
        kept = set(shortcut_of(code, edit.path, None).parameters())
    lost = dict.fromkeys(parameter for path in paths for parameter in model.get_submodule(path).parameters())
    return [parameter for parameter in lost if parameter not in kept]


def _replace(edited: nn.Module, edit: Edit, code: Code) -> None:
    paths = edit.path.split("+")
    for path, returns in zip(paths, edit.returns or ("",) * len(paths), strict=True):
        try:
            module = edited.get_submodule(path)
        except AttributeError as error:
            raise ModelError(f"the plan drops {path!r}, which the network does not have") from error
        if module is edited:
            raise ModelError("the plan drops the whole network")
        shortcut = edit.drop == "shortcut"
        replacement = shortcut_of(code, path, edit.expand, module) if shortcut else stand_in(module, returns)
        replacement.train(module.training)
        edited.set_submodule(path, replacement)


def _cut(edited: nn.Module, path: str, cuts: list[Edit], code: Code) -> nn.Module:
    """Remove spans of the code of one of the network's modules."""
    module = edited.get_submodule(path)
    traced = code.changeable(path, module)
    nodes = {node.name: (position, node) for position, node in enumerate(traced.graph.nodes)}
    missing = [name for edit in cuts for name in edit.span or () if name not in nodes]
    if missing:
        raise ModelError(
            f"the plan drops {missing[0]!r} in the code of {path or 'the network'}, which has no such step"
        )
    gone: set[fx.Node] = set()
    for edit in sorted(cuts, key=lambda edit: nodes[(edit.span or ("", ""))[1]][0], reverse=True):
        assert edit.span is not None
        (_, begin), (_, end) = (nodes[name] for name in edit.span)
        inside = between(begin, end)
        gone |= inside
        if edit.drop == "shortcut":
            addition, skip = residual_addition(traced, inside, path)
            _substitute(traced.graph, addition, skip, edit.expand)
        else:
            end.replace_all_uses_with(begin)
    _forget(traced.graph, gone)
    traced = _tidied(traced).train(module.training)
    if not path:
        return traced
    edited.set_submodule(path, traced)
    return edited


def result_of(graph: fx.Graph) -> fx.Node | None:
    """Find the step whose result is used: the first returned one that is computed from the input."""
    output = next(node for node in graph.nodes if node.op == "output")
    return next((leaf for leaf in _returned(output) if _from_input(leaf) and leaf.op != "placeholder"), None)


def _returned(output: fx.Node) -> list[fx.Node]:
    return [leaf for leaf in tree_leaves(list(output.args)) if isinstance(leaf, fx.Node)]


def _forget(graph: fx.Graph, gone: set[fx.Node]) -> None:
    """Replace returned values that depend on dropped steps with None, except the result itself."""
    output = next(node for node in graph.nodes if node.op == "output")
    first, *others = _returned(output)
    needed = _ancestors(result_of(graph) or first)
    lost = {leaf for leaf in others if (_ancestors(leaf) & gone) - needed}
    if lost:
        output.args = map_arg(output.args, lambda leaf: None if leaf in lost else leaf)


def shortcut_of(code: Code, path: str, expand: tuple[int, ...] | None, module: nn.Module | None = None) -> nn.Module:
    """Build the remainder of a residual module without its body.

    Args:
        code: Code of the network.
        path: Path of the residual module; it is not changed, and the result shares its skip branch.
        expand: Shape (without batch) to broadcast the skip branch to, or None if it has that shape.
        module: Copy of the module whose skip branch is used instead.

    Raises:
        ModelError: It cannot be traced, or does not end in the addition of a body and a skip branch.
    """
    traced = _changeable(code, path, module)
    addition, skip = residual_addition(traced, set(traced.graph.nodes), path)
    _substitute(traced.graph, addition, skip, expand)
    return _tidied(traced)


def _substitute(graph: fx.Graph, addition: fx.Node, skip: fx.Node, expand: tuple[int, ...] | None) -> None:
    """Replace an addition by the skip branch."""
    if expand is not None:
        with graph.inserting_before(addition):
            skip = graph.call_method("expand", (skip, -1, *expand))
    addition.replace_all_uses_with(skip)


def _tidied(traced: fx.GraphModule) -> fx.GraphModule:
    """Remove steps that nothing needs, and the modules and weights of such steps."""
    traced.graph.eliminate_dead_code()
    return fx.GraphModule(traced, traced.graph)


def skip_is_input(code: Code, path: str) -> bool:
    """Whether a residual module adds its body to its unchanged input.

    Raises:
        ModelError: It cannot be traced, or does not end in the addition of a body and a skip branch.
    """
    traced = code.of(path, whole=True)
    _, skip = residual_addition(traced, set(traced.graph.nodes), path)
    return all(node.op == "placeholder" or is_identity(traced, node) for node in _ancestors(skip))


def skip_is_begin(code: Code, path: str, span: tuple[str, str]) -> bool:
    """Whether a span of a module's code adds its body to the unchanged input of the span.

    Raises:
        ModelError: The code cannot be traced, or the span does not end in the addition of a body and a skip branch.
    """
    traced = code.of(path)
    begin, end = (next(node for node in traced.graph.nodes if node.name == name) for name in span)
    inside = between(begin, end)
    _, skip = residual_addition(traced, inside, path)
    return all(node is begin or is_identity(traced, node) for node in _ancestors(skip) & {begin, *inside})


def is_identity(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a step of traced code returns its input, or a copy of it."""
    if node.op == "call_module":
        return isinstance(traced.get_submodule(str(node.target)), nn.Identity)
    return node.target in _COPIES


def _changeable(code: Code, path: str, module: nn.Module | None) -> fx.GraphModule:
    try:
        return code.changeable(path, module, whole=True)
    except ModelError as error:
        raise ModelError(f"its shortcut is not found: {error.message}") from error


def residual_addition(traced: fx.GraphModule, inside: set[fx.Node], path: str) -> tuple[fx.Node, fx.Node]:
    """Find the last addition among some steps, and its operand that is the skip branch: fewest layers, then steps.

    Adding a bias does not count: both operands must depend on the input.

    Raises:
        ModelError: There is no addition of two branches.
    """

    def size(operand: fx.Node) -> tuple[int, int]:
        steps = _ancestors(operand)
        return sum(_has_weights(traced, step) for step in steps), len(steps)

    for node in reversed([node for node in traced.graph.nodes if node in inside]):
        operands = [argument for argument in node.args if isinstance(argument, fx.Node) and _from_input(argument)]
        if node.target in _ADDITIONS and len(operands) == 2:
            return node, min(operands, key=size)
    raise ModelError(f"{path or 'the network'} does not add a body to a skip branch")


def _has_weights(traced: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return next(traced.get_submodule(str(node.target)).parameters(), None) is not None
    return node.op == "get_attr"


def between(begin: fx.Node, end: fx.Node) -> set[fx.Node]:
    """Nodes that the second depends on after the first, including the second."""
    after = {begin}
    for node in begin.graph.nodes:
        if after & set(node.all_input_nodes):
            after.add(node)
    return (after & _ancestors(end)) - {begin}


def _from_input(node: fx.Node) -> bool:
    return any(ancestor.op == "placeholder" for ancestor in _ancestors(node))


def _ancestors(node: fx.Node) -> set[fx.Node]:
    """The node and all that it depends on, including the module's input."""
    found: set[fx.Node] = set()
    queue = [node]
    while queue:
        current = queue.pop()
        if current not in found:
            found.add(current)
            queue += current.all_input_nodes
    return found
