"""Random scores: the baseline that every other criterion has to beat. Needs no data."""

import numpy as np

from edgeprune.criteria._subject import droppable
from edgeprune.protocols import Subject


class Random:
    """Scores units by uniform random numbers from 0 to 1."""

    def scores(self, subject: Subject) -> dict[int, float]:
        """Score every droppable unit; the same seed gives the same scores."""
        units = droppable(subject)
        drawn = np.random.default_rng(subject.seed).random(len(units))
        return {unit.index: float(score) for unit, score in zip(units, drawn, strict=True)}


criterion = Random()
