"""A card for machines without one: it computes real values on the CPU, and refuses tensors that are in two places.

Within `card()` a tensor that was moved to 'cuda:0', and all that is computed from it, says that it is there. An
operation on tensors of both places raises what PyTorch raises on a card. Numbers of no dimension may mix, and so may
indices that are in main memory, as on a card.
"""

import contextlib
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from edgeprune.network import misplaced
from edgeprune.network.compute import Compute

CARD, HOST = torch.device("cuda:0"), torch.device("cpu")
SIMULATED = Compute(device="cuda:0", name="a simulated card", capability="0.0", precision="fp32")
_COPIES = (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)
_INDEXED = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default, torch.ops.aten.index_put.default)
_DEVICE = Tensor.device.__get__


class Places:
    """Which storages are on the card, and where PyTorch makes those that a running function of its own asks for."""

    def __init__(self):
        self._there = {}
        self.making = HOST

    def of(self, tensor):
        """Where a tensor is."""
        if tensor.device.type != "cpu":
            return tensor.device
        storage = tensor.untyped_storage()
        found = self._there.get(storage._cdata)
        return CARD if found is not None and not found.expired() else HOST

    def put(self, tensor, place):
        """Note that a tensor's storage is there."""
        storage = tensor.untyped_storage()
        if place == CARD:
            self._there[storage._cdata] = StorageWeakRef(storage)
        else:
            self._there.pop(storage._cdata, None)


class _Operations(TorchDispatchMode):
    """Every operation that PyTorch's core runs: results are where the operands are."""

    def __init__(self, places):
        super().__init__()
        self.places = places

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        judged = [each for each in (args[0], *args[2:]) if isinstance(each, Tensor)] if operation in _INDEXED else given
        with torch._C.DisableTorchFunction():
            found = {self.places.of(each) for each in judged if each.dim() or self.places.of(each) != HOST}
            if len(found) > 1 and operation not in _COPIES:
                raise RuntimeError(
                    "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
                    f"(simulated, in {operation})"
                )
            before = {_storage(each) for each in given if each.device.type == "cpu"}
            result = operation(*args, **kwargs)
            place = CARD if CARD in found else HOST
            if not given:
                place = self.places.making
            if operation is torch.ops.aten._to_copy.default:
                place = self.places.of(args[0])
            for each in tree_leaves(result):
                if isinstance(each, Tensor) and each.device.type == "cpu" and _storage(each) not in before:
                    self.places.put(each, place)
        return result


class _Calls(TorchFunctionMode):
    """Calls that name a device, or ask for one."""

    def __init__(self, places):
        super().__init__()
        self.places = places

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        if function == _DEVICE:
            with torch._C.DisableTorchFunction():
                return self.places.of(args[0])
        if name in ("to", "cuda", "cpu") and isinstance(args[0], Tensor):
            return self._moved(name, *args, **kwargs)
        if name == "numpy" and self._place(args[0]) == CARD:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
        device = kwargs.get("device")
        if device is not None and torch.device(device).type in ("cpu", "cuda") and name != "Generator":
            del kwargs["device"]
            made = function(*args, **kwargs)
            return self._copied(made, _normal(device))
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        before, self.places.making = self.places.making, CARD if CARD in map(self._place, given) else HOST
        try:
            result = function(*args, **kwargs)
        finally:
            self.places.making = before
        if name == "__deepcopy__":  # copies a storage without an operation
            with torch._C.DisableTorchFunction():
                self.places.put(result, self.places.of(args[0]))
        return result

    def _place(self, tensor):
        with torch._C.DisableTorchFunction():
            return self.places.of(tensor)

    def _moved(self, name, tensor, *args, **kwargs):
        """What `Tensor.to`, `cuda` and `cpu` give: the same tensor where it is there already, else a copy."""
        if name != "to":
            return self._copied(tensor, CARD if name == "cuda" else HOST)
        wanted, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
        kwargs.pop("non_blocking", None)
        for each in args:
            if isinstance(each, str | torch.device):
                wanted = each
            elif isinstance(each, torch.dtype):
                dtype = each
            elif isinstance(each, Tensor):
                wanted, dtype = self._place(each), each.dtype
        if dtype is not None or kwargs:
            tensor = Tensor.to(tensor, tensor.dtype if dtype is None else dtype, **kwargs)
        if wanted is None:
            return tensor
        place = _normal(wanted)
        return self._copied(tensor, place) if place in (CARD, HOST) else Tensor.to(tensor, place)

    def _copied(self, tensor, place):
        if tensor.device.type not in ("cpu", "cuda") or self._place(tensor) == place:
            return tensor
        copy = tensor.clone()
        with torch._C.DisableTorchFunction():
            self.places.put(copy, place)
        return copy


def _storage(tensor):
    return tensor.untyped_storage()._cdata


def _normal(device):
    device = torch.device(device)
    return CARD if device.type == "cuda" else device


@contextlib.contextmanager
def card():
    """Within it there is a card, 'cuda:0'."""
    places = Places()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch.cuda, "device", contextlib.nullcontext))
        for name in (
            "manual_seed",
            "get_rng_state",
            "set_rng_state",
        ):  # what is drawn there comes from the CPU's generator
            stack.enter_context(mock.patch.object(torch.cuda, name))
        libraries = (*misplaced._LIBRARIES, Path(__file__))
        stack.enter_context(mock.patch.object(misplaced, "_LIBRARIES", libraries))
        stack.enter_context(_Calls(places))
        stack.enter_context(_Operations(places))
        yield places
