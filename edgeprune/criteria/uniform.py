"""Evenly spaced units in each segment: a baseline that depends on positions alone. Needs no data."""

from collections.abc import Sequence

from edgeprune.criteria._subject import droppable
from edgeprune.protocols import Subject


class Uniform:
    """Keeps evenly spaced units."""

    def scores(self, subject: Subject) -> dict[int, float]:
        """Score every droppable unit by an order in which each next unit is far from those before it.

        The first is in the middle of the chain. The next is the unit whose nearest neighbor among the earlier ones and
        the ends is farthest; ties go to the earlier unit.
        """
        units = [unit.index for unit in droppable(subject)]
        taken = {-1, len(units)}
        scores: dict[int, float] = {}
        while len(scores) < len(units):
            free = [place for place in range(len(units)) if place not in taken]
            farthest = max(free, key=lambda place: (min(abs(place - other) for other in taken), -place))
            taken.add(farthest)
            scores[units[farthest]] = float(len(units) - len(scores))
        return scores

    def choose(self, subject: Subject, segments: Sequence[Sequence[int]], counts: Sequence[int]) -> frozenset[int]:
        """Keep m of each segment's n droppable units: those in the middle of m stretches of equal length."""
        can_go = {unit.index for unit in droppable(subject)}
        kept: set[int] = set()
        for segment, count in zip(segments, counts, strict=True):
            units = sorted(can_go & set(segment))
            kept |= {units[(2 * place + 1) * len(units) // (2 * count)] for place in range(count)}
        return frozenset(kept)


criterion = Uniform()
