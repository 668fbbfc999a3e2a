"""How a raw frame is scaled before the network sees it: once in torch, and by tracing inside every exported graph."""

import math
from typing import Literal

import torch
from torch import Tensor

_SILENCE = 1e-18  # root mean square below which a frame counts as silent


def normalise(x: Tensor, how: Literal["rms", "none"]) -> Tensor:
    """Scale every frame to unit mean power, so that the receiver's gain does not matter.

    `rms` divides a frame by its root mean square over time, y[n] = x[n] / sqrt(mean over n of I[n]² + Q[n]²), in as few
    operations as it takes: a small network runs on a device as fast as its operators are few.

    Args:
        x: Raw samples, float32 (N, C, L): N frames, C channels (I and Q), L samples in time; magnitudes 1e-18 to 1e17,
            so that the squares neither vanish nor overflow.
        how: `rms`, or `none` to leave the samples as they are.

    Returns:
        Frames of unit mean power, (N, C, L); a frame of zeros stays zero.
    """
    if how == "none":
        return x
    amplitude: Tensor = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
    root_mean_square = amplitude / math.sqrt(x.shape[2])
    return x / root_mean_square.clamp(min=_SILENCE)
