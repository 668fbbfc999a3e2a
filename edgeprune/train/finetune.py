"""Training and fine-tuning: one loop for both, resumable at any epoch with the same result.

SGD with Nesterov momentum under a one-cycle schedule (Smith & Topin 2018); distillation mixes the labels with a
teacher's answers (Hinton et al. 2015: KL divergence at temperature T, times T²). The epoch kept is the best on
validation. Gradients are clipped to norm 1 in networks without batch norm, which bounds them where there is one. Every
random number of an epoch comes from a generator seeded with (seed, epoch), so a resumed training takes the same steps.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from edgeprune.checkpoint import write_tensors
from edgeprune.errors import DataError, ModelError
from edgeprune.protocols import Advance, Progress
from edgeprune.records import EpochMetrics, TrainingResult
from edgeprune.train import precision
from edgeprune.train.augment import QUARTERS, rotate

_SAY_EVERY = 20
_INFERENCE_BATCH = 1024
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
        seed: Of the order of frames and the rotations.
    """

    epochs: int
    batch_size: int = 256
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    rotate: bool = True
    temperature: float = 2.0
    distill_weight: float = 0.9
    seed: int = 0


@dataclass(frozen=True)
class TrainingData:
    """Normalised frames (N, C, L) float32 and their labels (N,) int64."""

    train_iq: Tensor
    train_labels: Tensor
    validation_iq: Tensor
    validation_labels: Tensor


@dataclass
class _State:
    """What must survive an interruption."""

    epoch: int
    curve: list[EpochMetrics]
    best_weights: dict[str, Tensor]
    best_epoch: int
    best_top1: float

    def add(self, metrics: EpochMetrics, model: nn.Module) -> None:
        """Note an epoch, and keep its weights if it is the best so far."""
        self.curve.append(metrics)
        self.epoch = metrics.epoch
        if metrics.validation_top1 > self.best_top1:
            self.best_weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
            self.best_epoch, self.best_top1 = metrics.epoch, metrics.validation_top1


