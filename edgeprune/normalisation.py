"""How a raw frame is scaled before the network sees it: once in torch, and by tracing inside every exported graph."""

from typing import Literal

import torch
from torch import Tensor


def normalise(x: Tensor, how: Literal["rms", "none"]) -> Tensor:
    """Scale every frame to unit mean power, so that the receiver's gain does not matter.

    `rms` divides a frame by its root mean square over time, y[n] = x[n] / sqrt(mean over n of I[n]² + Q[n]²). The
    frame is first divided by its largest magnitude, which cancels out: the squares then neither overflow nor vanish,
    whatever the gain and even in half precision.

    Args:
        x: Raw samples, (N, C, L): N frames, C channels (I and Q), L samples in time.
        how: `rms`, or `none` to leave the samples as they are.

    Returns:
        Frames of unit mean power, (N, C, L); a frame of zeros stays zero.
    """
    if how == "none":
        return x
    peak = x.abs().amax(dim=(1, 2), keepdim=True)
    scaled = x / torch.where(peak > 0, peak, 1.0)
    power = scaled.square().sum(dim=1, keepdim=True).mean(dim=2, keepdim=True)
    # A frame with a sample of magnitude 1 has at least power 1 / L; only a frame of zeros is below half of that.
    return scaled / power.clamp(min=0.5 / x.shape[2]).sqrt()
