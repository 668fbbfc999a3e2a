"""SR-init (Tang et al. 2023, arXiv 2303.07677): the accuracy lost when a unit's weights are re-initialised. Needs
labeled frames.

The weights that dropping a unit would remove are re-initialised, with the statistics of the batch norm beside them;
everything else stays. The score is the accuracy on validation frames before, minus the mean accuracy over `REPEATS`
seeds.
"""

import torch
from torch import Tensor, nn

from edgeprune.criteria._fresh import fresh
from edgeprune.criteria._subject import accuracy, code_of, droppable, logits_of, lost_state, spread
from edgeprune.protocols import Subject

FRAMES = 1024
REPEATS = 3


class Reinit:
    """Scores units by the accuracy lost when they are re-initialised."""

    def scores(self, subject: Subject) -> dict[int, float]:
        """Score every droppable unit on frames of the validation split."""
        model, units = subject.model, droppable(subject)
        frames = spread(subject.validation, FRAMES, subject.seed)
        before = accuracy(logits_of(model, frames), frames)
        renewed = [_state(fresh(model, subject.seed + repeat)) for repeat in range(REPEATS)]
        scores: dict[int, float] = {}
        code = code_of(subject)
        with subject.progress.track("reinit", len(units)) as advance:
            for unit in units:
                names = lost_state(code, unit)
                found = [
                    accuracy(logits_of(_Partly(model, {name: state[name] for name in names}), frames), frames)
                    for state in renewed
                ]
                scores[unit.index] = before - sum(found) / REPEATS
                advance(1, unit.path)
        return scores


class _Partly(nn.Module):
    """A network with some of its parameters and buffers replaced."""

    def __init__(self, model: nn.Module, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.model, self.state = model, state

    def forward(self, frames: Tensor) -> Tensor:
        """Logits of frames."""
        logits: Tensor = torch.func.functional_call(self.model, self.state, (frames,))
        return logits


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in (*model.named_parameters(), *model.named_buffers())}


criterion = Reinit()
