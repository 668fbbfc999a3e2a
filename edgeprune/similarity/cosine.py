"""Mean cosine of the two units' outputs for the same frame, an ablation of arXiv 2406.07929.

Units of different size are compared over the features both have: the authors pad the shorter one with zeros. Neither
centred nor invariant to the order of features, so it says little about units that do not feed one residual stream.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

FRAMES_AT_ONCE = 16  # bounds the padded float64 copy of all units


class Cosine:
    """Mean over frames of the cosine between flattened activations, the shorter padded with zeros."""

    def summarise(self, activations: Tensor) -> Tensor:
        """Scale each row of activations (n, ...) to length 1: (n, d), at least float32; a row of zeros stays zero."""
        rows = activations.flatten(1).to(torch.promote_types(activations.dtype, torch.float32))
        tiny = torch.finfo(rows.dtype).tiny
        rows = rows / rows.abs().amax(dim=1, keepdim=True).clamp_min(tiny)  # so that no square over- or underflows
        return rows.div_(rows.square().sum(dim=1, keepdim=True).sqrt().clamp_min(tiny))

    def products(self, summaries: Sequence[Tensor]) -> Tensor:
        """Mean cosine of all pairs of L units on one batch, (L, L) float64."""
        units, frames = len(summaries), len(summaries[0])
        widest = max(rows.shape[1] for rows in summaries)
        total = torch.zeros(units, units, dtype=torch.float64)
        for parts in zip(*(torch.split(rows, FRAMES_AT_ONCE) for rows in summaries), strict=True):
            padded = [pad(part.cpu().double(), (0, widest - part.shape[1])).flatten() for part in parts]
            stacked = torch.stack(padded)
            total += stacked @ stacked.T
        return total / frames

    def finish(self, products: Tensor) -> Tensor:
        """The mean cosines themselves (L, L), with 1 on the diagonal even where some frames gave only zeros."""
        return ((products + products.T) / 2).clamp(-1.0, 1.0).fill_diagonal_(1.0)


metric = Cosine()
