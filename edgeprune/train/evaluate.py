"""What a network answers to frames."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgeprune.normalisation import normalise
from edgeprune.protocols import Progress
from edgeprune.records import InputSpec

_BATCH = 1024


@torch.no_grad()
def predict(
    model: nn.Module, iq: npt.NDArray[np.float32], shape: InputSpec, progress: Progress, label: str
) -> npt.NDArray[np.float32]:
    """Logits (N, classes) of raw frames (N, channels, length), in float32."""
    model.eval()
    parts = []
    with progress.track(label, len(iq)) as advance:
        for start in range(0, len(iq), _BATCH):
            batch = torch.from_numpy(iq[start : start + _BATCH])
            parts.append(model(normalise(batch, shape.normalisation)).float().cpu().numpy())
            advance(len(batch), "")
    return np.concatenate(parts)
