"""Parameters and buffers that belong to a unit, and the network without some units."""

from collections.abc import Collection
from dataclasses import replace

from torch import nn

from edgeprune.network.edits import apply_edits, lost_parameters
from edgeprune.network.tracing import Code
from edgeprune.protocols import Subject
from edgeprune.records.pruning import Unit


def droppable(subject: Subject) -> list[Unit]:
    """List the units that can be dropped, in order."""
    return [unit for unit in subject.chain.units if unit.droppable]


def without(subject: Subject, indices: Collection[int]) -> nn.Module:
    """Copy the network without some of its units."""
    edits = [unit.edit for unit in subject.chain.units if unit.index in indices and unit.edit is not None]
    return apply_edits(subject.model, edits, (subject.shape.channels, subject.shape.length))


def code_of(subject: Subject) -> Code:
    """The code of the network, traced where a unit is code."""
    return Code(subject.model, (subject.shape.channels, subject.shape.length))


def lost_names(code: Code, unit: Unit) -> list[str]:
    """Names of the parameters that a network loses with a unit; a shortcut that stays keeps its own."""
    names = {parameter: name for name, parameter in code.model.named_parameters()}
    return [names[parameter] for parameter in lost_parameters(code, unit)]


def lost_state(code: Code, unit: Unit) -> list[str]:
    """Names of the parameters that a network loses with a unit, and of the buffers of the modules that hold them."""
    parameters = lost_names(code, unit)
    holders = {name.rpartition(".")[0] for name in parameters}
    return parameters + [name for name, _ in code.model.named_buffers() if name.rpartition(".")[0] in holders]


def whole_state(code: Code, unit: Unit) -> list[str]:
    """Names of all parameters and buffers of a unit, those of its shortcut included."""
    assert unit.edit is not None
    return lost_state(code, replace(unit, edit=replace(unit.edit, drop="identity", expand=None)))
