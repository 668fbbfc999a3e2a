"""Mixed precision for training, and the layout of weights that goes with it."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch
from torch import nn

from edgeprune.network.compute import device_of, training_precision


def mixed(device: torch.device) -> Literal["no", "fp16", "bf16"]:
    """Mixed precision for training on a device, as accelerate names it."""
    how = training_precision(device)
    return "no" if how == "fp32" else how


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Mixed precision for forward passes on a device."""
    how = mixed(device)
    if how == "no":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if how == "bf16" else torch.float16)


@contextmanager
def fast_layout(*models: nn.Module) -> Iterator[None]:
    """Keep the weights of 2-D convolutions as mixed precision wants them, channels last; as usual afterwards.

    Kernels for bf16 and fp16 work on channels that lie side by side; without this every layer turns its input around.
    """
    if all(mixed(device_of(model)) == "no" for model in models):
        yield
        return
    try:
        _lay(models, torch.channels_last)
        yield
    finally:
        _lay(models, torch.contiguous_format)


def _lay(models: Iterable[nn.Module], layout: torch.memory_format) -> None:
    for weight in (weight for model in models for weight in model.parameters() if weight.dim() == 4):
        weight.data = weight.data.contiguous(memory_format=layout)
