"""Widths: rebuild a network with other numbers of channels, when it is narrowed and whenever it is loaded.

A module of another width inherits what fits. New channels of a convolution or linear layer are zeros, and so are the
weights for new inputs. New channels of a normalization have their initial values (weight 1, mean 0, variance 1), so
that they pass the zeros on and can still learn.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn

from edgeprune.errors import ModelError

Size: TypeAlias = tuple[int, int]
"""Numbers of input and output channels; the same number twice where a module works on each channel alone."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_RECURRENT = (nn.LSTM, nn.GRU, nn.RNN)
_CHANNELWISE: dict[type[nn.Module], str] = {
    nn.BatchNorm1d: "num_features",
    nn.BatchNorm2d: "num_features",
    nn.BatchNorm3d: "num_features",
    nn.GroupNorm: "num_channels",
    nn.PReLU: "num_parameters",
}
_FRESH: dict[type[nn.Module], dict[str, float]] = {
    **{kind: {"weight": 1.0, "running_var": 1.0} for kind in (*_CHANNELWISE, nn.LayerNorm)},
    nn.PReLU: {"weight": 0.25},
}
_NEW = -1


@runtime_checkable
class Resizable(Protocol):
    """Network's own module that can be rebuilt for other widths.

    Its output k depends on its input k alone; outputs beyond its inputs depend on none.
    """

    @property
    def size(self) -> Size:
        """Numbers of input and output channels."""
        ...

    def resized(self, size: Size) -> nn.Module:
        """Copy with another size; the module itself is not changed."""
        ...


def sizes_of(model: nn.Module) -> dict[str, Size]:
    """List the size of every module that can be resized, by its path; a shared one once.

    These are convolutions, linear layers, batch and group normalization, layer normalization of one axis, PReLU with a
    slope for each channel, recurrent layers (their hidden size is the outputs, and cannot change), and whatever is
    `Resizable`.
    """
    sizes = {path: _size(module) for path, module in model.named_modules()}
    return {path: size for path, size in sizes.items() if size is not None}


