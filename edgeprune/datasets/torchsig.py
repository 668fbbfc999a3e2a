"""TorchSig data sets with one signal in each sample: a folder with `data.h5`, one object a record or a single array.

A sample is labeled by `class_name` and `snr_db` of its only component; TorchSig itself is not needed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from edgeprune.datasets import _hdf5
from edgeprune.datasets._source import Source, Streamed
from edgeprune.errors import DataError
from edgeprune.files.bounds import ROOM_BYTES, parse_json
from edgeprune.frames.labelled import checked_table, refuse_class_name
from edgeprune.protocols import FrameSource
from edgeprune.records.frames import Reading

_FILE = "data.h5"
_LEAST_AT_ONCE = 8
_ARRAY_FORMAT = "torchsig-homogeneous"
_RECORDS = {"data", "metadata", "index", "component_signals"}


class TorchSig(Streamed):
    """Reads files that `DatasetCreator` writes with `HDF5Writer` and `HomogeneousHDF5Writer`."""

    suffixes = ("/", *_hdf5.SUFFIXES)

    def recognises(self, path: Path) -> bool:
        """Whether a folder holds such a file, or a file has that layout."""
        file = path / _FILE if path.is_dir() else path
        if not file.is_file():
            return False
        return _hdf5.attribute(file, "format") == _ARRAY_FORMAT or _hdf5.keys(file) >= _RECORDS

    @contextmanager
    def open(self, path: Path, reading: Reading) -> Iterator[FrameSource]:  # noqa: ARG002 (frames are cut already)
        """Open the samples in the order of the file.

        Raises:
            DataError: Truncated, samples that differ in length, are not complex, or contain several signals.
        """
        file_path = path / _FILE if path.is_dir() else path
        with _hdf5.opened(file_path) as file:
            layout = _OneArray(file, file_path) if "index" not in file else _Records(file, file_path)
            told = [layout.about(index) for index in range(layout.count)]
            lacking = [index for index, about in enumerate(told) if "class_name" not in about]
            if lacking:
                raise DataError(f"{file_path}: sample {lacking[0]} has no class_name")
            for about in told:
                refuse_class_name(str(about["class_name"]), str(file_path))
            names = sorted({str(about["class_name"]) for about in told})
            snrs = [about.get("snr_db") for about in told]
            known = all(isinstance(snr, int | float) for snr in snrs)
            table = checked_table(
                layout.count,
                (2, layout.length),
                names,
                np.array([names.index(str(about["class_name"])) for about in told], dtype=np.int64),
                np.round(np.array(snrs, dtype=np.float64)) if known else None,
                source=path.name,
            )
            notes = ("SNRs are rounded to whole dB",) if known else ()
            yield Source(table, (file_path,), layout.block, notes)


class _OneArray:
    """All samples in one array, with their descriptions as JSON."""

    def __init__(self, file: h5py.File, path: Path) -> None:
        self._path = path
        self._data, components, offsets = _hdf5.arrays(file, path, "data", "component_metadata", "component_offsets")
        if self._data.ndim != 2 or self._data.dtype.kind != "c":
            raise DataError(f"{path} holds {self._data.dtype} of shape {self._data.shape}, not complex samples (N, L)")
        self.count, self.length = self._data.shape
        self._bounds = _hdf5.rows(offsets, path).astype(np.int64)
        self._components = components
        self._texts_at = 0
        self._texts: tuple[Any, ...] = ()
        self._at_once = max(_LEAST_AT_ONCE, ROOM_BYTES // path.stat().st_size)
        if len(self._bounds) != self.count + 1:
            raise DataError(f"{path}: component_offsets holds {len(self._bounds)} values for {self.count} samples")

    def about(self, index: int) -> dict[str, Any]:
        """Description of the only signal in a sample."""
        first, last = self._bounds[index : index + 2]
        _refuse_several(last - first, index, self._path)
        try:
            told = parse_json(self._text(int(first)))
            return {name: told["items"][name] for name in ("class_name", "snr_db") if name in told["items"]}
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(f"{self._path}: component_metadata[{first}] is not TorchSig's JSON") from error

    def _text(self, index: int) -> bytes:
        """Read one of the texts, a few at a time, since many may share one long text of the file."""
        if not self._texts_at <= index < self._texts_at + len(self._texts):
            self._texts_at = index
            self._texts = tuple(_hdf5.rows(self._components, self._path, index, index + self._at_once))
        text = self._texts[index - self._texts_at]
        return text if isinstance(text, bytes) else str(text).encode()

    def block(self, start: int, stop: int) -> npt.NDArray[np.generic]:
        """Read samples start to stop as (n, 2, L)."""
        rows = _hdf5.rows(self._data, self._path, start, stop)
        return np.stack([rows.real, rows.imag], axis=1)


class _Records:
    """Samples as separate objects, as is each item of their descriptions."""

    def __init__(self, file: h5py.File, path: Path) -> None:
        self._file, self._path = file, path
        self.count = len(self._group("index"))
        if not self.count:
            raise DataError(f"{path} holds no frames")
        self.length = len(self._sample(0))

    def about(self, index: int) -> dict[str, Any]:
        """Description of the only signal in a sample."""
        key = self._key(index)
        components = self._group("component_signals")
        parts: Any = _hdf5.arrays(components, self._path, key)[0] if key in components else ()
        _refuse_several(len(parts), index, self._path)
        told = _hdf5.member(self._group("metadata"), self._path, str(parts.asstr()[0]))
        if not isinstance(told, h5py.Group):
            return {}
        found = {name: _hdf5.arrays(told, self._path, name)[0][()] for name in ("class_name", "snr_db") if name in told}
        if isinstance(found.get("class_name"), bytes):
            found["class_name"] = found["class_name"].decode()
        if "snr_db" in found:
            found["snr_db"] = float(found["snr_db"])
        return found

    def block(self, start: int, stop: int) -> npt.NDArray[np.generic]:
        """Read samples start to stop as (n, 2, L)."""
        samples = [self._sample(index) for index in range(start, stop)]
        for place, sample in enumerate(samples):
            if sample.shape != (self.length,):
                raise DataError(f"{self._path}: sample {start + place} has shape {sample.shape}, not ({self.length},)")
        stacked = np.stack(samples)
        return np.stack([stacked.real, stacked.imag], axis=1)

    def _group(self, name: str) -> h5py.Group:
        found = _hdf5.member(self._file, self._path, name)
        if not isinstance(found, h5py.Group):
            raise DataError(f"{self._path}: {name} is no group of records")
        return found

    def _key(self, index: int) -> str:
        text: Any = _hdf5.member(self._group("index"), self._path, str(index))
        try:
            return str(text.asstr()[()])
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{self._path}: index has no sample {index}") from error

    def _sample(self, index: int) -> npt.NDArray[np.generic]:
        array = _hdf5.member(self._group("data"), self._path, self._key(index))
        if not isinstance(array, h5py.Dataset) or array.ndim != 1 or array.dtype.kind != "c":
            raise DataError(f"{self._path}: sample {index} is not an array of complex samples (L,)")
        _hdf5.refuse_declared(self._path, array)
        return _hdf5.rows(array, self._path)


def _refuse_several(count: int, index: int, path: Path) -> None:
    if count != 1:
        raise DataError(f"{path}: sample {index} is of {count} signals, not of one", "Make a set of single signals")


dataset = TorchSig()
