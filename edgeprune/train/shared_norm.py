"""Batch normalization over the frames of all processes, so that several compute what one would compute alone.

PyTorch has this for NVIDIA GPUs only (`nn.SyncBatchNorm`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from edgeprune.train.parallel import Processes


@contextmanager
def shared_norms(model: nn.Module, processes: Processes) -> Iterator[tuple[str, ...]]:
    """Let PyTorch's batch norms of a network share their statistics in training mode; returns the paths of all others.

    Those keep the statistics of each process's share, which are averaged.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)] if processes.count > 1 else []
    for norm in norms:
        norm.forward = partial(_forward, norm, processes)  # type: ignore[method-assign]
    try:
        yield tuple(path for path, module in model.named_modules() if _averages(module)) if processes.count > 1 else ()
    finally:
        for norm in norms:
            del norm.forward


def _averages(module: nn.Module) -> bool:
    """Whether a module keeps running statistics without being one of PyTorch's batch norms."""
    own = (name for name, _ in module.named_buffers(recurse=False))
    return not isinstance(module, _BatchNorm) and any(name.startswith("running_") for name in own)


def _forward(norm: Any, processes: Processes, x: Tensor) -> Tensor:
    """Normalize a share (n, C, ...) of a batch."""
    if not norm.training:
        normalised: Tensor = type(norm).forward(norm, x)
        return normalised
    norm._check_input_dim(x)
    mean, variance, count = _statistics(x.detach(), processes)
    if norm.track_running_stats:
        norm.num_batches_tracked.add_(1)
        momentum = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
        with torch.no_grad():
            norm.running_mean.lerp_(mean, momentum)
            norm.running_var.lerp_(variance * (count / (count - 1)), momentum)
    shared: Tensor = _Normalise.apply(x, norm.weight, norm.bias, mean, variance, count, norm.eps, processes)  # type: ignore[no-untyped-call]
    return shared


def _statistics(x: Tensor, processes: Processes) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance (C,) over the frames of all processes, and the number of values in a channel, ().

    They are merged from the means and variances of the parts by the rule of Chan, Golub & LeVeque (1979), which loses
    no precision where a mean is large.
    """
    axes = [axis for axis in range(x.ndim) if axis != 1]
    part_variance, part_mean = torch.var_mean(x.float(), axes, correction=0)
    size = torch.full_like(part_mean[:1], x.numel() // x.shape[1])
    parts = processes.gathered(torch.cat((size, part_mean, part_variance)))
    sizes, means, variances = torch.split(parts, [1, len(part_mean), len(part_mean)], dim=1)
    count = sizes.sum()
    mean = (sizes * means).sum(0) / count
    return mean, (sizes * (variances + (means - mean).square())).sum(0) / count, count


class _Normalise(torch.autograd.Function):
    """Batch norm with given statistics that depend on the inputs of all processes."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
        processes: Processes,
    ) -> Tensor:
        """Normalize (n, C, ...)."""
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps, ctx.processes = eps, processes
        return functional.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of input, weight and bias; those through the statistics sum over the outputs of every process.

        With r = 1 / sqrt(variance + eps) and h = (x - mean) r, y = r w (x - mean) + b has dx = r w (dy - mean(dy) -
        h mean(dy h)), the means over all processes (Ioffe & Szegedy 2015).
        """
        x, weight, mean, variance, count = ctx.saved_tensors
        scale = torch.ones_like(mean) if weight is None else weight
        through, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0].contiguous(), x, scale, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.cat((of_bias, of_weight))
        ctx.processes.add(sums)
        mean_gradient, mean_product = (sums / count).chunk(2)
        root = torch.rsqrt(variance + ctx.eps)
        slope = scale * root.square() * mean_product
        shift = scale * root * mean_gradient - slope * mean
        shape = (1, -1, *(1,) * (x.ndim - 2))
        of_input = (through - shift.view(shape) - slope.view(shape) * x).to(x.dtype)
        return of_input, None if weight is None else of_weight, None if weight is None else of_bias, *(None,) * 5
