"""Mutual nearest neighbors: the share of a frame's nearest frames by one unit that are nearest by another as well.

This is the alignment of Huh et al. 2024 (arXiv 2405.07987): neighbors by cosine, |S(x) ∩ S(y)| / k for the sets S of
the k nearest, averaged over frames. Only the order of distances counts, not their size. Unlike the authors' code, this
implementation clips no outliers, and it searches for neighbors in the batch and not among 1024 samples.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from edgeprune.errors import DataError
from edgeprune.similarity._directions import cosines

MOST_NEIGHBOURS = 10  # of the authors
_DECIMALS = 12  # cosines that differ by less differ by rounding


def neighbours(frames: int) -> int:
    """Number k of nearest neighbors in a batch: 10, but at most half of the other frames.

    With all others as neighbors, any two units would agree fully; by chance they agree in k / (frames - 1).

    Raises:
        DataError: There are fewer than 3 frames, so that none is nearer than another.
    """
    if frames < 3:
        raise DataError(f"nearest neighbors need at least 3 frames in a batch, got {frames}", "Use larger batches")
    return min(MOST_NEIGHBOURS, (frames - 1) // 2)


class MutualKnn:
    """Mean share of common frames among the k nearest of each frame, by cosine of flattened activations."""

    def summarise(self, activations: Tensor) -> Tensor:
        """Mark the neighbors of each frame of activations (n, ...): (n, n) float64, k ones a row.

        Ties go to the earlier frame. A frame to which all others are equally near has no neighbors; where activations
        are not finite, neither are the marks.

        Raises:
            DataError: n < 3.
        """
        rows = activations.flatten(1).double()
        frames = len(rows)
        nearness = cosines(rows @ rows.T).round_(decimals=_DECIMALS)
        ordered = nearness.fill_diagonal_(-math.inf).sort(dim=1, descending=True, stable=True)
        marks = torch.zeros_like(nearness).scatter_(1, ordered.indices[:, : neighbours(frames)], 1.0)
        farthest = ordered.values[:, -2]  # the last is the frame itself
        marks[ordered.values[:, 0] == farthest] = 0.0
        return marks.masked_fill_(nearness.isnan(), math.nan)

    def products(self, summaries: Sequence[Tensor]) -> Tensor:
        """Mean overlap of the neighbors of all pairs of L units on one batch, (L, L) float64."""
        frames = len(summaries[0])
        stacked = torch.stack([marks.flatten() for marks in summaries])
        return stacked @ stacked.T / (frames * neighbours(frames))

    def finish(self, products: Tensor) -> Tensor:
        """Return the mean overlaps (L, L), 0 to 1, with 1 on the diagonal even where a frame had no neighbors."""
        return ((products + products.T) / 2).fill_diagonal_(1.0)


metric = MutualKnn()