def resized(module: nn.Module, size: Size) -> nn.Module:
    """Resize a module; it inherits the leading channels, for a grouped convolution those of every group.

    A depthwise convolution stays one: it has as many groups as inputs. Options, dtype, device and mode are kept.

    Raises:
        ModelError: It cannot be resized, or not to that size.
    """
    old = _checked(module, size)
    if isinstance(module, Resizable):
        return module.resized(size).train(module.training)
    inputs, outputs = size
    if not isinstance(module, _CONVOLUTIONS):
        return _rebuilt(module, _padded(inputs, old[0]), _padded(outputs, old[1]), size)
    groups = inputs if is_depthwise(module) else module.groups
    if inputs % groups or outputs % groups:
        raise ModelError(f"a convolution in {groups} groups cannot have {inputs} inputs and {outputs} outputs")
    had, has = old[1] // module.groups, outputs // groups
    rows = [
        group * had + row if group < module.groups and row < had else _NEW
        for group in range(groups)
        for row in range(has)
    ]
    return _rebuilt(module, _padded(inputs // groups, old[0] // module.groups), rows, size)


def picked(module: nn.Module, inputs: Sequence[int], outputs: Sequence[int]) -> nn.Module:
    """Build a module with some of its channels: its input k is the module's input `inputs[k]`, and so for outputs.

    Raises:
        ModelError: It cannot be resized, or its channels cannot be chosen freely (grouped convolution or normalization,
            hidden states, different inputs and outputs of a module that works on each channel alone).
    """
    size = len(inputs), len(outputs)
    old = _checked(module, size)
    if not can_pick(module) or (is_channelwise(module) and list(inputs) != list(outputs)):
        raise ModelError(f"the channels of a {type(module).__name__} of size {old} cannot be chosen one by one")
    if isinstance(module, Resizable):
        return module.resized(size).train(module.training)
    return _rebuilt(module, [0] if is_depthwise(module) else inputs, outputs, size)


def resize(model: nn.Module, sizes: Mapping[str, Size]) -> None:
    """Replace the modules at the paths by resized ones (see `resized`), in place.

    Raises:
        ModelError: A missing path, or a module that cannot have that size.
    """
    replace(model, {path: resized(_at(model, path), size) for path, size in sizes.items()})


def replace(model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
    """Replace the modules at the paths, in place; a shared module is replaced everywhere.

    Raises:
        ModelError: A missing path, or that of the whole network.
    """
    if "" in modules:
        raise ModelError("the network is a single layer, which cannot be replaced in itself")
    instead = {id(_at(model, path)): module for path, module in modules.items()}
    places = [
        (path, instead[id(module)])
        for path, module in model.named_modules(remove_duplicate=False)
        if id(module) in instead
    ]
    for path, module in places:
        model.set_submodule(path, module)


def is_depthwise(module: nn.Module) -> bool:
    """Return whether a module is a convolution that filters each input separately."""
    return isinstance(module, _CONVOLUTIONS) and module.groups == module.in_channels > 1


def is_channelwise(module: nn.Module) -> bool:
    """Return whether output k depends on input k alone, with as many outputs as inputs."""
    if is_depthwise(module):
        return module.in_channels == module.out_channels
    return type(module) in (*_CHANNELWISE, nn.LayerNorm)


def can_pick(module: nn.Module) -> bool:
    """Return whether any channel can be removed without changing the others.

    For a recurrent layer this holds for the inputs.
    """
    if _size(module) is None or isinstance(module, nn.GroupNorm):
        return False
    return not isinstance(module, _CONVOLUTIONS) or module.groups == 1 or is_channelwise(module)


def _size(module: nn.Module) -> Size | None:
    """Size of a module of exactly a known class: a subclass may hold more, and so may one with renamed weights."""
    if isinstance(module, Resizable):
        return module.size
    if type(module) not in (*_CONVOLUTIONS, *_RECURRENT, *_CHANNELWISE, nn.Linear, nn.LayerNorm):
        return None
    if isinstance(module, nn.RNNBase):
        return module.input_size, module.hidden_size
    if {name for name, _ in module.named_parameters(recurse=False)} - {"weight", "bias"}:
        return None
    if isinstance(module, _CONVOLUTIONS):
        return module.in_channels, module.out_channels
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, nn.LayerNorm):
        return (module.normalized_shape[0],) * 2 if len(module.normalized_shape) == 1 else None
    channels = int(getattr(module, _CHANNELWISE[type(module)]))
    return None if isinstance(module, nn.PReLU) and channels == 1 else (channels, channels)


def _checked(module: nn.Module, size: Size) -> Size:
    """Current size of a module, if it can be given the other."""
    old = _size(module)
    if old is None:
        raise ModelError(f"a {type(module).__name__} cannot be resized")
    if min(size) < 1:
        raise ModelError(f"a {type(module).__name__} cannot have {size[0]} inputs and {size[1]} outputs")
    if is_channelwise(module) and size[0] != size[1] and not is_depthwise(module):
        raise ModelError(f"a {type(module).__name__} has as many outputs as inputs, not {size[0]} and {size[1]}")
    if isinstance(module, nn.GroupNorm) and size[0] % module.num_groups:
        raise ModelError(f"a GroupNorm of {module.num_groups} groups cannot have {size[0]} channels")
    if isinstance(module, nn.RNNBase) and size[1] != old[1]:
        raise ModelError(f"the hidden size of a {type(module).__name__} stays {old[1]}, it cannot become {size[1]}")
    return old


def _rebuilt(module: nn.Module, inputs: Sequence[int], outputs: Sequence[int], size: Size) -> nn.Module:
    """Copy with the weights of these inputs (the second axis) and outputs (the first), and of that size."""
    rebuilt = copy.deepcopy(module)
    _note_size(rebuilt, size)
    fresh = _FRESH.get(type(module), {})
    tensors = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
    for name, tensor in tensors.items():
        taken = tensor.detach()
        if isinstance(module, nn.RNNBase):
            if name.removesuffix("_reverse") == "weight_ih_l0":
                taken = _taken(taken, 1, inputs, 0.0)
        elif taken.dim():
            taken = _taken(taken, 0, outputs, fresh.get(name, 0.0))
            if taken.dim() > 1:
                taken = _taken(taken, 1, inputs, 0.0)
        if isinstance(tensor, nn.Parameter):
            setattr(rebuilt, name, nn.Parameter(taken.clone(), requires_grad=tensor.requires_grad))
        else:
            setattr(rebuilt, name, taken.clone())
    return rebuilt


def _taken(tensor: Tensor, axis: int, indices: Sequence[int], fill: float) -> Tensor:
    known = torch.tensor([max(index, 0) for index in indices], device=tensor.device)
    new = [position for position, index in enumerate(indices) if index == _NEW]
    taken = tensor.index_select(axis, known)
    return taken.index_fill(axis, torch.tensor(new, device=tensor.device), fill) if new else taken


def _note_size(module: nn.Module, size: Size) -> None:
    """Store the size in a module's attributes."""
    inputs, outputs = size
    if isinstance(module, _CONVOLUTIONS):
        module.groups = inputs if is_depthwise(module) else module.groups
        module.in_channels, module.out_channels = inputs, outputs
    elif isinstance(module, nn.Linear):
        module.in_features, module.out_features = inputs, outputs
    elif isinstance(module, nn.RNNBase):
        module.input_size = inputs
    elif isinstance(module, nn.LayerNorm):
        module.normalized_shape = (outputs,)
    else:
        setattr(module, _CHANNELWISE[type(module)], outputs)


def _padded(count: int, known: int) -> list[int]:
    return [index if index < known else _NEW for index in range(count)]


def _at(model: nn.Module, path: str) -> nn.Module:
    try:
        return model.get_submodule(path)
    except AttributeError as error:
        raise ModelError(f"the network has no module {path!r} to resize") from error
