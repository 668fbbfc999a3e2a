"""Scaling of raw frames before the network: written once in torch, and traced into every exported graph."""

import math

import torch
from torch import Tensor

from edgeprune.errors import ModelError
from edgeprune.records.names import Normalisation

FORMULAS: dict[Normalisation, str] = {
    "none": "x",
    "rms": "x / sqrt(mean over n of I[n]² + Q[n]²)",
    "rms-rows": "each row x_c / sqrt(mean over n of x_c[n]²)",
    "peak": "x / max over n of sqrt(I[n]² + Q[n]²)",
}
"""Formula of each for a frame x of rows I and Q."""

_SILENCE = 1e-18  # magnitude below which a frame counts as silent


def normalise(x: Tensor, how: Normalisation) -> Tensor:
    """Scale every frame, so that the receiver's gain has no influence.

    `rms` divides a frame by its root mean square over time, y[n] = x[n] / sqrt(mean over n of I[n]² + Q[n]²), in as few
    operations as possible: the latency of a small network on a device grows with the number of its operators.
    `rms-rows` does so for each row alone, and `peak` divides by the largest magnitude.

    Args:
        x: Raw samples, float32 (N, C, L): N frames, C channels (I and Q), L samples in time; magnitudes 1e-18 to 1e17,
            so that the squares neither underflow nor overflow.
        how: One of `FORMULAS`; `none` leaves the samples as they are.

    Returns:
        Scaled frames, (N, C, L); a frame of zeros stays zero.

    Raises:
        ModelError: The network's normalization is unknown.
    """
    if how == "none":
        return x
    if how == "rms":
        amplitude: Tensor = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        scale = amplitude / math.sqrt(x.shape[2])
    elif how == "rms-rows":
        scale = torch.linalg.vector_norm(x, dim=2, keepdim=True) / math.sqrt(x.shape[2])
    elif how == "peak":
        scale = torch.linalg.vector_norm(x, dim=1, keepdim=True).amax(dim=2, keepdim=True)
    else:
        raise ModelError(
            "nobody said how this network's frames were scaled in its training",
            "Give `normalisation`, or bring it in once with its data: edgeprune import",
        )
    return x / scale.clamp(min=_SILENCE)
