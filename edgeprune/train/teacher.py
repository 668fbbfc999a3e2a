"""Outputs of a teacher, and the distillation loss."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeprune.protocols import Progress
from edgeprune.train import precision
from edgeprune.train.augment import rotate
from edgeprune.train.feed import INFERENCE_BATCH
from edgeprune.train.precision import Mixed


@torch.no_grad()
def teacher_outputs(teacher: nn.Module, frames: Tensor, mixed: Mixed | None = None) -> Tensor:
    """Compute a teacher's logits (N, classes) float32 for frames (N, C, L), in a mixed precision."""
    with precision.autocast(frames.device, mixed):
        outputs: Tensor = teacher(frames).float()
    return outputs


def table_of(teacher: nn.Module, iq: Tensor, turns: int, progress: Progress, mixed: Mixed | None = None) -> Tensor:
    """Compute the teacher's logits for every rotation of every frame, (rotations, N, classes).

    Args:
        teacher: Network in evaluation mode.
        iq: Frames (N, C, L).
        turns: Number of rotations, 1 or 4.
        progress: Updated after every batch.
        mixed: Precision of the forward pass; None for the fastest on the frames' device.
    """
    rows = []
    with progress.track("computing teacher outputs", turns * len(iq)) as advance:
        for turn in range(turns):
            parts = []
            for batch in torch.split(iq, INFERENCE_BATCH):
                quarters = torch.full((len(batch),), turn, dtype=torch.int64, device=iq.device)
                parts.append(teacher_outputs(teacher, rotate(batch, quarters), mixed))
                advance(len(batch), "")
            rows.append(torch.cat(parts))
    return torch.stack(rows)


def distillation(logits: Tensor, outputs: Tensor, temperature: float) -> Tensor:
    """KL divergence from the teacher's softened outputs, (N, classes) each, times T² (Hinton et al. 2015)."""
    return temperature**2 * functional.kl_div(
        functional.log_softmax(logits / temperature, dim=1),
        functional.log_softmax(outputs / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
