"""Core of a unit: the part that is removed when the unit is dropped."""

from dataclasses import dataclass
from typing import Literal

from edgeprune.prune.units.trace import Node


@dataclass(frozen=True)
class Core:
    """All of a unit except the weightless operations that it begins with.

    Attributes:
        nodes: Its operations.
        paths: Smallest set of modules that hold its operations and nothing else.
        covered: Whether they hold all of them.
        holders: Paths of the modules that hold all of it, the innermost first, and '' for the network.
        in_shape: Shape of its input, without the batch.
        out_shape: Shape of its output, without the batch.
        residual: Whether it ends in an addition of branches.
        branched: Whether it has branches.
        trailing: Last operations of the weightless pieces that it ends with.
        shared_with: Path of another unit that uses the same weights, or None.
        position: Position of its unit in the chain.
    """

    nodes: tuple[Node, ...]
    paths: tuple[str, ...]
    covered: bool
    holders: tuple[str, ...]
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    residual: bool
    branched: bool
    trailing: tuple[Node, ...]
    shared_with: str | None
    position: Literal["first", "inner", "last"]

    @property
    def weights(self) -> frozenset[str]:
        """Names of its parameters in the network."""
        return frozenset(name for node in self.nodes for name, _ in node.parameters)

    def trailing_steps(self, holder: str) -> int:
        """Number of weightless steps that it ends with in the code of a module that holds it."""

        def step(node: Node) -> str:
            inside = node.modules[node.modules.index(holder) + 1 :] if holder else node.modules
            return inside[0] if inside else f"{node.name} in the code itself"

        with_weights = {step(node) for node in self.nodes if node not in self.trailing}
        return len({step(node) for node in self.trailing} - with_weights)
