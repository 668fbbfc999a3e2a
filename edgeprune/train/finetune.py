"""Training and fine-tuning: one loop for both, resumable at any epoch with the same result.

SGD with Nesterov momentum under a one-cycle schedule (Smith & Topin 2018); distillation mixes the labels with a
teacher's answers (Hinton et al. 2015: KL divergence at temperature T, times T²). The epoch kept is the best on
validation. Gradients are clipped to norm 1 in networks without batch norm, which bounds them where there is one. Every
random number of an epoch follows from (seed, epoch), those of dropout too, so a resumed training takes the same steps.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from edgeprune.errors import DataError, ModelError
from edgeprune.modes import evaluating, seeded
from edgeprune.network.compute import device_of
from edgeprune.protocols import Advance, Progress
from edgeprune.records import EpochMetrics, TrainingResult
from edgeprune.train import precision
from edgeprune.train.augment import QUARTERS, mix, rotate
from edgeprune.train.feed import INFERENCE_BATCH, Feed
from edgeprune.train.state import State, restore, save

_SAY_EVERY = 20
_LARGEST_GRADIENT = 1.0


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: Passes over the training frames.
        batch_size: Frames a step.
        learning_rate: Peak of the one-cycle schedule.
        weight_decay: Of SGD.
        rotate: Turn every frame by a random quarter.
        temperature: Of the distillation.
        distill_weight: Share of the teacher in the loss; the labels have the rest.
        mix: Share of the frames that get another of the batch on top. Such have no label: where any do, the teacher
            alone is learnt from. Without a teacher none do.
        seed: Of all that is random.
    """

    epochs: int
    batch_size: int = 256
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    rotate: bool = True
    temperature: float = 2.0
    distill_weight: float = 0.9
    mix: float = 0.0
    seed: int = 0


def train(
    model: nn.Module,
    data: Feed,
    recipe: Recipe,
    progress: Progress,
    *,
    teacher: nn.Module | None = None,
    state_path: Path | None = None,
    state_key: str = "",
    after_epoch: Callable[[nn.Module], None] | None = None,
) -> TrainingResult:
    """Train a model in place, where it is, and leave it with its best weights on validation, in eval mode.

    Args:
        model: The network; takes normalised frames.
        data: What to learn and what to choose by.
        recipe: How.
        progress: Told of every epoch.
        teacher: Distil from it, or None; it is where the model is.
        state_path: Written after each epoch and continued from if its key matches; None to keep nothing.
        state_key: Names what is trained on what; a state with another key is ignored.
        after_epoch: Changes the network in place after the last step of each epoch and before it is validated, so that
            the best epoch is the best of what it leaves; None for nothing.

    Raises:
        ModelError: The loss became NaN or infinite.
        DataError: There are not two frames to learn from.
    """
    if data.frames < 2:
        raise DataError(f"training takes at least 2 frames, not {data.frames}")
    device = device_of(model)
    accelerator = Accelerator(mixed_precision=precision.mixed(device), cpu=device.type == "cpu")
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=0.9,
        nesterov=True,
        weight_decay=recipe.weight_decay,
    )
    clip = not any(isinstance(module, _BatchNorm) for module in model.modules())
    steps = _steps(data.frames, recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.learning_rate, total_steps=steps * recipe.epochs + 1
    )
    wrapped, optimizer, schedule = accelerator.prepare(model, optimizer, schedule)
    feed = data.on(device)
    models = (model,) if teacher is None else (model, teacher)
    with precision.fast_layout(*models), nullcontext() if teacher is None else evaluating(teacher):
        taught = None if teacher is None else _tutor(teacher, feed, recipe, progress)
        parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
        state = _reached(state_path, state_key, parts)
        with progress.track("training", recipe.epochs) as advance:
            advance(state.epoch, f"continued after epoch {state.epoch}" if state.epoch else "")
            for epoch in range(state.epoch + 1, recipe.epochs + 1):
                began = time.perf_counter()
                loop = _Loop(accelerator, wrapped, optimizer, schedule, advance, clip)
                with seeded(_seed_of(recipe.seed, epoch), device):
                    loss = loop.epoch(feed, taught, recipe, epoch)
                    if after_epoch is not None:
                        after_epoch(model)
                    validation_loss, top1 = _validate(model, feed)
                if not all(map(torch.isfinite, map(torch.tensor, (loss, validation_loss)))):
                    raise ModelError(f"training diverged in epoch {epoch}: the loss is {loss}", "Lower --learning-rate")
                metrics = EpochMetrics(epoch, loss, validation_loss, top1, time.perf_counter() - began)
                state.add(metrics, model)
                if state_path is not None:
                    save(state_path, state_key, state, parts)
                advance(1, f"loss {loss:.4f}, validation {top1:.2%}")
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
    model.load_state_dict(state.best_weights)
    model.eval()
    return TrainingResult(
        best_epoch=state.best_epoch,
        best_validation_top1=state.best_top1,
        epochs=tuple(state.curve),
        precision=accelerator.mixed_precision if accelerator.mixed_precision != "no" else "fp32",
        distilled=teacher is not None,
    )


