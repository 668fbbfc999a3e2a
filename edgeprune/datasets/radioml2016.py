"""RadioML 2016 pickles, and those of RML22: a dict of (modulation, SNR in dB) to float32 (n, 2, 128).

A pickle is a program. This reader permits only the names that a numpy array needs in any pickle protocol, so a file
from the internet cannot run anything. Frames of RML2016.04C overlap by half, which is detected from the samples.
"""

import math
import pickle
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgeprune.errors import DataError, reason_of
from edgeprune.files import pickles
from edgeprune.files.bounds import Bounded
from edgeprune.files.store import file_sha256
from edgeprune.frames.duplicates import overlapping
from edgeprune.frames.labelled import checked
from edgeprune.records.frames import Frames

_HEAD_BYTES = 512
_LOOKED_AT = 64
_SNR_BITS = 32
_NUMBERS = re.compile(r"[<>=|]?[biufc]\d{1,2}")


class _Kind:
    """Stand-in for `numpy.dtype`: a type code and a byte order."""

    def __init__(self, code: str | bytes, *_: Any) -> None:
        self.code = code.decode("ascii") if isinstance(code, bytes) else str(code)
        self.order: Literal["<", ">", "="] = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = "<" if state[1] in ("<", b"<") else ">" if state[1] in (">", b">") else "="

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type, restricted to numbers."""
        return np.dtype(self.code).newbyteorder(self.order)


class _Array:
    """Stand-in for `numpy.ndarray`, whose own state could declare strides and sizes beyond its bytes."""

    def __init__(self, *_: Any) -> None:
        self.shape: tuple[int, ...] = ()
        self.kind, self.content, self.fortran = _Kind("V"), b"", False

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, self.kind, self.fortran, content = state
        self.shape = tuple(shape)
        self.content = content.encode("latin1") if isinstance(content, str) else content

    @classmethod
    def of(cls, content: bytes, kind: _Kind, shape: tuple[int, ...], order: str) -> "_Array":
        """Build an array as protocol 5 does."""
        array = cls()
        array.__setstate__((1, shape, kind, order == "F", content))
        return array

    @property
    def is_frames(self) -> bool:
        """Whether it holds numbers along three axes."""
        return len(self.shape) == 3 and self.is_number

    def numbers(self) -> npt.NDArray[Any]:
        """View the bytes as an array.

        Raises:
            ValueError: The number of bytes contradicts the shape.
        """
        if any(length < 0 for length in self.shape):
            raise ValueError(f"an array cannot have the shape {self.shape!r:.60}")
        array = np.frombuffer(self.content, self.kind.dtype) if len(self.content) else np.empty(0, self.kind.dtype)
        if math.prod(self.shape) != array.size:
            raise ValueError(f"{array.size} numbers are there for the shape {self.shape!r:.60}")
        return array.reshape(self.shape, order="F" if self.fortran else "C")

    def __str__(self) -> str:
        known = {"O": "object", "M": "datetime64", "m": "timedelta64", "S": "bytes", "U": "str"}
        name = known.get(self.kind.code[:1]) or str(self.kind.dtype if self.is_number else self.kind.code)
        return f"{name} {self.shape}"

    @property
    def is_number(self) -> bool:
        """Whether its type is a number."""
        return _NUMBERS.fullmatch(self.kind.code) is not None


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:  # noqa: ARG001 (numpy passes what it then overwrites)
    return _Array()


def _bytes_of(text: str, encoding: str) -> bytes:
    """Bytes of an array, which Python 3 writes as text in protocols 0 to 2; stands in for `codecs.encode`."""
    if encoding != "latin1":
        raise ValueError(f"bytes encoded as {encoding}")
    return text.encode("latin1")


def _scalar(kind: _Kind, content: str | bytes) -> Any:
    """Convert a numpy number or text to Python's own; stands in for `numpy.core.multiarray.scalar`."""
    stored = content.encode("latin1") if isinstance(content, str) else content
    if kind.code.startswith("U"):
        return stored.decode("utf-32-be" if kind.order == ">" else "utf-32-le").rstrip("\0")
    if _NUMBERS.fullmatch(kind.code) is None or len(stored) != kind.dtype.itemsize:
        raise ValueError(f"a scalar of type {kind.code!r:.40} in {len(stored)} bytes")
    return np.frombuffer(stored, kind.dtype)[0].item()


_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _Array.of,
    ("numpy._core.numeric", "_frombuffer"): _Array.of,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
    ("_codecs", "encode"): _bytes_of,
}


