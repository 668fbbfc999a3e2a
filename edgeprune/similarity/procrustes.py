"""Orthogonal Procrustes similarity: how well one unit's representation fits another's after the best rotation.

For centered X and Y of Frobenius norm 1 it is the nuclear norm ||XᵀY||*, the largest tr(XᵀYR) over orthogonal R
(Schönemann 1966, doi 10.1007/BF02289451). Ding et al. 2021 (arXiv 2108.01661) test the distance 2 - 2 ||XᵀY||* beside
CCA and CKA; Williams et al. 2021 (arXiv 2110.14739) show that arccos ||XᵀY||* is a metric.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from edgeprune.similarity.cka_biased import double_centred
from edgeprune.similarity.cka_unbiased import linear_gram


def square_root(gram: Tensor) -> Tensor:
    """Factor gram (n, n), positive semi-definite, as FFᵀ with F (n, n); eigenvalues that are rounding become 0."""
    values, vectors = torch.linalg.eigh(gram)
    rounding = len(gram) * torch.finfo(gram.dtype).eps * values[-1]
    root: Tensor = vectors * torch.where(values > rounding, values, 0.0).sqrt()
    return root


class Procrustes:
    """Nuclear norm of XᵀY for the representations of two units, relative to their Frobenius norms."""

    def summarise(self, activations: Tensor) -> Tensor:
        """Compute the centered Gram matrix XXᵀ / (n - 1) of activations (n, ...), (n, n) float64.

        It is in double precision throughout: the square root turns an error of 1e-7 into one of 3e-4.
        """
        return double_centred(linear_gram(activations.double()))

    def products(self, summaries: Sequence[Tensor]) -> Tensor:
        """Compute ||XᵀY||* / (n - 1) of all pairs of L units on one batch, (L, L) float64.

        With Gram matrices A = XXᵀ = FFᵀ and B = YYᵀ, the singular values of XᵀY are those of A^½ B^½, and their squares
        the eigenvalues of FᵀBF: n by n, however wide the units are. The diagonal holds the variance, tr A / (n - 1).
        """
        stacked = torch.stack(list(summaries))
        variances = stacked.diagonal(dim1=1, dim2=2).sum(dim=1)
        finite = torch.where(stacked.isfinite(), stacked, 0.0)  # LAPACK refuses others; they show on the diagonal
        products = stacked.new_zeros(len(stacked), len(stacked))
        for index, gram in enumerate(finite):
            root = square_root(gram)
            squares = torch.linalg.eigvalsh(root.T @ finite[index + 1 :] @ root)
            products[index, index + 1 :] = squares.clamp_min(0.0).sqrt().sum(dim=1)
        return products + products.T + variances.diag()

    def finish(self, products: Tensor) -> Tensor:
        """Compute similarities 0 to 1 of all pairs from their mean products (L, L), whose diagonal must be positive.

        As in CKA, means over batches are taken before the ratio, so that a batch is weighted by its variance.
        """
        norms = products.diagonal().sqrt()
        similarity = products / (norms[:, None] * norms[None, :])
        return similarity.clamp(0.0, 1.0).fill_diagonal_(1.0)


metric = Procrustes()
