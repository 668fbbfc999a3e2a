"""Deviations of the authors' released code from the published method, to measure their effect.

Written from the facts of that code, with nothing copied. The cuts of the segmentation are not those that its
recurrence finds. The probe of the search is never reset, so that weights copied into it for one set of units stay for
the next. Units that change the shape of the signal start from fresh weights. It also keeps the epoch that was best on
the test split, which is in `work.py`.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgeprune.criteria.synflow_search import Probe
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.protocols import Subject
from edgeprune.prune.planning import allotment
from edgeprune.prune.planning import plan as plan_of
from edgeprune.prune.segmentation import fisher_segments
from edgeprune.records.pruning import PrunePlan, Segmentation
from edgeprune.tasks import plan as planning
from edgeprune.tasks.plan import Planned, PlanSettings

Segments = tuple[tuple[int, int], ...]


class _Scorer(Protocol):
    """Scores a set of units, less is better; the `Probe` of the search does."""

    def score(self, units: Any) -> float: ...


def plan(planned: Planned, subject: Subject, settings: PlanSettings, deviations: Sequence[str]) -> PrunePlan:
    """Plan with the released cuts ('traceback'), the released search ('probe'), or both."""
    cut = planned.segmentation
    if "traceback" in deviations:
        cut = _recut(planned)
    keep = planning.kept_units(planned.chain, settings)
    if "probe" not in deviations:
        return planning.choose(subject, cut, planned.scores, settings)
    members, counts = allotment(planned.chain, cut, keep)
    stay = unreset_search(Probe(subject), members, counts)
    return plan_of(planned.chain, cut, planned.scores, settings.metric, keep, stay)


def _recut(planned: Planned) -> Segmentation:
    """Segment into the same number of segments, cut as the released code does."""
    cut, chain = planned.segmentation, planned.chain
    first, last = chain.droppable[0], chain.droppable[-1]
    matrix = np.array(planned.similarity.matrix)[first : last + 1, first : last + 1]
    points = matrix if cut.profile == "rows" else matrix.sum(axis=0)[:, None]
    runs = [(start + first, end + first) for start, end in released_segments(points, len(cut.segments))]
    runs[0] = (0, runs[0][1])
    runs[-1] = (runs[-1][0], len(chain.units) - 1)
    return replace(cut, segments=tuple(runs))


def released_segments(profile: npt.NDArray[np.float64], segments: int) -> Segments:
    """Trace the cuts back through the table of minimum losses as the released code does.

    L(n, k) is the minimum loss of the first n points in k runs. From the end, the run before the last ends at the
    largest n with L(n, k - 1) below the current loss, and so on with that n and its loss. If there is no such n, the
    run ends at the last possible n.

    Args:
        profile: (L, d), one point a unit, in order.
        segments: Number of runs, 1..L.
    """
    losses = [fisher_segments(profile[:points], min(points, segments))[0] for points in range(1, len(profile) + 1)]
    runs: list[tuple[int, int]] = []
    end, loss = len(profile), losses[-1][segments - 1]
    for k in range(segments - 1, 0, -1):
        possible = range(k, end)
        below = [points for points in possible if losses[points - 1][k - 1] < loss]
        points = below[-1] if below else possible[-1]
        runs.append((points, end - 1))
        end, loss = points, losses[points - 1][k - 1]
    return ((0, end - 1), *reversed(runs))


def unreset_search(probe: _Scorer, segments: Sequence[Sequence[int]], counts: Sequence[int]) -> frozenset[int]:
    """Find the sets with the lowest score when a probe keeps the trained weights of every set it was given before.

    Once all units of a segment have been copied, the score no longer changes, and of equal scores the first wins. So
    only sets with a unit that is new need to be scored.

    Args:
        probe: Scores a set of units.
        segments: Droppable units of each segment, in the order in which they are visited.
        counts: Number of units to keep in each segment.
    """
    copied: set[int] = set()
    kept: set[int] = set()
    for units, count in zip(segments, counts, strict=True):
        best, lowest = tuple(units[:count]), float("inf")
        for chosen in combinations(units, count):
            if count and not set(chosen) <= copied:
                copied |= set(chosen)
                score = probe.score(copied)
                if score < lowest:
                    best, lowest = chosen, score
            if set(units) <= copied:
                break
        kept |= set(best)
    return frozenset(kept)


def with_fresh_transitions(pruned: Checkpoint, untrained: Checkpoint, transitions: Sequence[str]) -> Checkpoint:
    """Give the units that change the shape fresh weights.

    Args:
        pruned: The pruned network with trained weights; changed in place.
        untrained: The same network with fresh weights.
        transitions: Paths of those units; paths of several modules are joined by '+'.
    """
    prefixes = tuple(f"{path}." for unit in transitions for path in unit.split("+"))
    fresh = {name: value for name, value in untrained.model.state_dict().items() if name.startswith(prefixes)}
    pruned.model.load_state_dict({**pruned.model.state_dict(), **fresh})
    return pruned