def _reached(path: Path | None, key: str, parts: dict[str, Any]) -> State:
    """Where a training of this key stopped before, its parts restored; otherwise the beginning."""
    before = restore(path, key, parts) if path is not None and path.exists() else None
    return before or State(0, [], {}, 0, -1.0)


def _seed_of(seed: int, epoch: int) -> int:
    """The seed of what a network draws in an epoch, 32 bits; not that of the order of its frames."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])


def _steps(frames: int, batch_size: int) -> int:
    """Steps an epoch: a last batch of one frame is left out, since batch norm needs two."""
    return frames // batch_size + (frames % batch_size > 1)


@dataclass(frozen=True)
class _Loop:
    """What takes the steps of an epoch."""

    accelerator: Accelerator
    model: nn.Module
    optimizer: Any
    schedule: Any
    advance: Advance
    clip: bool

    def epoch(self, data: Feed, tutor: "_Tutor | None", recipe: Recipe, epoch: int) -> float:
        """One pass over the training frames; returns the mean loss."""
        self.model.train()
        generator = torch.Generator().manual_seed((recipe.seed << 20) + epoch)
        order = data.order(recipe.batch_size, generator)
        turns = torch.randint(0, QUARTERS if recipe.rotate else 1, (data.frames,), generator=generator)
        turns = turns.to(self.accelerator.device)
        total = torch.zeros((), device=self.accelerator.device)
        steps = _steps(data.frames, recipe.batch_size)
        for step, (chosen, iq, labels) in enumerate(islice(data.batches(order, recipe.batch_size), steps)):
            turn = turns[chosen]
            frames = rotate(iq, turn) if recipe.rotate else iq
            if tutor is not None and recipe.mix:
                frames = mix(frames, recipe.mix, generator)
            with self.accelerator.autocast():
                logits = self.model(frames)
            loss = functional.cross_entropy(logits.float(), labels)
            if tutor is not None:
                taught = _distillation(logits.float(), tutor(chosen, turn, frames), recipe.temperature)
                weight = 1.0 if recipe.mix else recipe.distill_weight
                loss = (1 - weight) * loss + weight * taught
            self.accelerator.backward(loss)
            if self.clip:
                self.accelerator.clip_grad_norm_(self.model.parameters(), _LARGEST_GRADIENT)
            self.optimizer.step()
            self.schedule.step()
            self.optimizer.zero_grad()
            total += loss.detach()
            if step % _SAY_EVERY == 0:
                self.advance(0, f"epoch {epoch}, step {step + 1} of {steps}")
        return float(total) / steps


_Tutor = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A teacher's logits (n, classes), told of the frames' places (n,) and quarter turns (n,), and given them as learnt."""


def _tutor(teacher: nn.Module, data: Feed, recipe: Recipe, progress: Progress) -> _Tutor:
    """Frames in memory are shown to the teacher once, in every turn; others and mixed ones whenever learnt from."""
    resident = data.resident
    if resident is not None and not recipe.mix:
        table = _teacher_answers(teacher, resident, recipe, progress)
        return lambda places, turns, _frames: table[turns, places]
    return lambda _places, _turns, frames: _answers(teacher, frames)


@torch.no_grad()
def _answers(teacher: nn.Module, frames: Tensor) -> Tensor:
    with precision.autocast(frames.device):
        answers: Tensor = teacher(frames).float()
    return answers


def _distillation(logits: Tensor, answers: Tensor, temperature: float) -> Tensor:
    """KL divergence from the teacher's softened answers, (N, classes) each, times T² (Hinton et al. 2015)."""
    return temperature**2 * functional.kl_div(
        functional.log_softmax(logits / temperature, dim=1),
        functional.log_softmax(answers / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )


@torch.no_grad()
def _teacher_answers(teacher: nn.Module, iq: Tensor, recipe: Recipe, progress: Progress) -> Tensor:
    """The teacher's logits for every rotation of every frame, (rotations, N, classes)."""
    rows = []
    turns = QUARTERS if recipe.rotate else 1
    with progress.track("asking the unpruned model", turns * len(iq)) as advance, precision.autocast(iq.device):
        for turn in range(turns):
            parts = []
            for batch in torch.split(iq, INFERENCE_BATCH):
                quarters = torch.full((len(batch),), turn, dtype=torch.int64, device=iq.device)
                parts.append(teacher(rotate(batch, quarters)).float())
                advance(len(batch), "")
            rows.append(torch.cat(parts))
    return torch.stack(rows)


@torch.no_grad()
def _validate(model: nn.Module, data: Feed) -> tuple[float, float]:
    """Mean loss and top-1 on the validation frames."""
    model.eval()
    loss, right, frames = 0.0, 0, 0
    for iq, expected in data.validation():
        logits = model(iq).float()
        loss += float(functional.cross_entropy(logits, expected, reduction="sum"))
        right += int((logits.argmax(1) == expected).sum())
        frames += len(expected)
    return loss / frames, right / frames
