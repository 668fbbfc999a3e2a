"""Refitting: rebuilds layers for their new input shape after a unit before them that changed it was dropped.

A layer for another number of channels is created anew and inherits what fits (`widths.resized`); a pooling larger than
its input is reduced to its size. The network and the shape of a frame alone determine which layers are rebuilt, so a
pruned network is the same whenever it is loaded.
"""

import contextlib
import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from edgeprune.errors import ModelError, reason_of
from edgeprune.network.compute import beside
from edgeprune.network.running import evaluating, probe, quiet_torch
from edgeprune.network.widths import is_channelwise, replace, resized, sizes_of

_POOLS = {nn.MaxPool1d: 1, nn.AvgPool1d: 1, nn.MaxPool2d: 2, nn.AvgPool2d: 2}
_CHANNELS_LAST = (nn.Linear, nn.RNNBase, nn.LayerNorm)


class _Unfit(Exception):  # noqa: N818 (a finding, not an error)
    """Layer that does not fit its input: its path, and the shape of the input."""

    def __init__(self, path: str, arriving: torch.Size) -> None:
        super().__init__(path)
        self.path, self.arriving = path, arriving


def refit(model: nn.Module, shape: tuple[int, int]) -> tuple[str, ...]:
    """Rebuild, in place, every layer that does not fit its input.

    Args:
        model: The network after a unit was dropped.
        shape: (channels, length) of a frame.

    Returns:
        Paths of the rebuilt layers, in order of execution.

    Raises:
        ModelError: The network still cannot run.
    """
    rebuilt: list[str] = []
    frames = beside(model, probe(*shape))
    while True:
        try:
            with torch.no_grad(), evaluating(model), _watched(model), quiet_torch():
                model(frames)
        except _Unfit as unfit:
            if unfit.path in rebuilt:
                raise ModelError(f"{unfit.path} is fed different widths, and cannot be rebuilt for one") from unfit
            rebuilt.append(unfit.path)
            replace(model, {unfit.path: _fitting(model.get_submodule(unfit.path), unfit.arriving)})
        except ModelError:
            raise
        except Exception as error:  # the network's own code
            raise ModelError(f"the network cannot run without what was dropped: {reason_of(error)}") from error
        else:
            return tuple(rebuilt)


def _fitting(module: nn.Module, arriving: torch.Size) -> nn.Module:
    """Module that replaces one that does not fit its input."""
    if type(module) in _POOLS:
        return _cut_pool(module, arriving)
    inputs = arriving[_channel_axis(module)]
    outputs = inputs if is_channelwise(module) else sizes_of(module)[""][1]
    return resized(module, (inputs, outputs))


def _cut_pool(module: nn.Module, arriving: torch.Size) -> nn.Module:
    """Pooling reduced to the size of its input, if it was larger."""
    axes = _POOLS[type(module)]
    cut: Any = copy.deepcopy(module)
    kernel = tuple(map(min, _tuple(cut.kernel_size, axes), arriving[-axes:]))
    padding = tuple(min(pad, size // 2) for pad, size in zip(_tuple(cut.padding, axes), kernel, strict=True))
    cut.kernel_size, cut.padding = kernel, padding
    if _is_max(module):
        cut.dilation = 1
    pool: nn.Module = cut
    return pool


def _is_max(module: nn.Module) -> bool:
    return isinstance(module, nn.MaxPool1d | nn.MaxPool2d)


@contextlib.contextmanager
def _watched(model: nn.Module) -> Iterator[None]:
    """Raise `_Unfit`, inside the `with` block, for a layer that does not fit its input."""
    sizes = sizes_of(model)

    def check(module: nn.Module, inputs: tuple[Tensor, ...], path: str) -> None:
        if not inputs:  # handed over by name
            return
        arriving = inputs[0].shape
        if type(module) in _POOLS:
            fits = all(map(int.__le__, _reach(module), arriving[-_POOLS[type(module)] :]))
        else:
            fits = arriving[_channel_axis(module)] == sizes[path][0]
        if not fits:
            raise _Unfit(path, arriving)

    with contextlib.ExitStack() as hooks:
        for path, module in model.named_modules():
            if path and (path in sizes or type(module) in _POOLS):
                hooks.enter_context(module.register_forward_pre_hook(partial(check, path=path)))
        yield


def _reach(pool: Any) -> tuple[int, ...]:
    """Smallest map that a pooling accepts."""
    axes = _POOLS[type(pool)]
    kernel, padding = _tuple(pool.kernel_size, axes), _tuple(pool.padding, axes)
    dilation = _tuple(pool.dilation if _is_max(pool) else 1, axes)
    return tuple(d * (k - 1) + 1 - 2 * p for k, p, d in zip(kernel, padding, dilation, strict=True))


def _channel_axis(module: nn.Module) -> int:
    return -1 if isinstance(module, _CHANNELS_LAST) else 1


def _tuple(value: object, axes: int) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) * axes  # type: ignore[return-value]