def train(
    model: nn.Module,
    data: TrainingData,
    recipe: Recipe,
    progress: Progress,
    *,
    teacher: nn.Module | None = None,
    state_path: Path | None = None,
    state_key: str = "",
    after_epoch: Callable[[nn.Module], None] | None = None,
) -> TrainingResult:
    """Train a model in place and leave it with its best weights on validation, in eval mode on the CPU.

    Args:
        model: The network; takes normalised frames.
        data: What to learn and what to choose by.
        recipe: How.
        progress: Told of every epoch.
        teacher: Distil from it, or None.
        state_path: Written after each epoch and continued from if its key matches; None to keep nothing.
        state_key: Names what is trained on what; a state with another key is ignored.
        after_epoch: Changes the network in place after the last step of each epoch and before it is validated, so that
            the best epoch is the best of what it leaves; None for nothing.

    Raises:
        ModelError: The loss became NaN or infinite.
        DataError: There are not two frames to learn from.
    """
    if len(data.train_labels) < 2:
        raise DataError(f"training takes at least 2 frames, not {len(data.train_labels)}")
    accelerator = Accelerator(mixed_precision=precision.mixed(), cpu=not torch.cuda.is_available())
    device = accelerator.device
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=0.9,
        nesterov=True,
        weight_decay=recipe.weight_decay,
    )
    clip = not any(isinstance(module, _BatchNorm) for module in model.modules())
    steps = _steps(len(data.train_labels), recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.learning_rate, total_steps=steps * recipe.epochs + 1
    )
    wrapped, optimizer, schedule = accelerator.prepare(model, optimizer, schedule)
    iq, labels = data.train_iq.to(device), data.train_labels.to(device)
    answers = None if teacher is None else _teacher_answers(teacher.to(device), iq, recipe, progress)
    state = _State(0, [], {}, 0, -1.0)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    if state_path is not None and state_path.exists():
        state = _restore(state_path, state_key, parts) or state
    with progress.track("training", recipe.epochs) as advance:
        advance(state.epoch, f"continued after epoch {state.epoch}" if state.epoch else "")
        for epoch in range(state.epoch + 1, recipe.epochs + 1):
            began = time.perf_counter()
            loop = _Loop(accelerator, wrapped, optimizer, schedule, advance, clip)
            loss = loop.epoch(iq, labels, answers, recipe, epoch)
            if after_epoch is not None:
                after_epoch(model)
            validation_loss, top1 = _validate(model, data, device)
            if not all(map(torch.isfinite, map(torch.tensor, (loss, validation_loss)))):
                raise ModelError(f"training diverged in epoch {epoch}: the loss is {loss}", "Lower --learning-rate")
            metrics = EpochMetrics(epoch, loss, validation_loss, top1, time.perf_counter() - began)
            state.add(metrics, model)
            if state_path is not None:
                _save(state_path, state_key, state, parts)
            advance(1, f"loss {loss:.4f}, validation {top1:.2%}")
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
    model.to("cpu").load_state_dict(state.best_weights)
    model.eval()
    return TrainingResult(
        best_epoch=state.best_epoch,
        best_validation_top1=state.best_top1,
        epochs=tuple(state.curve),
        precision=accelerator.mixed_precision if accelerator.mixed_precision != "no" else "fp32",
        distilled=teacher is not None,
    )


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

    def epoch(self, iq: Tensor, labels: Tensor, answers: Tensor | None, recipe: Recipe, epoch: int) -> float:
        """One pass over the training frames; returns the mean loss."""
        self.model.train()
        generator = torch.Generator().manual_seed((recipe.seed << 20) + epoch)
        order = torch.randperm(len(labels), generator=generator).to(labels.device)
        turns = torch.randint(0, QUARTERS if recipe.rotate else 1, (len(labels),), generator=generator)
        turns = turns.to(labels.device)
        total = torch.zeros((), device=labels.device)
        steps = _steps(len(labels), recipe.batch_size)
        for step in range(steps):
            chosen = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            turn = turns[chosen]
            frames = rotate(iq[chosen], turn) if recipe.rotate else iq[chosen]
            with self.accelerator.autocast():
                logits = self.model(frames)
            loss = functional.cross_entropy(logits.float(), labels[chosen])
            if answers is not None:
                taught = _distillation(logits.float(), answers[turn, chosen], recipe.temperature)
                loss = (1 - recipe.distill_weight) * loss + recipe.distill_weight * taught
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
    was_training = teacher.training
    teacher.eval()
    rows = []
    turns = QUARTERS if recipe.rotate else 1
    with progress.track("asking the unpruned model", turns * len(iq)) as advance, precision.autocast(iq.device):
        for turn in range(turns):
            parts = []
            for batch in torch.split(iq, _INFERENCE_BATCH):
                quarters = torch.full((len(batch),), turn, dtype=torch.int64, device=iq.device)
                parts.append(teacher(rotate(batch, quarters)).float())
                advance(len(batch), "")
            rows.append(torch.cat(parts))
    teacher.train(was_training)
    return torch.stack(rows)


@torch.no_grad()
def _validate(model: nn.Module, data: TrainingData, device: torch.device) -> tuple[float, float]:
    """Mean loss and top-1 on the validation frames."""
    model.eval()
    loss, right = 0.0, 0
    pairs = zip(
        *(torch.split(each, _INFERENCE_BATCH) for each in (data.validation_iq, data.validation_labels)), strict=True
    )
    for iq, labels in pairs:
        logits = model(iq.to(device)).float()
        expected = labels.to(device)
        loss += float(functional.cross_entropy(logits, expected, reduction="sum"))
        right += int((logits.argmax(1) == expected).sum())
    return loss / len(data.validation_labels), right / len(data.validation_labels)


def _save(path: Path, key: str, state: _State, parts: dict[str, Any]) -> None:
    write_tensors(
        path,
        {
            "key": key,
            "epoch": state.epoch,
            "curve": [vars(metrics) for metrics in state.curve],
            "best": (state.best_weights, state.best_epoch, state.best_top1),
            "parts": {name: part.state_dict() for name, part in parts.items()},
        },
    )


def _restore(path: Path, key: str, parts: dict[str, Any]) -> _State | None:
    """The state in a file, loaded into the parts; or None, and the parts as they were."""
    before = {name: copy.deepcopy(part.state_dict()) for name, part in parts.items()}
    try:
        saved = cast(dict[str, Any], torch.load(path, weights_only=True))
        if saved["key"] != key:
            return None
        for name, part in parts.items():
            part.load_state_dict(saved["parts"][name])
        weights, best_epoch, best_top1 = saved["best"]
        curve = [EpochMetrics(**metrics) for metrics in saved["curve"]]
        return _State(saved["epoch"], curve, weights, best_epoch, best_top1)
    except Exception:  # a damaged state only costs the epochs it held
        for name, part in parts.items():
            part.load_state_dict(before[name])
        return None
