"""Training and fine-tuning: one loop for both, resumable at any epoch with the same result.

SGD with Nesterov momentum under a one-cycle schedule (Smith & Topin 2018); distillation mixes the labels with a
teacher's outputs (Hinton et al. 2015: KL divergence at temperature T, times T²). The epoch kept is the best on
validation. Gradients are clipped to norm 1 in networks without batch norm, which otherwise bounds them. All random
numbers of an epoch follow from (seed, epoch), including those of dropout, so a resumed training takes the same steps.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from edgeprune.errors import DataError, DeviceError, ModelError, reason_of
from edgeprune.network.compute import Compute, device_of, host_copy
from edgeprune.network.running import evaluating, seeded
from edgeprune.protocols import Advance, NullProgress, Progress
from edgeprune.records.results import EpochMetrics, TrainingResult
from edgeprune.train import precision
from edgeprune.train.augment import QUARTERS, mix, rotate
from edgeprune.train.feed import Feed
from edgeprune.train.lessons import Lesson, draw, steps_of
from edgeprune.train.parallel import ALONE, Processes, here, send, together
from edgeprune.train.precision import Mixed, Way
from edgeprune.train.shared_norm import shared_norms
from edgeprune.train.state import State, restore, save
from edgeprune.train.step import CapturedStep, EagerStep, Inputs, Learner, recorder_on
from edgeprune.train.teacher import table_of

_SAY_EVERY = 20
_TRIED = 8  # frames to find out how a network can be trained


@dataclass(frozen=True)
class Recipe:
    """Settings of a training.

    Attributes:
        epochs: Passes over the training frames.
        batch_size: Frames a step.
        learning_rate: Peak of the one-cycle schedule.
        weight_decay: Weight decay of SGD.
        rotate: Turn every frame by a random quarter turn.
        temperature: Temperature of the distillation.
        distill_weight: Weight of the teacher in the loss; the labels have the rest.
        mix: Fraction of each batch mixed with a second signal. The mixture has no label: if any frame is mixed, the
            network learns from the teacher alone. Without a teacher no frame is mixed.
        seed: Random seed.
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
    """Train a model in place, on its device; it is left in eval mode with its best weights on validation.

    Args:
        model: The network; takes normalized frames.
        data: Training and validation frames.
        recipe: Settings of the training.
        progress: Updated after every epoch.
        teacher: Network to distil from, on the model's device, or None.
        state_path: File written after each epoch, and resumed from if its key matches; None to keep no state.
        state_key: Identifies what is trained on what; a state with another key is ignored.
        after_epoch: Changes the network in place after the last step of each epoch, before it is validated. The best
            epoch is then the best of the changed networks. None for no change.

    Raises:
        ModelError: The loss became NaN or infinite.
        DataError: There are fewer than two training frames.
        DeviceError: A step does not fit in the memory of the GPU.
    """
    if data.frames < 2:
        raise DataError(f"training takes at least 2 frames, not {data.frames}")
    task = _Task(model, data, recipe, teacher, after_epoch)
    processes = _shared(task, progress)
    with together(processes):
        return _trained(task, processes, progress, state_path, state_key)


@dataclass(frozen=True)
class _Task:
    """Training as it is sent to the other processes."""

    model: nn.Module
    data: Feed
    recipe: Recipe
    teacher: nn.Module | None
    after_epoch: Callable[[nn.Module], None] | None
    on_gpu: bool = False


def _shared(task: _Task, progress: Progress) -> Processes:
    """Send a training to the other processes, if there are any; returns the processes that take part."""
    processes = here()
    if processes.count == 1:
        return processes
    try:
        model, teacher = host_copy(task.model), None if task.teacher is None else host_copy(task.teacher)
        on_gpu = device_of(task.model).type == "cuda"
        refused = send(replace(task, model=model, teacher=teacher, on_gpu=on_gpu), processes)
    except Exception as error:  # a network that cannot be copied
        refused = reason_of(error)
    if refused is None:
        return processes
    progress.note(f"one process trains alone: the network cannot be sent to the others, {refused}")
    return ALONE


def learn_along(task: _Task, processes: Processes) -> None:
    """Take the steps of a training that another process sent."""
    device = torch.device("cuda", torch.cuda.current_device()) if task.on_gpu else torch.device("cpu")
    compute = Compute(str(device))
    with together(processes), compute.lent(task.model, task.teacher):
        _trained(task, processes, NullProgress(), None, "")


