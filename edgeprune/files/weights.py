"""Checks that torch's own reader omits for a .pt file: its tensors exist, and are no larger than the file.

The steps of its pickle are run with stand-ins for tensors and storages, which only count. A storage beyond the file's
bytes, a tensor of stride 0 that is a thousand times its storage, or a `bytearray` of 8 GB is thus found before torch
allocates it. Other names are stood in for too; torch decides whether they are read.
"""

import math
import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from edgeprune.files import pickles, zips
from edgeprune.files.bounds import Bounded, MalformedError, refuse_inflated

_ZIP_MAGIC = b"PK"
_LEGACY_PICKLES = 5  # magic number, protocol, system, content, keys of storages: torch.serialization._legacy_save
_ITEM_BYTES = {
    **dict.fromkeys(("Byte", "Char", "Bool", "QInt8", "QUInt8", "QUInt4x2", "QUInt2x4", "Untyped"), 1),
    **dict.fromkeys(("Short", "Half", "BFloat16"), 2),
    **dict.fromkeys(("Int", "Float", "QInt32"), 4),
    **dict.fromkeys(("Long", "Double", "ComplexFloat"), 8),
    "ComplexDouble": 16,
}
_UNREAD = ("sparse", "nested", "qtensor", "wrapper", "meta_tensor", "from_numpy", "from_type")


def check(path: Path) -> None:
    """Refuse a file of weights that is damaged, or whose tensors exceed the bytes that it holds.

    Raises:
        MalformedError: The file is one of these.
        OSError: It cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as opened:
        file = Bounded(opened, size)
        if file.read(len(_ZIP_MAGIC)) != _ZIP_MAGIC:
            file.seek(0)
            _check_legacy(file)
            return
    members = zips.check(path, stored=True)
    with zips.opened(path, stored=True) as archive:
        found = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(found) != 1:
            raise MalformedError(f"it holds {len(found)} members called data.pkl, not one")
        folder = found[0].removesuffix("data.pkl")
        storages = {name.removeprefix(f"{folder}data/"): length for name, length in members.items()}
        with archive.open(found[0]) as content:
            _run(Bounded(content, members[found[0]]), _Tensors(size, storages))


def _check_legacy(file: Bounded) -> None:
    """Check the format before torch 1.6: pickles one after another, then the storages."""
    tensors = _Tensors(file.size, None)
    for _ in range(_LEGACY_PICKLES):
        _run(file, tensors)
        if file.tell() >= file.size:  # it is one pickle, which torch will judge
            return
    if tensors.stored_bytes > file.size:
        raise MalformedError(f"its tensors have {tensors.stored_bytes} bytes, and it has {file.size}")


def _run(file: Bounded, tensors: "_Tensors") -> None:
    """Run one pickle with the stand-ins."""
    begin = file.tell()
    pickles.check(file)
    end = file.tell()
    file.seek(begin)
    _Stand(cast(IO[bytes], file), tensors).load()
    file.seek(end)


class _Other:
    """Whatever is neither tensor nor plain value: takes anything, keeps nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, _: Any, __: Any) -> None:
        pass

    def __call__(self, *_: Any) -> "_Other":
        return self

    def append(self, _: Any) -> None:
        """Take an item of a list."""

    def extend(self, _: Any) -> None:
        """Take items of a list."""

    def add(self, _: Any) -> None:
        """Take an item of a set."""


class _Storage:
    def __init__(self, items: int, item_bytes: int) -> None:
        self.items, self.item_bytes = items, item_bytes


class _Tensors:
    """Stand-ins for the functions that make tensors.

    Args:
        file_bytes: Size of the file.
        storages: Size in bytes of each storage by its key, or None while unknown.
    """

    def __init__(self, file_bytes: int, storages: dict[str, int] | None) -> None:
        self._file_bytes, self._storages = file_bytes, storages
        self._made_bytes = 0
        self._seen: dict[str, int] = {}

    @property
    def stored_bytes(self) -> int:
        """Bytes of all storages that were requested."""
        return sum(self._seen.values())

    def storage(self, told: Any) -> _Storage:
        """Storage that a persistent id stands for."""
        kind, name, key, _, items = told[:5]
        if kind not in ("storage", b"storage") or type(items) is not int or items < 0:
            raise MalformedError(f"it asks for a {kind!r:.40} that is no storage")
        item_bytes = _item_bytes(name)
        self._seen[str(key)] = max(self._seen.get(str(key), 0), items * item_bytes)
        if self._storages is not None and self._storages.get(str(key), -1) != items * item_bytes:
            raise MalformedError(
                f"its storage {key!r:.40} has {self._storages.get(str(key), 'no')} bytes, not {items * item_bytes}"
            )
        return _Storage(items, item_bytes)

    def tensor(self, storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> None:
        """Stand in for `torch._utils._rebuild_tensor_v2`."""
        if len(shape) != len(strides) or any(
            type(value) is not int or value < 0 for value in (offset, *shape, *strides)
        ):
            raise MalformedError(f"a tensor cannot have the shape {shape!r:.60} with strides {strides!r:.60}")
        items = math.prod(shape)
        last = (
            offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True)) if items else -1
        )
        if last >= storage.items:
            raise MalformedError(f"a tensor of shape {tuple(shape)!r:.60} reaches beyond its {storage.items} values")
        self._made_bytes += items * storage.item_bytes
        refuse_inflated(self._made_bytes, self._file_bytes, "its tensors")


class _Stand(pickle.Unpickler):
    def __init__(self, file: IO[bytes], tensors: _Tensors) -> None:
        super().__init__(file, encoding="utf-8")
        self._tensors = tensors

    def persistent_load(self, told: Any) -> Any:
        if told[0] in ("module", b"module"):  # a class with its source, before torch 1.6
            return _Other
        return self._tensors.storage(told)

    def find_class(self, module: str, name: str) -> Any:
        known: dict[str, Callable[..., Any]] = {
            "collections.OrderedDict": OrderedDict,
            "collections.Counter": Counter,
            "builtins.set": set,
            "__builtin__.set": set,
            "builtins.complex": complex,
            "builtins.bytearray": _bytearray,
            "__builtin__.bytearray": _bytearray,
            "_codecs.encode": lambda text, _: text,
            "torch.Size": tuple,
            "torch.device": _ignored,
            "torch.serialization._get_layout": _ignored,
            "torch._utils._rebuild_tensor": self._tensors.tensor,
            "torch._utils._rebuild_tensor_v2": self._tensors.tensor,
            "torch._utils._rebuild_tensor_v3": self._tensors.tensor,
            "torch._utils._rebuild_parameter": _ignored,
            "torch._utils._rebuild_parameter_with_state": _ignored,
            "torch._utils._rebuild_device_tensor_from_cpu_tensor": _ignored,
        }
        full = f"{module}.{name}"
        if full in known:
            return known[full]
        if module in ("torch", "torch.cuda", "torch.storage") and name.endswith("Storage"):
            return name
        if module == "torch" and name.islower():  # a dtype
            return name
        if module == "torch._utils" and any(part in name for part in _UNREAD):
            raise MalformedError(f"it holds a tensor made by {name}, and plain ones only are read")
        return _Other


def _ignored(*_: Any) -> None:
    return None


def _bytearray(content: Any = b"", *_: Any) -> None:
    if isinstance(content, int):
        raise MalformedError(f"it asks for {content} bytes of zeros")


def _item_bytes(name: Any) -> int:
    kind = str(name).removesuffix("Storage")
    if kind not in _ITEM_BYTES:
        raise MalformedError(f"it holds a storage of kind {name!r:.40}")
    return _ITEM_BYTES[kind]
