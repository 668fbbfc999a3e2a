"""Which mixed precision this machine computes fast in, and the layout of weights that goes with it."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch
from torch import nn


def mixed() -> Literal["no", "fp16", "bf16"]:
    """bf16 on a GPU or CPU that computes in it, fp16 on other GPUs, otherwise none."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    capabilities = torch.cpu.get_capabilities()
    fast = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16")
    return "bf16" if fast else "no"


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Mixed precision for forward passes on a device."""
    how = mixed()
    if how == "no":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if how == "bf16" else torch.float16)


@contextmanager
def fast_layout(*models: nn.Module) -> Iterator[None]:
    """Keep the weights of 2-D convolutions as mixed precision wants them, channels last; as usual afterwards.

    Kernels for bf16 and fp16 work on channels that lie side by side; without this every layer turns its input around.
    """
    if mixed() == "no":
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