def _trained(
    task: _Task, processes: Processes, progress: Progress, state_path: Path | None, state_key: str
) -> TrainingResult:
    """Train alike in every process; the first keeps the state."""
    model, recipe, teacher = task.model, task.recipe, task.teacher
    device = device_of(model)
    feed = task.data.on(device)
    ways = _ways(feed, progress, model, teacher)
    loop = _prepared(model, feed, recipe, teacher, progress, processes, ways)
    parts = loop.parts
    with ExitStack() as stack:
        stack.enter_context(precision.laid_out(ways))
        for path in stack.enter_context(shared_norms(model, processes)):
            progress.note(f"{path} is no batch norm of PyTorch's: its statistics are of each process's own frames")
        if teacher is not None:
            stack.enter_context(evaluating(teacher))
            loop.ask_teacher(teacher, progress)
        state = _reached(state_path, state_key, parts, processes)
        if state.device not in ("", device.type):
            progress.note(
                f"the training began on {state.device} and continues on {device.type}: expect small differences "
                "from a run on one of them"
            )
        state.device = device.type
        advance = stack.enter_context(progress.track("training", recipe.epochs))
        advance(state.epoch, f"continued after epoch {state.epoch}" if state.epoch else "")
        for epoch in range(state.epoch + 1, recipe.epochs + 1):
            metrics = loop.epoch(epoch, task.after_epoch, advance)
            state.add(metrics, model)
            if state_path is not None:
                save(state_path, state_key, state, parts)
            advance(1, f"loss {metrics.train_loss:.4f}, validation {metrics.validation_top1:.2%}")
    if processes.rank == 0:
        model.load_state_dict(state.best_weights)
    model.eval()
    how = ways[model].mixed
    return TrainingResult(
        best_epoch=state.best_epoch,
        best_validation_top1=state.best_top1,
        epochs=tuple(state.curve),
        precision="fp32" if how == "no" else how,
        distilled=teacher is not None,
    )


def _reached(path: Path | None, key: str, parts: dict[str, Any], processes: Processes) -> State:
    """Restore the parts and the state of a training with this key in every process, or start from the beginning."""
    before = restore(path, key, parts) if path is not None and path.exists() else None
    state = before or State(0, [], {}, 0, -1.0)
    if processes.count > 1:
        epoch, kept = processes.told((state.epoch, {name: part.state_dict() for name, part in parts.items()}))
        if processes.rank > 0:
            for name, part in parts.items():
                part.load_state_dict(kept[name])
            state.epoch = epoch
    return state


def _ways(feed: Feed, progress: Progress, model: nn.Module, teacher: nn.Module | None) -> dict[nn.Module, Way]:
    """Choose how each network computes; report what prevents the fastest way."""
    frames = next(iter(feed.validation()))[0][:_TRIED]
    frames = frames if len(frames) > 1 else frames.repeat(2, 1, 1)
    ways = {}
    for name, network in (("the teacher", teacher), ("the network", model)):
        if network is not None:
            ways[network], problem = precision.way_of(network, frames, learns=network is model)
            if problem:
                progress.note(f"{name} is {problem}")
    return ways


def _prepared(
    model: nn.Module,
    feed: Feed,
    recipe: Recipe,
    teacher: nn.Module | None,
    progress: Progress,
    processes: Processes,
    ways: dict[nn.Module, Way],
) -> "_Loop":
    """Prepare the training loop: the optimizer with its schedule, and how a step is launched."""
    device = device_of(model)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=0.9,
        nesterov=True,
        weight_decay=recipe.weight_decay,
        fused=device.type == "cuda" or None,  # skips steps whose gradients overflowed without asking the GPU
    )
    steps = steps_of(feed.frames, recipe.batch_size, processes.count)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.learning_rate, total_steps=steps * recipe.epochs + 1
    )
    learner = Learner(
        model,
        optimizer,
        schedule,
        torch.amp.GradScaler(device.type, enabled=ways[model].mixed == "fp16"),
        teacher,
        weight=1.0 if recipe.mix else recipe.distill_weight,
        temperature=recipe.temperature,
        clip=not any(isinstance(module, _BatchNorm) for module in model.modules()),
        mixed=ways[model].mixed,
        teacher_mixed=None if teacher is None else ways[teacher].mixed,
    )
    recorder = recorder_on(device) if processes.count == 1 else None
    if recorder is None:
        return _Loop(learner, EagerStep(learner, processes), feed, recipe, processes)
    return _Loop(learner, CapturedStep(learner, recorder, progress.note), feed, recipe, processes)


