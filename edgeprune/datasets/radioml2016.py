"""RadioML 2016 pickles: a dict of (modulation, SNR in dB) to float32 (n, 2, 128).

A pickle is a program; this reader admits the names that a numpy array needs in any pickle protocol and nothing else, so
a file from the internet cannot run anything. Frames of RML2016.04C overlap by half; that is found from the samples.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeprune.duplicates import overlapping
from edgeprune.errors import DataError, reason_of
from edgeprune.frames import checked
from edgeprune.records import Frames
from edgeprune.store import file_sha256


def _bytes_of(text: str, encoding: str) -> bytes:
    """The bytes of an array, which Python 3 writes as text in protocols 0 to 2; stands in for `codecs.encode`."""
    if encoding != "latin1":
        raise ValueError(f"bytes encoded as {encoding}")
    return text.encode("latin1")


_RECONSTRUCT = np.empty(0).__reduce__()[0]  # numpy moves the modules that hold these two
_FROM_BUFFER = np.empty(1).__reduce_ex__(5)[0]
_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _bytes_of,
}


_LOOKED_AT = 64


class _ForbiddenGlobalError(Exception):
    """The pickle asks for something that is not a numpy array."""


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise _ForbiddenGlobalError(f"{module}.{name}")
        return _ADMITTED[module, name]


class RadioML2016:
    """Reads `RML2016.10a_dict.pkl`, `RML2016.10b.dat`, `2016.04C.multisnr.pkl` and their like, of Python 2 or 3."""

    suffixes = (".pkl", ".pickle", ".dat")

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
            if not (isinstance(key, tuple) and len(key) == 2 and isinstance(key[1], int)):
                raise DataError(f"{path}: key {key!r:.80} is not (modulation, SNR)")
            if not isinstance(value, np.ndarray):
                raise DataError(f"{path}: {key!r:.80} holds a {type(value).__name__}, not frames (n, 2, L)")
            if value.ndim != 3 or not np.issubdtype(value.dtype, np.number):
                raise DataError(f"{path}: {key!r:.80} holds {value.dtype} {value.shape}, not frames (n, 2, L)")
            name = key[0].decode("latin1") if isinstance(key[0], bytes) else str(key[0])
            cells[name, key[1]] = value
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


def _starts(cells: list[npt.NDArray[np.generic]]) -> npt.NDArray[np.int64] | None:
    """Where each frame begins, when frames of a cell overlap by half as in RML2016.04C; None when none does."""
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
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if content.lstrip()[:1] == b"<":
        raise DataError(f"{path} is a web page, not a pickle", "The download failed: fetch it again")
    try:
        return _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    except _ForbiddenGlobalError as error:
        raise DataError(
            f"{path} asks to load {error}; only numpy arrays are admitted, and nothing was run",
            "Do not trust this file",
        ) from error
    except Exception as error:  # a broken pickle can make any opcode fail in any way
        raise DataError(
            f"{path} ({len(content)} bytes) is truncated or not a pickle: {reason_of(error)}", "Fetch it again"
        ) from error


dataset = RadioML2016()
