"""What a network answers to frames."""

from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgeprune.network.compute import beside
from edgeprune.normalisation import normalise
from edgeprune.prefetch import ahead
from edgeprune.protocols import Progress
from edgeprune.records import InputSpec

_BATCH = 1024


@torch.no_grad()
def predict(
    model: nn.Module, iq: npt.NDArray[np.float32], shape: InputSpec, progress: Progress, label: str
) -> npt.NDArray[np.float32]:
    """Logits (N, classes) of raw frames (N, channels, length), in float32.

    What is in a file is read ahead; frames go where the network is.
    """
    model.eval()
    parts = []
    reads = (partial(iq.__getitem__, slice(start, start + _BATCH)) for start in range(0, len(iq), _BATCH))
    with progress.track(label, len(iq)) as advance:
        for raw in ahead(reads):
            batch = beside(model, torch.from_numpy(raw))
            parts.append(model(normalise(batch, shape.normalisation)).float().cpu().numpy())
            advance(len(batch), "")
    return np.concatenate(parts)
