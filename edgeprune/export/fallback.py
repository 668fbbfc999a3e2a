"""Search for the operators of an int8 file that must stay in a wider type for it to be accurate enough.

Every operator is quantised alone, and its effect on the outputs ranks it. As few of the worst operators as meet the
bound are then kept in a wider type, found by bisection.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from edgeprune.export.check import onnx_logits
from edgeprune.export.quantise import Ranges, quantise
from edgeprune.files.whole import begun_folder
from edgeprune.records.results import Sensitivity

RANKED_FRAMES = 256

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Bound:
    """Bound on the accuracy that a lower precision may cost.

    Attributes:
        iq: Raw frames (N, C, L) of the validation split.
        labels: Labels of the frames, (N,).
        max_drop: Largest top-1 that may be lost on them relative to the float32 file, 0..1.
    """

    iq: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    max_drop: float

    def drop(self, before: Logits, after: Logits) -> float:
        """Top-1 lost from one set of logits (N, classes) to another."""
        right = [(logits.argmax(axis=1) == self.labels[: len(logits)]).mean() for logits in (before, after)]
        return float(right[0] - right[1])


@dataclass(frozen=True)
class Kept:
    """Operators kept out of eight bits, the top-1 that is still lost, and the ranking they were taken from."""

    operators: tuple[str, ...]
    drop: float
    ranking: tuple[Sensitivity, ...] = ()


@dataclass
class FallbackSearch:
    """Search for the operators to keep in one network.

    Attributes:
        source: The float32 file.
        ranges: Ranges of its activations.
        bound: Bound to meet.
        write: Writes the file that keeps some operators, and returns its path.
    """

    source: Path
    ranges: Ranges
    bound: Bound
    write: Callable[[tuple[str, ...]], Path]
    _before: Logits = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._before = onnx_logits(self.source, self.bound.iq)

    def run(self) -> Kept:
        """Find the fewest operators that meet the bound; if none do, those among the tried that come nearest."""
        whole = Kept((), self._drop(()))
        if whole.drop <= self.bound.max_drop:
            return whole
        ranking = self.ranking()
        names = tuple(each.name for each in ranking)
        tried = [whole]
        low, high = 1, len(names)  # of len(names) nothing would be left in eight bits
        while low < high:
            middle = (low + high) // 2
            tried.append(Kept(names[:middle], self._drop(names[:middle]), ranking))
            if tried[-1].drop <= self.bound.max_drop:
                high = middle
            else:
                low = middle + 1
        holding = [kept for kept in tried if kept.drop <= self.bound.max_drop]
        found = (
            min(holding, key=lambda kept: len(kept.operators)) if holding else min(tried, key=lambda kept: kept.drop)
        )
        return Kept(found.operators, found.drop, ranking)

    def ranking(self) -> tuple[Sensitivity, ...]:
        """Measure the cost of quantising each operator alone, highest first."""
        iq, before = self.bound.iq[:RANKED_FRAMES], self._before[:RANKED_FRAMES]
        found = []
        with begun_folder(self.source.parent) as folder:
            for name in self.ranges.operators:
                alone = folder / "alone.onnx"
                quantise(self.ranges, alone, (name,))
                after = onnx_logits(alone, iq)
                found.append(Sensitivity(name, divergence(before, after), self.bound.drop(before, after)))
        return tuple(sorted(found, key=lambda each: -each.kl))

    def _drop(self, kept: tuple[str, ...]) -> float:
        return self.bound.drop(self._before, onnx_logits(self.write(kept), self.bound.iq))


def divergence(before: Logits, after: Logits) -> float:
    """Mean over frames of the KL divergence of softmax(after) from softmax(before), in nats; logits (N, classes)."""
    reference, other = (log_softmax(logits.astype(np.float64), axis=1) for logits in (before, after))
    return max(0.0, float((np.exp(reference) * (reference - other)).sum(axis=1).mean()))
