"""Frames changed at random, so that a network learns from more than there are.

Rotations of the I/Q plane: a receiver's phase is arbitrary, so a frame turned by a quarter has the same modulation.
There are four, so a teacher's answers to all of them are computed once and looked up afterwards.

Two signals at once: a frame with another on top has no one modulation, but a teacher can be asked about it, and there
is no end of such frames (mixup: Zhang et al. 2018, arXiv 1710.09412; in distillation: Beyer et al. 2022, arXiv
2106.05237).
"""

import torch
from torch import Tensor
from torch.linalg import vector_norm

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


def mix(iq: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Put another frame of the batch on top of some frames, each at a level of its own from 0 to 1.

    Args:
        iq: Frames (N, C, L).
        share: Of the frames that get another on top.
        generator: On the CPU: which, with what, how loud.

    Returns:
        Frames (N, C, L), each of the power of the one it came from, to within rounding.
    """
    mixed = torch.rand(len(iq), generator=generator) < share
    level = torch.where(mixed, torch.rand(len(iq), generator=generator), 1.0).to(iq)[:, None, None]
    other = torch.randperm(len(iq), generator=generator).to(iq.device)
    both = level * iq + (1 - level) * iq[other]
    before, after = (vector_norm(frames, dim=(1, 2), keepdim=True) for frames in (iq, both))
    scaled: Tensor = both * (before / after.clamp_min(torch.finfo(iq.dtype).tiny))
    return scaled
