"""The layer chain: which units a network is made of, and how each could be dropped.

Units are found from the data flow, never from names. A piece with branches is a unit (a residual block, an inception
block); so is a convolution or linear layer with the normalisation and activation after it. Operations without weights
that change the shape (pooling, flattening) belong to the unit after them.
"""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from edgeprune.edits import shortcut_of, skip_is_input
from edgeprune.errors import ModelError
from edgeprune.prune.trace import Node, Piece, pieces_of
from edgeprune.records import Drop, InputSpec, LayerChain, Unit

_KINDS = (
    ("conv", ("conv",)),
    ("recurrent", ("lstm", "gru", "rnn")),
    ("attention", ("scaled_dot_product", "multi_head")),
    ("linear", ("linear", "mm", "matmul")),
)


@dataclass(frozen=True)
class _Drop:
    """How a unit can be dropped, or why not."""

    how: Drop | None
    reason: str
    expand: tuple[int, ...] | None = None


def layers_of(model: nn.Module, shape: InputSpec, model_sha256: str) -> LayerChain:
    """Find the units of a network.

    Args:
        model: Takes normalised frames (N, channels, length); left as it is.
        shape: Of its frames.
        model_sha256: Of the file it came from.

    Raises:
        ModelError: It cannot be traced, or is not a chain from one input to one output.
    """
    model = copy.deepcopy(model).cpu().eval()
    groups = _grouped(pieces_of(model, shape.channels, shape.length))
    everywhere = _module_nodes(groups)
    units = []
    in_shape: tuple[int, ...] = (shape.channels, shape.length)
    for index, group in enumerate(groups):
        nodes = [node for piece in group for node in piece.nodes]
        paths, covered = _paths(nodes, everywhere)
        out_shape = group[-1].out_shape
        kind = _kind(group, nodes)
        drop = _drop(model, kind, paths, covered, in_shape, out_shape)
        units.append(
            Unit(
                index=index,
                path="+".join(paths) or nodes[-1].name,
                kind="residual" if drop.how == "shortcut" else kind,
                in_shape=in_shape,
                out_shape=out_shape,
                params=sum(dict(pair for node in nodes for pair in node.parameters).values()),
                macs=sum(node.macs for node in nodes),
                drop=drop.how,
                reason=drop.reason,
                collapses=drop.expand is not None,
            )
        )
        in_shape = out_shape
    return LayerChain(
        model_sha256=model_sha256,
        units=tuple(units),
        params=sum(parameter.numel() for parameter in model.parameters()),
        macs=sum(unit.macs for unit in units),
    )


def _grouped(pieces: tuple[Piece, ...]) -> list[list[Piece]]:
    """Join each piece without weights to the unit it belongs to."""
    groups: list[list[Piece]] = []
    waiting: list[Piece] = []
    shape: tuple[int, ...] = ()
    for piece in pieces:
        if _begins_unit(piece):
            groups.append([*waiting, piece])
            waiting = []
        elif groups and not waiting and piece.out_shape == shape:
            groups[-1].append(piece)
        else:
            waiting.append(piece)
        shape = piece.out_shape
    if waiting:
        if not groups:
            raise ModelError("the network has no layer with weights")
        groups[-1] += waiting
    return groups


def _begins_unit(piece: Piece) -> bool:
    return len(piece.nodes) > 1 or piece.nodes[0].macs > 0 or _is_recurrent(piece.nodes[0])


def _is_recurrent(node: Node) -> bool:
    return any(word in node.operation for word in ("lstm", "gru", "rnn"))


def _kind(group: list[Piece], nodes: list[Node]) -> str:
    if any(len(piece.nodes) > 1 and "add" in _last_joint(piece).operation for piece in group):
        return "residual"
    heaviest = max(nodes, key=lambda node: (node.macs, len(node.parameters)))
    for kind, words in _KINDS:
        if any(word in heaviest.operation for word in words):
            return kind
    return "branched" if any(len(piece.nodes) > 1 for piece in group) else "other"


def _last_joint(piece: Piece) -> Node:
    """The operation that brings a piece's branches together: the node every branch ends in."""
    return piece.nodes[-1]


def _module_nodes(groups: list[list[Piece]]) -> dict[str, set[str]]:
    """Every module path with the names of all operations inside it."""
    inside: dict[str, set[str]] = {}
    for group in groups:
        for piece in group:
            for node in piece.nodes:
                for path in node.modules:
                    inside.setdefault(path, set()).add(node.name)
    return inside


def _paths(nodes: list[Node], everywhere: dict[str, set[str]]) -> tuple[list[str], bool]:
    """The fewest modules that hold the operations and nothing else, and whether they hold all of them."""
    own = {node.name for node in nodes}
    paths: list[str] = []
    covered = True
    for node in nodes:
        outermost = next((path for path in node.modules if everywhere[path] <= own), None)
        if outermost is None:
            covered = False
        elif outermost not in paths:
            paths.append(outermost)
    return paths, covered


def _drop(
    model: nn.Module,
    kind: str,
    paths: list[str],
    covered: bool,
    in_shape: tuple[int, ...],
    out_shape: tuple[int, ...],
) -> _Drop:
    change = f"{_shape(in_shape)} to {_shape(out_shape)}"
    if kind != "residual" and in_shape != out_shape:
        return _Drop(None, f"changes the shape from {change} and has no shortcut")
    if not covered:
        return _Drop(None, "part of it is code outside its modules, which cannot be replaced")
    if len(paths) != 1:
        return _Drop(None, f"it is {len(paths)} modules, and only one can be replaced")
    if kind != "residual":
        return _Drop("identity", "same shape in and out: nothing takes its place")
    try:
        module = model.get_submodule(paths[0])
        left = _run(shortcut_of(module, paths[0], None), in_shape)
        passes_on = skip_is_input(module, paths[0])
    except ModelError as error:
        if in_shape == out_shape:
            return _Drop("identity", "same shape in and out: nothing takes its place")
        return _Drop(None, f"changes the shape from {change}: {error.message}")
    if in_shape == out_shape and passes_on:
        return _Drop("identity", "its shortcut is its input: nothing takes its place")
    if left == out_shape:
        what = "computes something" if in_shape == out_shape else f"changes the shape from {change}"
        return _Drop("shortcut", f"its shortcut stays and {what}")
    return _Drop("shortcut", f"its shortcut {_shape(left)} stays, broadcast to {_shape(out_shape)}", out_shape)


@torch.no_grad()
def _run(module: nn.Module, in_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of what a module makes of one frame of zeros."""
    return tuple(module(torch.zeros(1, *in_shape)).shape[1:])


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
