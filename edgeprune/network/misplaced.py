"""Explanation why a network cannot run on a card: a tensor on another device, and where in its code that comes from."""

import linecache
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import edgeprune
from edgeprune.errors import ModelError, reason_of

_SAID = (
    "same device",
    "torch.cuda.FloatTensor",
    "device type tensor to numpy",
    "device type for generator",
    "is on cpu",
)
"""Parts of PyTorch's messages about tensors on two devices, one for each message."""

_LIBRARIES = (Path(torch.__file__).parent,)
_OWN = Path(edgeprune.__file__).parent
_NETWORKS = _OWN / "models"


def explained(error: Exception, networks: Sequence[nn.Module], device: torch.device) -> ModelError | None:
    """Build the error for a network that keeps or makes a tensor on another device.

    Args:
        error: Error that was raised while the networks ran there.
        networks: Networks that ran, still on the device.
        device: Device of the networks.

    Returns:
        An error that names the module and its attribute, or the line of the network's code; None if PyTorch complains
        about something else, or about the code of a stage.
    """
    misplaced = _misplaced(error)
    if misplaced is None:
        return None
    for network in networks:
        for path, name, tensor in _own_tensors(network):
            if tensor.device != device:
                return ModelError(
                    f"{path} keeps the tensor {name} on {tensor.device}, and the network runs on {device}",
                    "Register it with register_buffer, so that it moves with the network, or use `compute='cpu'`",
                )
    place = _place(misplaced)
    if place is None:
        return None
    return ModelError(
        f"the network's code makes or uses a tensor elsewhere than on {device}, in {place}: {reason_of(misplaced)}",
        "Make it with the device of the input, as in torch.zeros(n, device=x.device), or use `compute='cpu'`",
    )


def _misplaced(error: BaseException) -> BaseException | None:
    """Find the complaint about tensors on two devices: the error or one of its causes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RuntimeError | TypeError) and any(words in str(cause) for words in _SAID):
            return cause
        cause = cause.__cause__
    return None


def _own_tensors(network: nn.Module) -> Iterator[tuple[str, str, Tensor]]:
    """Find tensors that are neither parameters nor buffers: the module, the attribute, the tensor."""
    for path, module in network.named_modules():
        moved = {*map(id, module.parameters()), *map(id, module.buffers())}
        for name, value in vars(module).items():
            if name not in ("_parameters", "_buffers", "_modules"):
                for tensor in _tensors(value):
                    if id(tensor) not in moved:
                        yield path or type(network).__name__, name, tensor


def _tensors(value: Any) -> Iterator[Tensor]:
    several = value.values() if isinstance(value, Mapping) else value
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | Mapping):
        yield from (each for each in several if isinstance(each, Tensor))


def _place(error: BaseException) -> str | None:
    """Line of a network's code that an error comes from; None if it comes from a stage's."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if any(file.is_relative_to(library) for library in _LIBRARIES):
            continue
        if file.is_relative_to(_OWN) and not file.is_relative_to(_NETWORKS):
            return None
        where = "its traced code" if frame.filename.startswith("<") else f"{file}:{frame.lineno}"
        line = frame.line or linecache.getline(frame.filename, frame.lineno or 0).strip()
        return f"{where} ({line})" if line else where
    return None
