"""Mixed precision and memory layout of weights for training, as far as a network supports them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from edgeprune.errors import ModelError, reason_of
from edgeprune.network.compute import device_of, layout_of, out_of_memory, training_precision
from edgeprune.network.running import seeded

Mixed: TypeAlias = Literal["no", "fp16", "bf16"]


@dataclass(frozen=True)
class Way:
    """Precision and layout in which a network is trained, or run as a teacher.

    Attributes:
        mixed: Mixed precision, in accelerate's terms.
        channels_last: Whether weights of 2-D convolutions are stored channels last, as kernels for bf16 and fp16
            expect; otherwise every layer transposes its input.
    """

    mixed: Mixed
    channels_last: bool


def mixed(device: torch.device) -> Mixed:
    """Mixed precision for training on a device, in accelerate's terms."""
    how = training_precision(device)
    return "no" if how == "fp32" else how


def autocast(device: torch.device, how: Mixed | None = None) -> AbstractContextManager[object]:
    """Mixed precision for forward passes on a device; by default the fastest there."""
    how = how or mixed(device)
    if how == "no":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if how == "bf16" else torch.float16)


def way_of(model: nn.Module, frames: Tensor, *, learns: bool = True) -> tuple[Way, str]:
    """Find the fastest way to train a network, or run it as a teacher, by trying a forward and backward pass of each.

    Code may depend on the memory layout, as `.view` after a convolution does, and some operations exist only in
    float32, such as those on complex numbers. Weights, statistics, gradients and generators are left unchanged.

    Args:
        model: Network on the device where it will be trained, in any mode.
        frames: Normalized frames (n, channels, length), at least two, on the network's device.
        learns: Whether it is trained; a teacher only computes outputs.

    Returns:
        The way, and the reason why it is not the fastest of the device, or ''.

    Raises:
        ModelError: The network cannot be run in any way.
    """
    fast = mixed(device_of(model))
    if fast == "no":
        return Way("no", channels_last=False), ""
    ways = (Way(fast, channels_last=True), Way(fast, channels_last=False), Way("no", channels_last=False))
    problem = ""
    for way in ways:
        try:
            _try(model, frames, way, learns)
        except Exception as error:  # the network's own code
            if out_of_memory(error):
                raise
            problem = reason_of(error)
            last = error
        else:
            lost = "channels last" if way.mixed == fast else fast
            return way, f"computed without {lost}: {problem}" if problem else ""
    what = "a step of training" if learns else "the teacher"
    raise ModelError(f"{what} fails: {problem}") from last


def _try(model: nn.Module, frames: Tensor, way: Way, learns: bool) -> None:
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        model.train(learns)
        with laid_out({model: way}), seeded(0, frames.device), torch.set_grad_enabled(learns):
            with autocast(frames.device, way.mixed):
                outputs = model(frames)
            if learns:
                outputs.float().square().sum().backward()
    finally:
        model.zero_grad(set_to_none=True)
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


@contextmanager
def laid_out(ways: dict[nn.Module, Way]) -> Iterator[None]:
    """Lay out the weights of 2-D convolutions as each network's way requires; restored afterwards."""
    weights = [
        weight
        for model, way in ways.items()
        if way.channels_last
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
        for weight in module.parameters()
        if weight.dim() == 4
    ]
    before = [(weight, layout_of(weight)) for weight in weights]
    try:
        for weight in weights:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        yield
    finally:
        for weight, layout in before:
            weight.data = weight.data.contiguous(memory_format=layout)
