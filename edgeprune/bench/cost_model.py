"""What each kind of unit costs on a target, from the latency of a few networks. Pure.

Latency is taken as a fixed part and a sum over the units that are kept; units of one kind cost the same, in proportion
to what they compute. What is left over is not noise alone: in a large network weights are read from slower memory than
in a small one, and some shapes run better than others. So networks alike in size and composition are taken to be off by
alike factors (kriging: Matheron 1963, doi 10.2113/gsecongeo.58.8.1246).

All of it is in units of the unpruned network's latency, measured in turns with each other network, so that it is free
of what the machine did meanwhile.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from edgeprune.errors import ConfigError

Floats = npt.NDArray[np.float64]

_SYSTEMATIC = 0.12  # standard deviation of the logarithm of what the costs leave over
_TIMING = 0.03  # and of two timings of one network
_ALIKE = 0.3  # distance, in shares of the latency, at which that of two networks has little in common
_SIZE = 0.3  # a network e times as long is as far away as one with so much of its time elsewhere


@dataclass(frozen=True)
class Observation:
    """One measured network.

    Attributes:
        work: For each kind, how many of its units the network has; one that computes half as much counts half.
        latency: Latency of the network, in units of the unpruned network's.
    """

    work: tuple[float, ...]
    latency: float


@dataclass(frozen=True)
class Costs:
    """Latency of what always stays, and of one unit of each kind, in units of the unpruned network's latency."""

    fixed: float
    each: tuple[float, ...]

    def total(self, work: Sequence[float]) -> float:
        """Latency of a network with so many units of each kind, by its costs alone."""
        return self.fixed + sum(cost * count for cost, count in zip(self.each, work, strict=True))


@dataclass(frozen=True)
class CostModel:
    """Costs, and by what factor networks like those measured differ from them.

    Attributes:
        costs: Fixed latency and latency of one unit of each kind.
        measured: Networks, one a row, as `_place` sees them.
        pull: What each adds to the logarithm of the factor of networks where it is.
        covariance: Covariance of the measured networks' residuals, timing errors included.
        spread: Standard deviation of what the costs left over of the logarithms of their latencies.
    """

    costs: Costs
    measured: Floats
    pull: Floats
    covariance: Floats
    spread: float

    def latency(self, work: Sequence[float]) -> float:
        """Predicted latency of a network with so many units of each kind."""
        return self.costs.total(work) * self.factor(work)

    def factor(self, work: Sequence[float]) -> float:
        """Its latency over what its costs amount to."""
        return float(np.exp(self._alike(work) @ self.pull))

    def doubt(self, work: Sequence[float]) -> float:
        """Standard deviation of the logarithm of a predicted latency: small near what was measured.

        That of kriging, scaled by how far off the costs were.
        """
        alike = self._alike(work)
        explained = float(alike @ np.linalg.solve(self.covariance, alike)) / _SYSTEMATIC**2
        return self.spread * math.sqrt(max(0.0, 1.0 - explained))

    def _alike(self, work: Sequence[float]) -> Floats:
        """Covariance with each measured network."""
        alike: Floats = _kernel(_place(self.costs, work)[None], self.measured)[0]
        return alike


def fit(observations: Sequence[Observation]) -> CostModel:
    """The model that comes nearest to what was measured.

    Costs are the non-negative ones with the least sum of squares of (total / measured - 1) (Lawson & Hanson 1974):
    timing errors are relative. Their logarithmic residuals are smoothed by simple kriging.

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
    fixed, *each = solution.tolist()
    costs = Costs(fixed, tuple(each))
    places = np.array([_place(costs, observation.work) for observation in observations])
    left_over = np.log(measured / np.maximum(design @ solution, np.finfo(float).tiny))
    covariance = _kernel(places, places) + _TIMING**2 * np.eye(len(places))
    free = max(1, len(measured) - int((solution > 0).sum()))
    spread = float(np.sqrt(np.square(left_over).sum() / free))
    return CostModel(costs, places, np.linalg.solve(covariance, left_over), covariance, spread)


def _place(costs: Costs, work: Sequence[float]) -> Floats:
    """Where a network lies among others: the shares of its parts in its latency, and the logarithm of that."""
    parts = np.array([costs.fixed, *(cost * count for cost, count in zip(costs.each, work, strict=True))])
    total = max(float(parts.sum()), np.finfo(float).tiny)
    return np.array([*(parts / total), _SIZE * np.log(total)])


def _kernel(some: Floats, others: Floats) -> Floats:
    """Covariance of the left-over of networks, (n, m)."""
    squared = np.square(some[:, None] - others[None]).sum(axis=-1)
    covariance: Floats = _SYSTEMATIC**2 * np.exp(-squared / (2 * _ALIKE**2))
    return covariance
