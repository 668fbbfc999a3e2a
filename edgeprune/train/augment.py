"""Random augmentation of frames.

Rotation of the I/Q plane: a receiver's phase is arbitrary, so a frame turned by a quarter has the same modulation.
There are four rotations, so a teacher's outputs for all of them are computed once and looked up afterwards.

Mixing: the sum of two frames has no single modulation, but a teacher can label it, and the supply of such frames is
unlimited (mixup: Zhang et al. 2018, arXiv 1710.09412; in distillation: Beyer et al. 2022, arXiv 2106.05237).
"""

import torch
from torch import Tensor
from torch.linalg import vector_norm

QUARTERS = 4


def rotate(iq: Tensor, quarters: Tensor) -> Tensor:
    """Multiply frames by j to the power of `quarters`.

    Args:
        iq: Frames (N, 2, L), I in row 0 and Q in row 1.
        quarters: 0..3 for each frame, int64 (N,).
    """
    swapped = torch.where((quarters % 2 == 1)[:, None, None], iq.flip(1), iq)
    negative = torch.stack(((quarters + 1) // 2, quarters // 2), dim=1) % 2  # I in quarters 1 and 2, Q in 2 and 3
    return swapped * (1 - 2 * negative).to(iq.dtype)[:, :, None]


def draw_mixing(frames: int, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw which frames of a batch are mixed, with which other frame and at what level.

    Args:
        frames: Number of frames in the batch, N.
        share: Fraction of the frames that are mixed with another.
        generator: Random generator on the CPU.

    Returns:
        Level of every frame itself, 0 to 1, float32 (N,), 1 for frames that are not mixed; and the index of the other
        frame in the batch, int64 (N,).
    """
    mixed = torch.rand(frames, generator=generator) < share
    level = torch.where(mixed, torch.rand(frames, generator=generator), 1.0)
    return level, torch.randperm(frames, generator=generator)


def mix(iq: Tensor, other: Tensor, level: Tensor) -> Tensor:
    """Mix each frame with another.

    Args:
        iq: Frames (N, C, L).
        other: Frames to mix in, (N, C, L).
        level: Level of each frame of `iq`, 0 to 1, (N,); the other frame has the rest, up to 1.

    Returns:
        Frames (N, C, L), each with the power of the frame of `iq`, to within rounding.
    """
    own = level.to(iq)[:, None, None]
    both = own * iq + (1 - own) * other
    before, after = (vector_norm(frames, dim=(1, 2), keepdim=True) for frames in (iq, both))
    scaled: Tensor = both * (before / after.clamp_min(torch.finfo(iq.dtype).tiny))
    return scaled
