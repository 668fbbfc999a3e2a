"""Frames to try a network on where their content does not matter.

The same ones wherever a network is only run to see how it runs, so that one whose way depends on its data goes the same
way each time.
"""

import torch
from torch import Tensor

PROBE_FRAMES = 5  # nobody mistakes the axis of frames for a tuple's two or three things


def probe(channels: int, length: int) -> Tensor:
    """Frames (PROBE_FRAMES, channels, length) that rise from -1 to 1."""
    count = PROBE_FRAMES * channels * length
    return torch.linspace(-1, 1, count).reshape(PROBE_FRAMES, channels, length)
