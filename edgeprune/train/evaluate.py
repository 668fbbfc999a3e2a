"""Outputs of a network for frames."""

from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgeprune.files.prefetch import ahead
from edgeprune.network.compute import beside, halved
from edgeprune.network.normalisation import normalise
from edgeprune.protocols import Progress
from edgeprune.records.pruning import InputSpec

_BATCH = 1024


@torch.no_grad()
def predict(
    model: nn.Module, iq: npt.NDArray[np.float32], shape: InputSpec, progress: Progress, label: str
) -> npt.NDArray[np.float32]:
    """Compute logits (N, classes) of raw frames (N, channels, length), in float32.

    Frames in a file are read ahead. They are moved to the network's device, in smaller batches if its memory is short.
    """
    model.eval()
    parts, size = [], _BATCH

    def answered(raw: Tensor) -> Tensor:
        logits: Tensor = model(normalise(beside(model, raw), shape.normalisation)).float()
        return logits

    reads = (partial(iq.__getitem__, slice(start, start + _BATCH)) for start in range(0, len(iq), _BATCH))
    with progress.track(label, len(iq)) as advance:
        for raw in ahead(reads):
            logits, fitting = halved(answered, torch.from_numpy(raw), size)
            if fitting < size == _BATCH:
                progress.note(
                    f"{len(raw)} frames at once do not fit in GPU memory; continuing with {fitting} at a time"
                )
            size = fitting
            parts.append(logits.numpy())
            advance(len(raw), "")
    return np.concatenate(parts)
