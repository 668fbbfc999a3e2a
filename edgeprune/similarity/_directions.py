"""Shared code of metrics that depend on the direction of a unit's activations but not on their magnitude."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

FRAMES_AT_ONCE = 16  # bounds the padded float64 copy of all units


def unit_rows(activations: Tensor) -> Tensor:
    """Scale each row of activations (n, ...) to length 1: (n, d), at least float32; a row of zeros stays zero."""
    rows = activations.flatten(1).to(torch.promote_types(activations.dtype, torch.float32))
    tiny = torch.finfo(rows.dtype).tiny
    rows = rows / rows.abs().amax(dim=1, keepdim=True).clamp_min(tiny)  # so that no square over- or underflows
    return rows.div_(rows.square().sum(dim=1, keepdim=True).sqrt().clamp_min(tiny))


def frame_products(units: Sequence[Tensor]) -> Tensor:
    """Compute inner products of all pairs of L units, frame by frame; the shorter row is padded with zeros.

    Args:
        units: L times (n, d) with the same n frames; d may differ.

    Returns:
        (n, L, L) float64, on the units' device.
    """
    widest = max(rows.shape[1] for rows in units)
    products = []
    for parts in zip(*(torch.split(rows, FRAMES_AT_ONCE) for rows in units), strict=True):
        stacked = torch.stack([pad(part.double(), (0, widest - part.shape[1])) for part in parts], dim=1)
        products.append(stacked @ stacked.mT)
    return torch.cat(products)


def cosines(products: Tensor) -> Tensor:
    """Compute cosines (..., m, m) from inner products (..., m, m): exactly 1 on the diagonal, 0 with a zero vector."""
    squares = products.diagonal(dim1=-2, dim2=-1)
    lengths = (squares[..., :, None] * squares[..., None, :]).sqrt()
    return (products / lengths.clamp_min(torch.finfo(products.dtype).tiny)).clamp(-1.0, 1.0)
