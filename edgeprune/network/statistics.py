"""Running statistics of normalization layers over the training frames.

They are found in any module that holds buffers whose names begin with `running_`, torch's own or a network's. Such a
module updates them in training mode; its `momentum`, if it has one, is the weight of the latest batch.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from edgeprune.network.compute import beside
from edgeprune.network.running import evaluating


@runtime_checkable
class Averaging(Protocol):
    """Module with running statistics, with the rate at which they follow the batches; None for their plain mean."""

    momentum: float | None


def with_statistics(model: nn.Module) -> dict[str, nn.Module]:
    """Modules that hold running statistics, by their path; a shared one once."""
    return {
        path: module
        for path, module in model.named_modules()
        if any(name.startswith("running_") for name, _ in module.named_buffers(recurse=False))
    }


class _Reached(Exception):  # noqa: N818 (a finding, not an error)
    """Reached the module up to which a network is run."""


@torch.no_grad()
def reestimate(
    model: nn.Module, batches: Iterable[Tensor], paths: Iterable[str] | None = None, until: str | None = None
) -> None:
    """Replace running statistics by their means over the batches, in place.

    The input of a layer changes when units before it are dropped; without re-estimation the first epochs only undo the
    mismatch. Everything else, including dropout, is in evaluation mode meanwhile, so the result is not random; every
    module then returns to its own mode. A module without `momentum` updates its statistics as it does in training.

    Args:
        model: The modules to update normalize each batch by its own statistics, the others by their running ones.
        batches: Normalized frames (N, channels, length) of the train split; moved to the model one batch at a time.
        paths: Paths of the modules to update; None for all that hold statistics.
        until: Path of a module at which each pass may end.
    """
    found = with_statistics(model)
    chosen = list(found.values()) if paths is None else [found[path] for path in paths]
    if not chosen:
        return
    with evaluating(model), _own_momentum(chosen), _ending(model, until):
        for module in chosen:
            module.training = True
            if isinstance(module, _NormBase):
                module.reset_running_stats()
        for seen, batch in enumerate(batches):
            for module in chosen:
                if isinstance(module, Averaging):
                    module.momentum = 1 / (seen + 1)  # the mean of all batches so far
            with contextlib.suppress(_Reached):
                model(beside(model, batch))


@contextlib.contextmanager
def _ending(model: nn.Module, until: str | None) -> Iterator[None]:
    """End each pass, inside the `with` block, before a module."""

    def stop(_: nn.Module, __: object) -> None:
        raise _Reached

    with contextlib.ExitStack() as hooks:
        if until is not None:
            hooks.enter_context(model.get_submodule(until).register_forward_pre_hook(stop))
        yield


@contextlib.contextmanager
def _own_momentum(modules: list[nn.Module]) -> Iterator[None]:
    """Restore the momentum of every module afterwards."""
    own = [(module, module.momentum) for module in modules if isinstance(module, Averaging)]
    try:
        yield
    finally:
        for module, momentum in own:
            module.momentum = momentum
