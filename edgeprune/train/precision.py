"""Which mixed precision this machine computes fast in."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch


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
