"""Selection under a budget: the best set of units to keep, exactly.

Among all sets within the budget, it finds the one of greatest total worth, as a mixed-integer linear program (HiGHS,
Huangfu & Hall 2018): the path of greatest worth through the routes of a network, under one bound on its cost. The
criteria are, in this order:

1. As many segments as possible within the budget keep a unit, if they have one that can be dropped.
2. Within a segment, a unit whose shortcut would remove an axis of the signal takes precedence over all others.
3. The total worth of the units that stay.

The worth of a unit is its score over the mean magnitude of the scores in its segment. Scores of different segments are
not comparable: a unit with many weights, or one near the output, can score orders of magnitude above others, and
segments with such units would take the whole budget. With this weighting the worth of a segment is in proportion to its
number of units, as in the allotment of units to segments by size.
"""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from edgeprune.errors import EdgepruneError
from edgeprune.prune.planning import members_of
from edgeprune.prune.shape_paths import END, PathNode, Routes
from edgeprune.records.pruning import LayerChain, Scores, Segmentation

Floats = npt.NDArray[np.float64]
_ROUNDING = 1e-9


def worths(members: Sequence[Sequence[int]], scores: Mapping[int, float]) -> dict[int, float]:
    """Compute each unit's score over the mean magnitude of its segment's scores; 1 for all where they are all 0.

    Args:
        members: The droppable units of each segment.
        scores: Score of each droppable unit.
    """
    found: dict[int, float] = {}
    for units in members:
        mean = sum(abs(scores[unit]) for unit in units) / len(units) if units else 0.0
        found |= {unit: scores[unit] / mean if mean else 1.0 for unit in units}
    return found


def worth_of(kept: Collection[int], members: Sequence[Sequence[int]], scores: Mapping[int, float]) -> tuple[int, float]:
    """Worth of a set of units: the number of segments that keep one, and its total worth."""
    worth = worths(members, scores)
    covered = sum(any(unit in kept for unit in units) for units in members)
    return covered, sum(value for unit, value in worth.items() if unit in kept)


def select_within(
    chain: LayerChain,
    segmentation: Segmentation,
    scores: Scores,
    routes: Routes,
    costs: Mapping[int, float],
    budget: float,
) -> frozenset[int] | None:
    """Choose the droppable units to keep under a budget, or None if no set is within it.

    Args:
        chain: The network.
        segmentation: Its segments.
        scores: Scores of its droppable units.
        routes: Computation of each unit, whatever was dropped before it.
        costs: Cost of each droppable unit that computes what it does in the unpruned network.
        budget: Largest cost of all kept units together.
    """
    members = members_of(chain, segmentation)
    first_to_stay = frozenset(unit.index for unit in chain.units if unit.collapses)
    return select(routes, members, worths(members, scores.values), costs, budget, first_to_stay)


def select(
    routes: Routes,
    members: Sequence[Sequence[int]],
    worth: Mapping[int, float],
    costs: Mapping[int, float],
    budget: float,
    first_to_stay: frozenset[int] = frozenset(),
) -> frozenset[int] | None:
    """Choose the units to keep, or None if no set is within the budget.

    Args:
        routes: Routes of the network.
        members: The droppable units of each segment.
        worth: Worth of each droppable unit.
        costs: Cost of each droppable unit at load 1; not negative.
        budget: Largest cost of all kept units together.
        first_to_stay: Units that stay before the others of their segment.
    """
    program = _Program(routes, members, costs, budget, first_to_stay)
    covered = program.best(program.covers)
    if covered is None:
        return None
    most = round(float(program.covers @ covered))
    chosen = program.best(program.worth(worth), least_covered=most)
    if chosen is None:  # the first solution is one of the second program
        raise EdgepruneError("the selection under a budget found no set where it had found one before")
    return program.units(chosen)


class _Program:
    """Mixed-integer program: for each stop, whether the route keeps or drops its unit there.

    Its variables are first one a stop for keeping, then one a stop for dropping, then one a segment for keeping a unit
    of it; all are 0 or 1.
    """

    def __init__(
        self,
        routes: Routes,
        members: Sequence[Sequence[int]],
        costs: Mapping[int, float],
        budget: float,
        first_to_stay: frozenset[int],
    ) -> None:
        self.stops, self.segments = routes.stops, [list(units) for units in members if units]
        count = len(self.stops)
        self.size = 2 * count + len(self.segments)
        self.covers = np.concatenate([np.zeros(2 * count), np.ones(len(self.segments))])
        self.upper = np.ones(self.size)
        self.upper[[count + place for place, stop in enumerate(self.stops) if stop.dropped is None]] = 0
        self.rows: list[Floats] = []
        self.least: list[float] = []
        self.most: list[float] = []
        self._one_route()
        self._bound(self._keeping(lambda stop: costs[stop.unit] * stop.load), -np.inf, budget + _ROUNDING)
        for number, units in enumerate(self.segments):
            covered = np.zeros(self.size)
            covered[2 * count + number] = 1.0
            self._bound(covered - self._among(units), -np.inf, 0.0)
            for other, first in itertools.product(set(units) - first_to_stay, first_to_stay.intersection(units)):
                self._bound(self._among([other]) - self._among([first]), -np.inf, 0.0)

    def best(self, gain: Floats, least_covered: int = 0) -> Floats | None:
        """Find the variables of greatest gain, or None if nothing meets all bounds."""
        matrix = csr_array(np.array([*self.rows, self.covers]))
        constraints = LinearConstraint(matrix, [*self.least, least_covered], [*self.most, np.inf])
        found = milp(
            -gain,
            constraints=constraints,
            integrality=np.ones(self.size),
            bounds=Bounds(np.zeros(self.size), self.upper),
            options={"mip_rel_gap": 0.0},
        )
        return None if found.x is None else np.round(found.x)

    def worth(self, worth: Mapping[int, float]) -> Floats:
        """Objective to maximise."""
        return self._keeping(lambda stop: worth[stop.unit])

    def units(self, variables: Floats) -> frozenset[int]:
        """Units that are kept."""
        return frozenset(stop.unit for stop, kept in zip(self.stops, variables, strict=False) if kept)

    def _one_route(self) -> None:
        """Require that every route into a stop leaves it, and that one route begins at the first."""
        count = len(self.stops)
        flow = np.zeros((count, self.size))
        for place, stop in enumerate(self.stops):
            flow[place, [place, count + place]] += 1
            for variable, to in ((place, stop.kept), (count + place, stop.dropped)):
                if to is not None and to != END:
                    flow[to, variable] -= 1
        for place, row in enumerate(flow):
            self._bound(row, float(place == 0), float(place == 0))

    def _keeping(self, value: Callable[[PathNode], float]) -> Floats:
        """Row with the contribution of keeping the unit at each stop."""
        return np.array([*map(value, self.stops), *np.zeros(self.size - len(self.stops))])

    def _among(self, units: Collection[int]) -> Floats:
        """Row that counts how many of the units are kept."""
        return self._keeping(lambda stop: float(stop.unit in units))

    def _bound(self, row: Floats, least: float, most: float) -> None:
        self.rows.append(row)
        self.least.append(least)
        self.most.append(most)
