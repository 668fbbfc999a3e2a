"""What each kind of unit costs on a target, from the latency of a few networks. Pure.

Latency is taken as a fixed part and a sum over the units that are kept; units of one kind cost the same, in proportion
to what they compute. All of it is in units of the unpruned network's latency, measured in turns with each other
network, so that it is free of what the machine did meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from edgeprune.errors import ConfigError


@dataclass(frozen=True)
class Observation:
    """One measured network.

    Attributes:
        work: For each kind, how many of its units the network has; one that computes half as much counts half.
        latency: Of the network, in units of the unpruned one's.
    """

    work: tuple[float, ...]
    latency: float


@dataclass(frozen=True)
class CostModel:
    """Latency of what always stays, and of one unit of each kind, in units of the unpruned network's latency."""

    fixed: float
    costs: tuple[float, ...]

    def latency(self, work: Sequence[float]) -> float:
        """Predicted latency of a network with so many units of each kind."""
        return self.fixed + sum(cost * count for cost, count in zip(self.costs, work, strict=True))


def fit(observations: Sequence[Observation]) -> CostModel:
    """The non-negative costs whose predictions come nearest to what was measured (Lawson & Hanson 1974).

    Errors count relative to the latency measured, since timing errors are relative: the square of (predicted /
    measured - 1) is least.

    Args:
        observations: At least one, all with the same kinds, the unpruned network among them.

    Raises:
        ConfigError: None at all, different numbers of kinds, or a latency that is not positive.
    """
    kinds = {len(observation.work) for observation in observations}
    if len(kinds) != 1:
        raise ConfigError(f"a cost model takes measurements of the same kinds of units, not of {sorted(kinds)} kinds")
    measured = np.array([observation.latency for observation in observations])
    if not (np.isfinite(measured) & (measured > 0)).all():
        raise ConfigError("a cost model takes latencies that are positive numbers")
    design = np.array([[1.0, *observation.work] for observation in observations])
    solution, _ = nnls(design / measured[:, None], np.ones(len(measured)))
    fixed, *costs = solution.tolist()
    return CostModel(fixed, tuple(costs))
