"""Leave one out: the accuracy lost without a unit, before any fine-tuning. Needs labeled frames.

One unit at a time is dropped, batch norm is re-estimated on `NORM_FRAMES` frames of the train split, and the network
classifies the validation frames. The score is the accuracy lost. Two units can lose the same number of frames. The one
whose loss (mean cross-entropy) grows more then has the higher score: the growth is scaled to less than half a frame, so
that it never outweighs one.
"""

import math

from edgeprune.criteria._subject import accuracy, batches, droppable, log_loss, logits_of, not_finite, spread, without
from edgeprune.network.statistics import reestimate
from edgeprune.protocols import Subject

FRAMES = 1024
NORM_FRAMES = 512


class LeaveOneOut:
    """Scores units by the accuracy lost when each alone is dropped."""

    def scores(self, subject: Subject) -> dict[int, float]:
        """Score every droppable unit on frames of the validation split.

        Raises:
            ModelError: A unit cannot be dropped, or the outputs of the unpruned network are not finite.
        """
        units = droppable(subject)
        frames = spread(subject.validation, FRAMES, subject.seed)
        norm_frames = spread(subject.train, NORM_FRAMES, subject.seed)
        logits = logits_of(subject.model, frames)
        best, least = accuracy(logits, frames), log_loss(logits, frames)
        if math.isinf(least):
            raise not_finite("the network's outputs")
        scores: dict[int, float] = {}
        with subject.progress.track("leave one out", len(units)) as advance:
            for unit in units:
                pruned = without(subject, [unit.index])
                reestimate(pruned, (batch.iq for batch in batches(norm_frames)))
                logits = logits_of(pruned, frames)
                growth = squeezed(log_loss(logits, frames) - least) / (2 * len(frames.labels))
                scores[unit.index] = best - accuracy(logits, frames) + growth
                advance(1, unit.path)
        return scores


def squeezed(growth: float) -> float:
    """Map the growth of the loss to -1..1, keeping its order."""
    return 1.0 if math.isinf(growth) else growth / (1 + abs(growth))


criterion = LeaveOneOut()
