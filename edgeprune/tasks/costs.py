"""What each kind of unit of a network costs, from a few networks that keep some of its units."""

from collections.abc import Mapping, Sequence

from edgeprune.bench.cost_model import CostModel, Observation, fit
from edgeprune.choices import Timing
from edgeprune.prune.routes import Routes
from edgeprune.records import LayerChain

Kept = frozenset[int]
"""Droppable units that a network keeps."""


def kinds_of(chain: LayerChain) -> tuple[tuple[int, ...], ...]:
    """Droppable units in kinds that cost the same: same shapes, parameters, operations and way of dropping."""
    kinds: dict[tuple[object, ...], list[int]] = {}
    for unit in chain.units:
        if unit.droppable:
            alike = (unit.kind, unit.in_shape, unit.out_shape, unit.params, unit.macs, unit.drop)
            kinds.setdefault(alike, []).append(unit.index)
    return tuple(map(tuple, kinds.values()))


def probes_of(kinds: Sequence[Sequence[int]], routes: Routes) -> list[Kept]:
    """The sets of units whose networks tell what each kind costs.

    The smallest network; for each kind the smallest with all units of the kind, since in a small network a unit is a
    large part of the time; and where these compute something else there than in the unpruned network, the unpruned
    network without them (or half of them, where it cannot run without all).
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


def work_of(kept: Kept, kinds: Sequence[Sequence[int]], routes: Routes) -> tuple[float, ...]:
    """How many units of each kind a network has that keeps these; one that computes half as much counts half."""
    loads = routes.loads(kept)
    assert loads is not None
    return tuple(sum(loads[unit] for unit in kind if unit in kept) for kind in kinds)


def fitted(timed: Mapping[Kept, Timing], kinds: Sequence[Sequence[int]], routes: Routes) -> CostModel:
    """What each kind of unit costs, by all timings and the unpruned network, which takes its own time."""
    unpruned = Observation(tuple(float(len(kind)) for kind in kinds), 1.0)
    return fit([unpruned, *(Observation(work_of(kept, kinds, routes), each.ratio) for kept, each in timed.items())])
