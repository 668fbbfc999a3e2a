"""Effect of dependence between frames on an interval: the design effect of groups (Kish 1965).

Frames of one group share a stream, a transmitter or a stretch of time, and are right or wrong together more often than
by chance. The variance of a mean is then that of the sums of groups within strata: the cells of one modulation at one
SNR, of which a test set has a fixed number of frames. It is not biased by groups of different sizes (Bell & McCaffrey
2002). An interval for independent frames is taken at the effective number of frames, which is reduced further when that
variance is estimated from few groups (Korn & Graubard 1998, with Satterthwaite's degrees of freedom).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from edgeprune.records.frames import Frames

Indices = npt.NDArray[np.int64]

_Z95 = float(stats.norm.ppf(0.975))


@dataclass(frozen=True)
class Effect:
    """Effect of groups on the mean of some values.

    Attributes:
        design_effect: Variance of the mean relative to that of independent frames, at least 1.
        share: Ratio of the effective to the actual number of frames, for a 95 % interval.
    """

    design_effect: float
    share: float


@dataclass(frozen=True)
class Grouping:
    """Grouping of frames that are not independent.

    Attributes:
        groups: Number of the group of each frame, (N,).
        cells: Number of the modulation and SNR of each frame, (N,).
    """

    groups: Indices
    cells: Indices

    def __len__(self) -> int:
        """Number of groups."""
        return len(np.unique(self.groups))

    def at(self, chosen: npt.NDArray[np.bool_]) -> "Grouping":
        """Grouping of some of the frames."""
        return Grouping(self.groups[chosen], self.cells[chosen])

    def effect(self, values: npt.NDArray[np.bool_] | Indices, independent: float) -> Effect:
        """Effect of the grouping on the mean of values.

        Where it cannot be estimated, since no value differs or no stratum has two groups, a group counts as one frame.

        Args:
            values: Value of each frame, (N,).
            independent: Variance of a single value if frames were independent.
        """
        _, first, group = np.unique(self.groups, return_index=True, return_inverse=True)
        frames, count = len(values), len(first)
        if count == frames:
            return Effect(1.0, 1.0)
        strata = self._strata()
        in_stratum = np.bincount(strata[first])
        freedom = count - int((in_stratum > 0).sum())
        if independent <= 0 or freedom < 1:
            return Effect(frames / count, count / frames)
        sizes = np.bincount(strata)
        means = np.bincount(strata, weights=values) / np.maximum(sizes, 1)
        errors = np.bincount(group, weights=values - means[strata])
        left = 1 - np.bincount(group) / sizes[strata[first]]  # of an error's variance, since the mean is fitted
        squares = np.bincount(strata[first], weights=errors**2 / np.where(left > 0, left, 1))
        varying = squares > 0
        if not varying.any():
            return Effect(1.0, 1.0)
        freedom = float(squares.sum()) ** 2 / (squares[varying] ** 2 / (in_stratum[varying] - 1)).sum()
        found = max(1.0, float(squares.sum()) / (frames * float(independent)))
        return Effect(found, float((_Z95 / stats.t.ppf(0.975, freedom)) ** 2) / found)

    def _strata(self) -> Indices:
        """Number of the stratum of each frame: its cell, or one for all cells where a group is in several of them.

        Cells with a single group share a stratum, with another cell if there is only one such.
        """
        _, cell = np.unique(self.cells, return_inverse=True)
        pairs = np.unique(np.stack([cell, self.groups]), axis=1)
        if pairs.shape[1] > len(self):
            return np.zeros(len(cell), dtype=np.int64)
        alone = np.flatnonzero(np.bincount(pairs[0]) == 1)
        if len(alone) == 1:
            alone = np.array([alone[0], (alone[0] + 1) % (cell.max() + 1)])
        return np.where(np.isin(cell, alone), cell.max() + 1, cell).astype(np.int64)


def grouping_of(frames: Frames) -> Grouping | None:
    """Grouping of the frames; None if it is unknown which belong together."""
    if frames.groups is None:
        return None
    snrs = np.zeros(len(frames), dtype=np.int64) if frames.snrs is None else frames.snrs
    _, cells = np.unique(np.stack([frames.labels, snrs]), axis=1, return_inverse=True)
    return Grouping(frames.groups, cells.reshape(-1).astype(np.int64))
