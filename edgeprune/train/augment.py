"""Rotations of the I/Q plane: a receiver's phase is arbitrary, so a frame turned by a quarter has the same modulation.

There are four, so a teacher's answers to all of them are computed once and looked up afterwards.
"""

import torch
from torch import Tensor

QUARTERS = 4

_SIGNS = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])


def rotate(iq: Tensor, quarters: Tensor) -> Tensor:
    """Multiply frames by j to the power of `quarters`.

    Args:
        iq: Frames (N, 2, L), I in row 0 and Q in row 1.
        quarters: 0..3 for each frame, int64 (N,).
    """
    swapped = torch.where((quarters % 2 == 1)[:, None, None], iq.flip(1), iq)
    return swapped * _SIGNS.to(iq)[quarters][:, :, None]
