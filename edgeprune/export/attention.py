"""Attention as products and a softmax, which every ONNX opset has; as one operation it needs opset 14."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_FUSED = nn.functional.scaled_dot_product_attention


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Scaled dot-product attention by its formula (Vaswani et al. 2017), as `torch.nn.functional` defines it.

    Args:
        query: (..., heads, targets, width).
        key: (..., heads, sources, width).
        value: (..., heads, sources, width of the result).
        attn_mask: True where a source is seen, or what is added to the products; (..., targets, sources).
        dropout_p: Dropout of the weights; ignored, nothing is dropped in an export.
        is_causal: A target sees the sources up to its own place.
        scale: Factor of the products; 1 / sqrt(width) if it is not given.
        enable_gqa: Several heads of the query share one of key and value.

    Returns:
        (..., heads, targets, width of the result).
    """
    del dropout_p
    if enable_gqa:
        times = query.shape[-3] // key.shape[-3]
        key, value = (each.repeat_interleave(times, -3) for each in (key, value))
    products = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        products = products.masked_fill(attn_mask.logical_not(), -math.inf)
    elif attn_mask is not None:
        products = products + attn_mask
    return products.softmax(-1) @ value


class _Decomposed(TorchFunctionMode):
    """Computes attention by its formula for code that holds the function itself; layers of PyTorch look it up."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch."""
        made = attention if func is _FUSED else func
        return made(*args, **(kwargs or {}))


@contextlib.contextmanager
def decomposed_attention() -> Iterator[None]:
    """Within it, networks compute attention by its formula, in layers of PyTorch too."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with mock.patch.object(nn.functional, "scaled_dot_product_attention", attention), _Decomposed():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
