"""Mean cosine of two units' outputs for the same frame, an ablation of arXiv 2406.07929.

Units of different size are compared over the features that both have: the authors pad the shorter one with zeros. The
metric is neither centered nor invariant to the order of features, so it says little about units that do not share one
residual stream.
"""

from collections.abc import Sequence

from torch import Tensor

from edgeprune.similarity._directions import frame_products, unit_rows


class Cosine:
    """Mean over frames of the cosine between flattened activations, the shorter padded with zeros."""

    def summarise(self, activations: Tensor) -> Tensor:
        """Scale each row of activations (n, ...) to length 1: (n, d), at least float32; a row of zeros stays zero."""
        return unit_rows(activations)

    def products(self, summaries: Sequence[Tensor]) -> Tensor:
        """Mean cosine of all pairs of L units on one batch, (L, L) float64."""
        return frame_products(summaries).mean(dim=0)

    def finish(self, products: Tensor) -> Tensor:
        """Return the mean cosines (L, L), with 1 on the diagonal even where some frames gave only zeros."""
        return ((products + products.T) / 2).clamp(-1.0, 1.0).fill_diagonal_(1.0)


metric = Cosine()
