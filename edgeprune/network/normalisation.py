"""Scaling of raw frames before the network: written once in torch, and traced into every exported graph."""

import math
from typing import Literal

import torch
from torch import Tensor

_SILENCE = 1e-18  # root mean square below which a frame counts as silent


def normalise(x: Tensor, how: Literal["rms", "none"]) -> Tensor:
    """Scale every frame to unit mean power, so that the receiver's gain has no influence.

    `rms` divides a frame by its root mean square over time, y[n] = x[n] / sqrt(mean over n of I[n]² + Q[n]²), in as few
    operations as possible: the latency of a small network on a device grows with the number of its operators.

    Args:
        x: Raw samples, float32 (N, C, L): N frames, C channels (I and Q), L samples in time; magnitudes 1e-18 to 1e17,
            so that the squares neither underflow nor overflow.
        how: `rms`, or `none` to leave the samples as they are.

    Returns:
        Frames of unit mean power, (N, C, L); a frame of zeros stays zero.
    """
    if how == "none":
        return x
    amplitude: Tensor = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
    root_mean_square = amplitude / math.sqrt(x.shape[2])
    return x / root_mean_square.clamp(min=_SILENCE)
