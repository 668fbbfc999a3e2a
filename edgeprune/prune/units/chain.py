"""Layer chain: the units of a network, and how each could be dropped.

Units are found from the data flow, never from names. A piece with branches is a unit (a residual block, an inception
block); so is a convolution or linear layer with the normalization and activation after it. Operations without weights
that change the shape (pooling, flattening) belong to the next unit.
"""

from itertools import takewhile
from typing import Literal

import torch
from torch import nn

from edgeprune.errors import ModelError
from edgeprune.network.compute import host_copy
from edgeprune.network.running import probe
from edgeprune.network.tracing import Code
from edgeprune.network.unfold import unfolded
from edgeprune.prune.units.core import Core
from edgeprune.prune.units.dropping import Dropper
from edgeprune.prune.units.grouping import begins_unit, common, grouped, is_branched, is_norm, kind_of, nodes_of
from edgeprune.prune.units.trace import Node, NotExportedError, Piece, pieces_of
from edgeprune.prune.units.trace_run import watched_pieces
from edgeprune.records.pruning import InputSpec, LayerChain, Unit


def layers_of(model: nn.Module, shape: InputSpec, model_sha256: str) -> LayerChain:
    """Find the units of a network.

    Args:
        model: Network that takes normalized frames (N, channels, length); left unchanged.
        shape: Shape of its frames.
        model_sha256: SHA-256 of the file it came from.

    Raises:
        ModelError: It cannot be traced, or is not a chain from one input to one output.
    """
    model = unfolded(host_copy(model).eval())
    _require_deterministic(model, shape)
    groups = grouped(_pieces(model, shape))
    everywhere = _module_nodes(groups)
    users = _users(groups)
    frame = (shape.channels, shape.length)
    in_shapes = [frame, *(group[-1].out_shape for group in groups[:-1])]
    cores = [_core(groups, index, given, everywhere, users) for index, given in enumerate(in_shapes)]
    dropper = Dropper(Code(model, frame))
    units = []
    for index, (group, core, verdict) in enumerate(zip(groups, cores, dropper.verdicts(cores), strict=True)):
        nodes = nodes_of(group)
        paths, _ = _paths(nodes, everywhere)
        edit, kind = verdict.edit, kind_of(group, nodes)
        units.append(
            Unit(
                index=index,
                path="+".join(paths) or _place(nodes),
                kind="residual" if edit and edit.drop == "shortcut" else kind,
                in_shape=in_shapes[index],
                out_shape=group[-1].out_shape,
                params=sum(dict(pair for node in nodes for pair in node.parameters).values()),
                macs=sum(node.macs for node in nodes),
                drop=edit.drop if edit else None,
                reason=verdict.reason,
                collapses=edit is not None and edit.expand is not None,
                edit=edit,
                step=(edit.path, edit.span[1]) if edit and edit.span else dropper.last_step(core),
            )
        )
    return LayerChain(
        model_sha256=model_sha256,
        units=tuple(units),
        params=sum(parameter.numel() for parameter in model.parameters()),
        macs=sum(unit.macs for unit in units),
    )


def _pieces(model: nn.Module, shape: InputSpec) -> tuple[Piece, ...]:
    """Cut the network where all data pass through one tensor: as torch exports it, otherwise as it ran once."""
    try:
        return pieces_of(model, shape.channels, shape.length)
    except NotExportedError as error:
        try:
            pieces = watched_pieces(model, shape.channels, shape.length)
        except ModelError:
            raise
        except Exception:  # it does not even run: what the export said is the reason
            raise error from None
        if not pieces:
            raise
        return pieces


def _require_deterministic(model: nn.Module, shape: InputSpec) -> None:
    """Require that a network gives the same output for the same frames twice, as every comparison of layers assumes."""
    frames = probe(shape.channels, shape.length)
    try:
        with torch.no_grad():
            first, second = model(frames), model(frames)
    except Exception:  # the trace after this says what is wrong
        return
    if isinstance(first, torch.Tensor) and not torch.equal(first.nan_to_num(), second.nan_to_num()):
        raise ModelError(
            "the network's outputs for the same frames differ each time, in evaluation mode",
            "Take what is random in it out of its forward pass, or bind it to self.training",
        )


def _place(nodes: list[Node]) -> str:
    """Name operations outside modules of their own: by the innermost module of the heaviest, or of the last."""
    heaviest = max(nodes, key=lambda node: (node.macs, len(node.parameters)))
    return heaviest.modules[-1] if heaviest.modules and heaviest.parameters else nodes[-1].name


def _core(
    groups: list[list[Piece]],
    index: int,
    in_shape: tuple[int, ...],
    everywhere: dict[str, set[str]],
    users: dict[str, list[tuple[int, str]]],
) -> Core:
    """Core of a unit: all of it from its first layer or norm on, except the end of a long shortcut."""
    group = groups[index]
    begins = [place for place, piece in enumerate(group) if begins_unit(piece) or is_norm(piece)]
    leading = begins[0] if begins else 0
    pieces = list(takewhile(lambda piece: not piece.closes, group[leading:]))
    nodes = nodes_of(pieces)
    paths, covered = _paths(nodes, everywhere)
    position: Literal["first", "inner", "last"] = "inner"
    if index in (0, len(groups) - 1):
        position = "first" if index == 0 else "last"
    return Core(
        nodes=tuple(nodes),
        paths=tuple(paths),
        covered=covered,
        holders=(*reversed(common([node.modules for node in nodes])), ""),
        in_shape=group[leading - 1].out_shape if leading else in_shape,
        out_shape=pieces[-1].out_shape,
        residual=kind_of(pieces, nodes) == "residual",
        branched=any(is_branched(piece) and begins_unit(piece) for piece in pieces),
        trailing=_trailing(pieces),
        shared_with=_shared_with(nodes_of(groups[index]), index, users),
        position=position,
    )


def _trailing(pieces: list[Piece]) -> tuple[Node, ...]:
    """Last operations of the weightless pieces at the end."""
    ends = takewhile(lambda piece: not _has_weights(piece), reversed(pieces))
    return tuple(piece.nodes[-1] for piece in ends)


def _has_weights(piece: Piece) -> bool:
    return begins_unit(piece) or any(node.parameters for node in piece.nodes)


def _users(groups: list[list[Piece]]) -> dict[str, list[tuple[int, str]]]:
    """Units that use each weight, each with the name of the module or operation that does."""
    users: dict[str, list[tuple[int, str]]] = {}
    for index, group in enumerate(groups):
        for node in nodes_of(group):
            for name, _ in node.parameters:
                users.setdefault(name, []).append((index, node.modules[-1] if node.modules else node.name))
    return users


def _shared_with(nodes: list[Node], index: int, users: dict[str, list[tuple[int, str]]]) -> str | None:
    """Name of the module or operation in another unit that uses the same weights, or None."""
    names = {name for node in nodes for name, _ in node.parameters}
    others = [user for name in names for user in users[name] if user[0] != index]
    return "unit {} ({})".format(*min(others, key=lambda user: user[0])) if others else None


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
    """Smallest set of modules that hold the operations and nothing else, and whether they hold all of them."""
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