@dataclass
class _Loop:
    """Steps of an epoch; none of them waits for the device before the epoch's end."""

    learner: Learner
    step: EagerStep | CapturedStep
    feed: Feed
    recipe: Recipe
    processes: Processes
    teacher_logits: Tensor | None = None
    """Outputs of a teacher, (rotations, N, classes), where they are computed once."""

    @property
    def parts(self) -> dict[str, Any]:
        """Parts that must survive an interruption."""
        learner = self.learner
        parts = {"model": learner.model, "optimizer": learner.optimizer, "schedule": learner.schedule}
        return {**parts, "scaler": learner.scaler} if learner.scaler.is_enabled() else parts

    def ask_teacher(self, teacher: nn.Module, progress: Progress) -> None:
        """Compute teacher outputs once for frames on the device, in every rotation; for all others, during training."""
        if self.feed.resident is not None and not self.recipe.mix:
            self.teacher_logits = table_of(
                teacher, self.feed.resident, QUARTERS if self.recipe.rotate else 1, progress, self.learner.teacher_mixed
            )

    def epoch(self, epoch: int, after_epoch: Callable[[nn.Module], None] | None, advance: Advance) -> EpochMetrics:
        """Train for one epoch, then validate.

        Raises:
            ModelError: The loss became NaN or infinite.
            DeviceError: A step does not fit in the memory of the GPU.
        """
        began, model, size = time.perf_counter(), self.learner.model, self.recipe.batch_size
        with seeded(_seed_of(self.recipe.seed, epoch, self.processes.rank), device_of(model)):
            try:
                trained = self._train(epoch, advance)
            except torch.OutOfMemoryError as error:
                raise DeviceError(
                    f"a step of {size} frames does not fit in the memory of the GPU", f"Try `batch_size={size // 2}`"
                ) from error
            if after_epoch is not None:
                after_epoch(model)
            validation_loss, top1 = _validate(model, self.feed, self.processes, self.learner.mixed)
        self.processes.add(trained)
        loss = float(trained) / steps_of(self.feed.frames, size, self.processes.count)
        if not np.isfinite([loss, validation_loss]).all():
            raise ModelError(f"training diverged in epoch {epoch}: the loss is {loss}", "Lower `learning_rate`")
        return EpochMetrics(epoch, loss, validation_loss, top1, time.perf_counter() - began)

    def _train(self, epoch: int, advance: Advance) -> Tensor:
        """Take the steps of an epoch; returns the sum of their losses."""
        self.learner.model.train()
        self.step.begin_epoch()
        recipe, device = self.recipe, device_of(self.learner.model)
        lessons = draw(
            self.feed,
            recipe.batch_size,
            (recipe.seed << 20) + epoch,
            rotate=recipe.rotate,
            mixed=0.0 if self.learner.teacher is None else recipe.mix,
            device=device,
            processes=self.processes,
        )
        total = torch.zeros((), device=device)
        batches = self.feed.batches([lesson.places for lesson in lessons.steps])
        for number, (lesson, (places, iq, labels)) in enumerate(zip(lessons.steps, batches, strict=True)):
            turns = lessons.turns[places]
            total += self.step(self._inputs(lesson, places, turns, iq, labels), lesson.share)
            if number % _SAY_EVERY == 0:
                advance(0, f"epoch {epoch}, step {number + 1} of {len(lessons.steps)}")
        return total

    def _inputs(self, lesson: Lesson, places: Tensor, turns: Tensor, iq: Tensor, labels: Tensor) -> Inputs:
        frames = rotate(iq, turns) if self.recipe.rotate else iq
        if lesson.other is not None and lesson.level is not None:
            frames = mix(frames[: lesson.own], frames[lesson.other], lesson.level)
        labels = labels[: lesson.own]
        return (frames, labels) if self.teacher_logits is None else (frames, labels, self.teacher_logits[turns, places])


def _seed_of(seed: int, epoch: int, rank: int) -> int:
    """Seed of what a network draws in an epoch, 32 bits; distinct from the seed of the order of its frames."""
    return int(np.random.SeedSequence((seed, epoch, rank)).generate_state(1)[0])


@torch.no_grad()
def _validate(model: nn.Module, feed: Feed, processes: Processes, mixed: Mixed | None) -> tuple[float, float]:
    """Mean loss and top-1 on the validation frames; waits for the device once."""
    model.eval()
    device = device_of(model)
    sums = torch.zeros(3, dtype=torch.float64, device=device)  # of losses, correctly classified frames, frames
    for iq, expected in feed.validation(processes.rank, processes.count):
        with precision.autocast(device, mixed):
            logits = model(iq).float()
        right = (logits.argmax(1) == expected).sum()
        loss = functional.cross_entropy(logits, expected, reduction="sum")
        sums += torch.stack((loss.double(), right.double(), torch.full_like(loss, len(expected)).double()))
    processes.add(sums)
    loss_sum, right_sum, frames = sums.tolist()
    return loss_sum / frames, right_sum / frames