class _ForbiddenGlobalError(Exception):
    """The pickle requests something other than a numpy array."""


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise _ForbiddenGlobalError(f"{module:.80}.{name:.80}")
        return _ADMITTED[module, name]


class RadioML2016:
    """Reads `RML2016.10a_dict.pkl`, `RML2016.10b.dat`, `RML22.01A` and similar files, from Python 2 or 3."""

    suffixes = (".pkl", ".pickle", ".dat", ".01a", ".01b")

    def read(self, path: Path) -> Frames:
        """Read every frame, in the order of sorted keys.

        Raises:
            DataError: Truncated, not such a pickle, or one that would run code (it is not run).
        """
        table = _load(path)
        if not isinstance(table, dict) or not table:
            raise DataError(f"{path} holds a {type(table).__name__}, not a dict of (modulation, SNR) to frames")
        cells: dict[tuple[str, int], np.ndarray[Any, Any]] = {}
        for key, value in table.items():
            if not (isinstance(key, tuple) and len(key) == 2 and isinstance(key[1], int | float)):
                raise DataError(f"{path}: key {key!r:.80} is not (modulation, SNR)")
            if not isinstance(value, _Array):
                raise DataError(f"{path}: {key!r:.80} holds a {type(value).__name__}, not frames (n, 2, L)")
            if not value.is_frames:
                raise DataError(f"{path}: {key!r:.80} holds {value}, not frames (n, 2, L)")
            name = key[0].decode("latin1") if isinstance(key[0], bytes) else str(key[0])
            try:
                cell = (name, _snr(key[1]))
                numbers = value.numbers()
            except (TypeError, ValueError, OverflowError) as error:
                raise DataError(f"{path}: {key!r:.80} is damaged: {reason_of(error)}", "Fetch it again") from error
            if cell in cells:
                raise DataError(
                    f"{path} holds {name!r:.80} twice at {cell[1]} dB: SNRs are read in whole dB", "Round its keys"
                )
            cells[cell] = numbers
        shapes = sorted({value.shape[1:] for value in cells.values()})
        if len(shapes) > 1:
            raise DataError(f"{path}: frames differ in shape: {', '.join(map(str, shapes))}")
        keys = sorted(cells)
        names = sorted({name for name, _ in keys})
        counts = [len(cells[key]) for key in keys]
        starts = _starts([cells[key] for key in keys])
        return checked(
            np.concatenate([cells[key] for key in keys]),
            names,
            np.repeat([names.index(name) for name, _ in keys], counts),
            np.repeat([snr for _, snr in keys], counts),
            recordings=None if starts is None else np.repeat(np.arange(len(keys)), counts),
            starts=starts,
            source=path.name,
            sha256=file_sha256(path),
        )


def _snr(value: float) -> int:
    """Convert an SNR to whole dB.

    Raises:
        ValueError: Not a number of dB, or NaN.
        OverflowError: Infinite.
    """
    decibels = round(value)
    if decibels.bit_length() >= _SNR_BITS:
        raise ValueError(f"its SNR is an integer of {decibels.bit_length()} bits")
    return decibels


def _starts(cells: list[npt.NDArray[np.generic]]) -> npt.NDArray[np.int64] | None:
    """Start of each frame, if frames of a cell overlap by half as in RML2016.04C; otherwise None."""
    starts, found = [], False
    for cell in cells:
        frames, length = cell.astype(np.float32), cell.shape[2]
        steps = np.full(max(len(frames) - 1, 0), length)
        if length > 1 and overlapping(frames[:_LOOKED_AT], length // 2).any():
            found = True
            steps[overlapping(frames, length // 2)] = length // 2
        starts.append(np.concatenate([[0], np.cumsum(steps)])[: len(frames)])
    return np.concatenate(starts).astype(np.int64) if found else None


def _load(path: Path) -> Any:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if file.read(_HEAD_BYTES).lstrip()[:1] == b"<":
                raise DataError(f"{path} is a web page, not a pickle", "The download failed: fetch it again")
            file.seek(0)
            pickles.check(Bounded(file, size))
            file.seek(0)
            return _ArrayUnpickler(file, encoding="latin1").load()
    except DataError:
        raise
    except _ForbiddenGlobalError as error:
        raise DataError(
            f"{path} asks to load {error}; only numpy arrays are admitted, and nothing was run",
            "Do not trust this file",
        ) from error
    except IsADirectoryError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:  # a broken pickle can make any opcode fail in any way
        raise DataError(
            f"{path} ({size} bytes) is truncated or not a pickle: {reason_of(error)}", "Fetch it again"
        ) from error


dataset = RadioML2016()
