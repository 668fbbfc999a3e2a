"""Costs of each kind of unit of a network, estimated from a few networks that keep some of its units."""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from edgeprune.bench.cost_model import CostModel, Observation, fit
from edgeprune.prune.shape_paths import Routes
from edgeprune.records.constraints import Timing
from edgeprune.records.pruning import LayerChain

Kept = frozenset[int]
"""Droppable units that a network keeps."""

MOST_DOUBTED = 5
"""Number of networks that are timed because their predicted latency is least certain."""

_SURE = 0.03
_DRAWN = 200


def kinds_of(chain: LayerChain) -> tuple[tuple[int, ...], ...]:
    """Group droppable units of equal cost into kinds: same shapes, parameters, operations and way of dropping."""
    kinds: dict[tuple[object, ...], list[int]] = {}
    for unit in chain.units:
        if unit.droppable:
            alike = (unit.kind, unit.in_shape, unit.out_shape, unit.params, unit.macs, unit.drop)
            kinds.setdefault(alike, []).append(unit.index)
    return tuple(map(tuple, kinds.values()))


def probes_of(kinds: Sequence[Sequence[int]], routes: Routes) -> list[Kept]:
    """Choose the sets of units whose networks reveal the cost of each kind.

    They are the smallest network, and for each kind the smallest network with all units of that kind, since in a small
    network a unit takes a large part of the time. If the units of a kind compute something different there than in
    the unpruned network, the unpruned network without them is added (or without half of them, if it cannot run
    without all).
    """
    everything = frozenset(unit for kind in kinds for unit in kind)
    found = [routes.fewest]
    for kind in kinds:
        alone = routes.fewest | frozenset(kind)
        loads = routes.loads(alone)
        if loads is not None:
            found.append(alone)
        if loads is None or any(loads[unit] != 1 for unit in kind):
            without = (everything - frozenset(kind), everything - frozenset(kind[::2]))
            found += [kept for kept in without if routes.loads(kept) is not None][:1]
    return [kept for kept in dict.fromkeys(found) if kept != everything]


def probed(time: Callable[[Kept], Timing | None], kinds: Sequence[Sequence[int]], routes: Routes) -> dict[Kept, Timing]:
    """Time the networks that reveal the unit costs, and then some of those whose predicted latency is least certain.

    Args:
        time: Function that times the network with some units, or returns None if it cannot.
        kinds: Droppable units that cost the same.
        routes: Computation of a network that keeps some units.
    """
    tried = {kept: time(kept) for kept in probes_of(kinds, routes)}
    drawn = _drawn(kinds, routes)
    for _ in range(MOST_DOUBTED):
        model = fitted(_timed(tried), kinds, routes)
        doubted = _least_certain(model, kinds, routes, [kept for kept in drawn if kept not in tried])
        if doubted is None:
            break
        tried[doubted] = time(doubted)
    return _timed(tried)


def _timed(tried: Mapping[Kept, Timing | None]) -> dict[Kept, Timing]:
    return {kept: timing for kept, timing in tried.items() if timing is not None}


def _drawn(kinds: Sequence[Sequence[int]], routes: Routes) -> list[Kept]:
    """Draw random sets of units that a network can keep, of all sizes; always the same sets."""
    units = sorted(unit for kind in kinds for unit in kind)
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, len(units), _DRAWN).tolist()
    drawn = (frozenset(rng.choice(units, size, replace=False).tolist()) for size in sizes)
    return [kept for kept in dict.fromkeys(drawn) if routes.loads(kept) is not None]


def _least_certain(
    model: CostModel, kinds: Sequence[Sequence[int]], routes: Routes, among: Collection[Kept]
) -> Kept | None:
    """Find the set with the least certain latency; None if all are certain enough."""
    doubts = {kept: model.doubt(work_of(kept, kinds, routes)) for kept in among}
    worst = max(doubts, key=doubts.__getitem__, default=None)
    return None if worst is None or doubts[worst] <= _SURE else worst


def work_of(kept: Kept, kinds: Sequence[Sequence[int]], routes: Routes) -> tuple[float, ...]:
    """Count the units of each kind in a network that keeps these; one that computes half as much counts half."""
    loads = routes.loads(kept)
    assert loads is not None
    return tuple(sum(loads[unit] for unit in kind if unit in kept) for kind in kinds)


def fitted(timed: Mapping[Kept, Timing], kinds: Sequence[Sequence[int]], routes: Routes) -> CostModel:
    """Fit the cost of each kind of unit to all timings and to the unpruned network, whose latency is 1."""
    unpruned = Observation(tuple(float(len(kind)) for kind in kinds), 1.0)
    return fit([unpruned, *(Observation(work_of(kept, kinds, routes), each.ratio) for kept, each in timed.items())])
