"""One step of training: launched a kernel at a time, or on a GPU as one CUDA graph.

The networks here are small: a step has some 1,500 kernels, and launching them takes longer than computing them. A graph
launches them all at once. Forward pass, loss and backward pass are captured. The optimizer and its schedule are few
kernels and stay outside, so that learning rate and momentum can change without another capture.

`torch.compile(mode="reduce-overhead")` would also produce a graph, but it compiles for minutes, needs a C compiler on
the machine, and its fused kernels round differently from the network in evaluation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeprune.errors import ModelError, reason_of
from edgeprune.network.running import drawn_by_python, seeded
from edgeprune.train import precision
from edgeprune.train.parallel import ALONE, Processes
from edgeprune.train.precision import Mixed
from edgeprune.train.teacher import distillation, teacher_outputs

_LARGEST_GRADIENT = 1.0
_WARM_UPS = 3

Inputs = tuple[Tensor, ...]
"""Frames (n, C, L), their labels (n,), and a teacher's outputs (n, classes) where they are already known."""

Recorder = Callable[[Callable[[], Tensor]], tuple[Tensor, Callable[[], None]]]
"""Records work that computes gradients. Returns its result, and a function that repeats it into the same tensors."""


@dataclass(frozen=True)
class Learner:
    """State of a training step.

    Attributes:
        model: The network, in training mode.
        optimizer: Optimizer of its parameters.
        schedule: Schedule of the optimizer's learning rate.
        scaler: Scales gradients where they are computed in fp16; otherwise does nothing.
        teacher: Teacher whose outputs are computed where they are not given; None to learn from labels alone.
        weight: Weight of the teacher in the loss, 0 to 1; the labels have the rest.
        temperature: Temperature of the distillation.
        clip: Whether to bound the norm of the gradients.
        mixed: Precision of the forward pass; None for the fastest on the device.
        teacher_mixed: Precision of the teacher's forward pass.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    scaler: torch.amp.GradScaler
    teacher: nn.Module | None
    weight: float
    temperature: float
    clip: bool
    mixed: Mixed | None = None
    teacher_mixed: Mixed | None = None

    def backward(self, inputs: Inputs, share: float = 1.0) -> Tensor:
        """Compute the loss, detached, and the gradients; both scaled by the frames' share of the step."""
        frames, labels = inputs[:2]
        with precision.autocast(frames.device, self.mixed):
            logits = self.model(frames).float()
        loss = functional.cross_entropy(logits, labels)
        if self.teacher is not None:
            teacher_logits = inputs[2] if len(inputs) > 2 else teacher_outputs(self.teacher, frames, self.teacher_mixed)
            taught = distillation(logits, teacher_logits, self.temperature)
            loss = (1 - self.weight) * loss + self.weight * taught
        if share != 1:
            loss = share * loss
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def update(self) -> None:
        """Update the weights by the gradients; waits for no device."""
        if self.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), _LARGEST_GRADIENT)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()


class EagerStep:
    """Launches each kernel of a step separately.

    Args:
        learner: State of the training step.
        processes: Processes that each compute the gradients of their share of a step.
    """

    def __init__(self, learner: Learner, processes: Processes = ALONE) -> None:
        self._learner, self._processes = learner, processes

    def begin_epoch(self) -> None:
        """Do nothing: nothing is kept from one epoch to the next."""

    def __call__(self, inputs: Inputs, share: float = 1.0) -> Tensor:
        """Take a step; returns its loss, ()."""
        self._learner.optimizer.zero_grad()
        loss = self._learner.backward(inputs, share)
        if self._processes.count > 1:
            self._processes.add_gradients(self._learner.model.parameters())
        self._learner.update()
        return loss


class CapturedStep:
    """Replays a recorded step on other frames; a batch of another size is launched as `EagerStep` does.

    Args:
        learner: State of the training step.
        recorder: Records the step.
        note: Called with one sentence if the step cannot be recorded; every kernel is then launched separately.
    """

    def __init__(self, learner: Learner, recorder: Recorder, note: Callable[[str], None]) -> None:
        self._learner, self._recorder, self._note = learner, recorder, note
        self._eager = EagerStep(learner)
        self._recorded: _Recorded | None = None
        self._failed = False

    def begin_epoch(self) -> None:
        """Record the step again if tensors of the network have moved in memory."""
        if self._recorded is not None and self._recorded.addresses != _addresses(self._learner.model):
            self._recorded = None

    def __call__(self, inputs: Inputs, share: float = 1.0) -> Tensor:
        """Take a step; returns its loss, (), which the next step overwrites."""
        if self._recorded is None and not self._failed:
            self._record(inputs)
        if self._recorded is None or share != 1 or not self._recorded.takes(inputs):
            return self._eager(inputs, share)
        loss = self._recorded.replay(inputs)
        self._learner.update()
        return loss

    def _record(self, inputs: Inputs) -> None:
        """Record a step; weights, statistics and generators are left unchanged."""
        buffers = [(buffer, buffer.clone()) for buffer in self._learner.model.buffers()]
        try:
            with seeded(0, inputs[0].device):
                self._recorded = _Recorded(self._learner, self._recorder, inputs)
        except Exception as error:  # whatever a network does that cannot be captured
            self._failed = True
            self._learner.optimizer.zero_grad()
            self._note(f"every kernel of a step is launched by itself: it cannot be captured, {reason_of(error)}")
        finally:
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)


class _Recorded:
    """Step in fixed memory: its inputs, its gradients, its loss."""

    def __init__(self, learner: Learner, recorder: Recorder, inputs: Inputs) -> None:
        self._inputs = [given.clone() for given in inputs]
        self._parameters = list(learner.model.parameters())
        static = tuple(self._inputs)

        def work() -> Tensor:
            learner.optimizer.zero_grad()  # so that gradients are made anew, in the memory of the graph
            return learner.backward(static)

        before = drawn_by_python()
        self._loss, self._again = recorder(work)
        if drawn_by_python() != before:
            raise ModelError("the network draws from Python's or NumPy's generator")
        self._gradients = [parameter.grad for parameter in self._parameters]
        self.addresses = _addresses(learner.model)

    def takes(self, inputs: Inputs) -> bool:
        """Whether inputs have the recorded shapes."""
        return [given.shape for given in inputs] == [static.shape for static in self._inputs]

    def replay(self, inputs: Inputs) -> Tensor:
        """Compute loss and gradients of other frames."""
        torch._foreach_copy_(self._inputs, list(inputs))
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient  # a batch of another size had its own
        self._again()
        return self._loss


def recorder_on(device: torch.device) -> Recorder | None:
    """Recorder of steps for a device; None where launching costs little."""
    return cuda_graph if device.type == "cuda" else None


def cuda_graph(work: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
    """Capture work as a CUDA graph after a few warm-up runs on a separate stream, as PyTorch's manual requires.

    PyTorch registers the device's generator with the graph, so that dropout draws new numbers at every replay. Other
    threads, which read frames, may allocate memory during the capture.
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = work()
    return result, graph.replay


def _addresses(model: nn.Module) -> tuple[int, ...]:
    return tuple(tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers()))
