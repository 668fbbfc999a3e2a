"""Latency of each kind of unit on a target, estimated from the latency of a few networks. Pure.

Latency is modeled as a fixed part plus a sum over the units that are kept. Units of one kind cost the same, in
proportion to what they compute. The residual is not noise alone: a large network reads its weights from slower memory
than a small one, and some shapes run better than others. Networks of similar size and composition are therefore assumed
to deviate by similar factors (kriging: Matheron 1963, doi 10.2113/gsecongeo.58.8.1246).

All latencies are in units of the unpruned network's. It is measured in turns with each other network, so that the
ratio does not depend on what else the machine was doing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from edgeprune.errors import ConfigError

Floats = npt.NDArray[np.float64]

_SYSTEMATIC = 0.12  # standard deviation of the logarithm of the residuals
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
    """Latency of the units that are always kept, and of one unit of each kind, relative to the unpruned network's."""

    fixed: float
    each: tuple[float, ...]

    def total(self, work: Sequence[float]) -> float:
        """Latency of a network with the given number of units of each kind, by the costs alone."""
        return self.fixed + sum(cost * count for cost, count in zip(self.each, work, strict=True))


@dataclass(frozen=True)
class CostModel:
    """Unit costs, and the factor by which networks similar to the measured ones differ from them.

    Attributes:
        costs: Fixed latency and latency of one unit of each kind.
        measured: Coordinates of the measured networks, one a row, from `_place`.
        pull: Contribution of each measured network to the logarithm of the factor of its neighbors.
        covariance: Covariance of the measured networks' residuals, timing errors included.
        spread: Standard deviation of the residuals of the logarithm of latency.
    """

    costs: Costs
    measured: Floats
    pull: Floats
    covariance: Floats
    spread: float

    def latency(self, work: Sequence[float]) -> float:
        """Predicted latency of a network with the given number of units of each kind."""
        return self.costs.total(work) * self.factor(work)

    def factor(self, work: Sequence[float]) -> float:
        """Ratio of the predicted latency to the sum of the costs."""
        return float(np.exp(self._alike(work) @ self.pull))

    def doubt(self, work: Sequence[float]) -> float:
        """Standard deviation of the logarithm of a predicted latency: small near the measured networks.

        This is the kriging variance, scaled by the residuals of the costs.
        """
        alike = self._alike(work)
        explained = float(alike @ np.linalg.solve(self.covariance, alike)) / _SYSTEMATIC**2
        return self.spread * math.sqrt(max(0.0, 1.0 - explained))

    def _alike(self, work: Sequence[float]) -> Floats:
        """Covariance with each measured network."""
        alike: Floats = _kernel(_place(self.costs, work)[None], self.measured)[0]
        return alike


def fit(observations: Sequence[Observation]) -> CostModel:
    """Fit the model that comes nearest to the measured latencies.

    The costs are non-negative and minimize the sum of squares of (total / measured - 1) (Lawson & Hanson 1974), because
    timing errors are relative. Their logarithmic residuals are smoothed by simple kriging.

    Args:
        observations: At least one, all with the same kinds; the unpruned network is among them.

    Raises:
        ConfigError: There are no observations, they differ in the number of kinds, or a latency is not positive.
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
    """Coordinates of a network: the shares of its parts in its latency, and the logarithm of that latency."""
    parts = np.array([costs.fixed, *(cost * count for cost, count in zip(costs.each, work, strict=True))])
    total = max(float(parts.sum()), np.finfo(float).tiny)
    return np.array([*(parts / total), _SIZE * np.log(total)])


def _kernel(some: Floats, others: Floats) -> Floats:
    """Covariance of the residuals of networks, (n, m)."""
    squared = np.square(some[:, None] - others[None]).sum(axis=-1)
    covariance: Floats = _SYSTEMATIC**2 * np.exp(-squared / (2 * _ALIKE**2))
    return covariance
