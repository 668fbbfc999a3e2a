"""Angular similarity: 1 minus the mean angle between two units' outputs for the same frame, in half turns.

The angular distance of Gromov et al. 2024 (arXiv 2403.17887) is arccos(x·y / |x||y|) / π, which they average over
inputs to find removable layers of a language model. ShortGPT's block influence (Men et al. 2024, arXiv 2403.03853) is 1
minus the mean cosine between the input and the output of a block, that is 1 minus the `cosine` metric of neighbors.
The angle satisfies the triangle inequality. Near 0 it separates outputs that have almost the same cosine, which falls
with its square. As with `cosine`, units of different size are compared over the features that both have.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from edgeprune.similarity._directions import cosines, frame_products, unit_rows


class Angular:
    """Mean over frames of 1 - angle / π between flattened activations, the shorter padded with zeros."""

    def summarise(self, activations: Tensor) -> Tensor:
        """Scale each row of activations (n, ...) to length 1: (n, d), at least float32; a row of zeros stays zero."""
        return unit_rows(activations)

    def products(self, summaries: Sequence[Tensor]) -> Tensor:
        """Mean angular similarity of all pairs of L units on one batch, (L, L) float64.

        Zeros have no direction: they count as a right angle to other units, and as 0 on the diagonal, so that a unit
        without any output is visible in its product.
        """
        products = frame_products(summaries)
        alike = 1 - torch.arccos(cosines(products)) / math.pi
        alike.diagonal(dim1=1, dim2=2).masked_fill_(products.diagonal(dim1=1, dim2=2) == 0, 0.0)
        return alike.mean(dim=0)

    def finish(self, products: Tensor) -> Tensor:
        """Return the mean similarities (L, L), 0 to 1, with 1 on the diagonal even where some frames gave zeros."""
        return ((products + products.T) / 2).fill_diagonal_(1.0)


metric = Angular()
