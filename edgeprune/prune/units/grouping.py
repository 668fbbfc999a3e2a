"""Grouping of pieces of a data flow into units: which operations belong together, and what a unit is called."""

from collections.abc import Sequence
from itertools import pairwise, takewhile

from edgeprune.errors import ModelError
from edgeprune.prune.units.trace import Node, Piece

_KINDS = (
    ("conv", ("conv",)),
    ("recurrent", ("lstm", "gru", "rnn")),
    ("attention", ("scaled_dot_product", "multi_head")),
    ("linear", ("linear", "mm", "matmul")),
)


def grouped(pieces: tuple[Piece, ...]) -> list[list[Piece]]:
    """Join each piece without weights to the unit it belongs to."""
    groups: list[list[Piece]] = []
    waiting: list[Piece] = []
    shape: tuple[int, ...] = ()
    for piece in pieces:
        if begins_unit(piece):
            groups.append([*waiting, piece])
            waiting = []
        elif groups and not waiting and not piece.closes and piece.out_shape == shape:
            groups[-1].append(piece)
        else:
            waiting.append(piece)
        shape = piece.out_shape
    if waiting:
        if not groups:
            raise ModelError("the network has no layer with weights")
        groups[-1] += waiting
    for earlier, later in pairwise(groups):
        _hand_over(earlier, later)
    return groups


def _hand_over(earlier: list[Piece], later: list[Piece]) -> None:
    """Move norms and activations at the end of a unit to the next one: those in its module, and those outside a block.

    A layer that normalizes before it multiplies is then one unit and not the halves of two, and a norm after the last
    block is not dropped with the block.
    """
    head = next(piece for piece in earlier if begins_unit(piece))
    next_head = next(piece for piece in later if begins_unit(piece))
    moved: list[Piece] = []
    block = len(common([node.modules for node in head.nodes])) if is_branched(head) else 0
    while earlier[-1] is not head:
        close = _closeness(earlier[-1], head)
        if close >= block and close >= _closeness(earlier[-1], next_head):
            break
        moved.insert(0, earlier.pop())
    later[:0] = moved


def _closeness(piece: Piece, other: Piece) -> int:
    """Number of modules that hold both."""
    return len(common([piece.nodes[-1].modules, other.nodes[-1].modules]))


def common(stacks: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Outermost modules that all stacks of modules begin with."""
    levels = takewhile(lambda level: len(set(level)) == 1, zip(*stacks, strict=False))
    return tuple(level[0] for level in levels)


def begins_unit(piece: Piece) -> bool:
    """Whether a piece multiplies with weights, or is of several branches of which one has weights."""
    branched = is_branched(piece) and any(node.parameters for node in piece.nodes)
    return branched or any(node.macs > 0 or _is_recurrent(node) for node in piece.nodes)


def is_branched(piece: Piece) -> bool:
    """Whether the flow divides in it; this includes an activation that is computed in several steps."""
    return len(piece.nodes) > 1 and not piece.closes


def is_norm(piece: Piece) -> bool:
    """Whether a piece is a normalization."""
    return "norm" in piece.nodes[0].operation


def _is_recurrent(node: Node) -> bool:
    return any(word in node.operation for word in ("lstm", "gru", "rnn"))


def kind_of(group: list[Piece], nodes: list[Node]) -> str:
    """Name of a unit's kind: by how it ends, or its heaviest operation."""
    if any(is_branched(piece) and begins_unit(piece) and "add" in _last_joint(piece).operation for piece in group):
        return "residual"
    heaviest = max(nodes, key=lambda node: (node.macs, len(node.parameters)))
    for kind, words in _KINDS:
        if any(word in heaviest.operation for word in words):
            return kind
    return "branched" if any(is_branched(piece) for piece in group) else "other"


def _last_joint(piece: Piece) -> Node:
    """Operation that joins a piece's branches: the node every branch ends in."""
    return piece.nodes[-1]


def nodes_of(pieces: list[Piece]) -> list[Node]:
    """Operations in some pieces."""
    return [node for piece in pieces for node in piece.nodes]
