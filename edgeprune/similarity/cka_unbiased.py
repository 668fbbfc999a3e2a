"""Linear CKA from the unbiased HSIC estimator, the metric of arXiv 2406.07929.

The biased estimator finds unrelated units similar when there are more features than frames, which is usual here: a
unit has thousands of features and a batch 128 frames. Over several batches, HSIC is averaged first and the ratio taken
once (Nguyen et al. 2021, arXiv 2010.15327), which keeps numerator and denominator unbiased.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeprune.errors import DataError

_SMALLEST, _LARGEST = 1e-20, 1e30  # squared norms that float32 holds with all its digits
_EXPONENTS = (-126, 127)  # of float32
_ROUNDING = 1e-14  # of float64, relative to the squared norm of the largest row


def linear_gram(activations: Tensor) -> Tensor:
    """Compute the Gram matrix of the activations of one unit, relative to their mean.

    HSIC does not change when all frames are shifted equally. Differences from the mean keep their digits where the mean
    is large and where one frame is far from the others. For a constant unit they are set to exactly zero, which the
    rounding of the mean would prevent. Differences are multiplied in their own precision (at least float32); where
    their squares would leave its range they are scaled by a power of two, which is exact.

    Args:
        activations: (n, ...), one row a frame.

    Returns:
        (n, n) float64, on the activations' device.
    """
    features = activations.flatten(1).to(torch.promote_types(activations.dtype, torch.float32))
    least, most = torch.aminmax(features, dim=0)
    features = torch.where(least == most, 0.0, features - features.mean(dim=0))
    gram = _times_transposed(features)
    if _SMALLEST < gram.diagonal().max() < _LARGEST:
        return gram.double()
    peak = torch.stack(torch.aminmax(features)).abs().max()
    exponent = min(max(int(torch.frexp(peak).exponent), _EXPONENTS[0]), _EXPONENTS[1])
    return _times_transposed(features * 2.0**-exponent).double() * 4.0**exponent


def _times_transposed(rows: Tensor) -> Tensor:
    """Multiply rows (n, p) by their transpose without the quarter that follows by symmetry."""
    half = len(rows) // 2
    right = rows @ rows[half:].T
    left = torch.cat([rows[:half] @ rows[:half].T, right[:half].T])
    return torch.cat([left, right], dim=1)


def u_centred(gram: Tensor) -> Tensor:
    """U-centre a Gram matrix: the inner product of two such matrices is the unbiased HSIC.

    Székely & Rizzo 2014 (doi 10.1214/14-AOS1255), definition 2 and proposition 1. It equals the estimator of Song et
    al. 2012 (JMLR 13, equation 5), which is written with traces of the Gram matrices, their diagonals set to zero.

    Args:
        gram: (n, n).

    Returns:
        (n, n) with a zero diagonal, divided by sqrt(n (n - 3)).

    Raises:
        DataError: n < 4, where the estimator is undefined.
    """
    n = len(gram)
    if n < 4:
        raise DataError(f"unbiased CKA needs at least 4 frames in a batch, got {n}", "Use larger batches")
    centred = gram.clone().fill_diagonal_(0.0)
    sums = centred.sum(dim=0)
    centred -= (sums[:, None] + sums[None, :]) / (n - 2)
    centred += sums.sum() / ((n - 1) * (n - 2))
    return centred.fill_diagonal_(0.0) / math.sqrt(n * (n - 3))


@dataclass(frozen=True)
class LinearCKA:
    """Centered kernel alignment (Kornblith et al. 2019, arXiv 1905.00414) with a linear kernel.

    Args:
        centre: Turns a Gram matrix (n, n) into one whose inner product with another is an estimate of HSIC.
    """

    centre: Callable[[Tensor], Tensor]

    def summarise(self, activations: Tensor) -> Tensor:
        """Center the Gram matrix of activations (n, ...), flattened to (n * n,) float64; zeros for mere rounding."""
        gram = linear_gram(activations)
        centred = self.centre(gram)
        if centred.abs().max() <= _ROUNDING * gram.diagonal().max():
            centred = torch.zeros_like(centred)
        return centred.flatten()

    def products(self, summaries: Sequence[Tensor]) -> Tensor:
        """Compute the HSIC of all pairs of L units on one batch, (L, L) float64."""
        stacked = torch.stack(list(summaries))
        return stacked @ stacked.T

    def finish(self, products: Tensor) -> Tensor:
        """Compute the CKA of all pairs from their mean HSIC (L, L), whose diagonal must be positive.

        The unbiased estimate may be below 0; by the Cauchy-Schwarz inequality none is above 1.
        """
        norms = products.diagonal().sqrt()
        similarity = (products + products.T) / 2 / (norms[:, None] * norms[None, :])
        return similarity.clamp(-1.0, 1.0).fill_diagonal_(1.0)


metric = LinearCKA(u_centred)
