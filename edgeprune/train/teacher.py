"""What a teacher answers, and what is lost by answering otherwise."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeprune.protocols import Progress
from edgeprune.train import precision
from edgeprune.train.augment import rotate
from edgeprune.train.feed import INFERENCE_BATCH
from edgeprune.train.precision import Mixed


@torch.no_grad()
def answers_to(teacher: nn.Module, frames: Tensor, mixed: Mixed | None = None) -> Tensor:
    """A teacher's logits (N, classes) float32 of frames (N, C, L), in a mixed precision."""
    with precision.autocast(frames.device, mixed):
        answers: Tensor = teacher(frames).float()
    return answers


def table_of(teacher: nn.Module, iq: Tensor, turns: int, progress: Progress, mixed: Mixed | None = None) -> Tensor:
    """The teacher's logits for every rotation of every frame, (rotations, N, classes).

    Args:
        teacher: In evaluation mode.
        iq: Frames (N, C, L).
        turns: Rotations, 1 or 4.
        progress: Told of every batch.
        mixed: In what it computes; None for what is fast where the frames are.
    """
    rows = []
    with progress.track("asking the unpruned model", turns * len(iq)) as advance:
        for turn in range(turns):
            parts = []
            for batch in torch.split(iq, INFERENCE_BATCH):
                quarters = torch.full((len(batch),), turn, dtype=torch.int64, device=iq.device)
                parts.append(answers_to(teacher, rotate(batch, quarters), mixed))
                advance(len(batch), "")
            rows.append(torch.cat(parts))
    return torch.stack(rows)


def distillation(logits: Tensor, answers: Tensor, temperature: float) -> Tensor:
    """KL divergence from the teacher's softened answers, (N, classes) each, times T² (Hinton et al. 2015)."""
    return temperature**2 * functional.kl_div(
        functional.log_softmax(logits / temperature, dim=1),
        functional.log_softmax(answers / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
