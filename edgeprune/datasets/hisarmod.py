"""HisarMod2019.1: CSV files of complex numbers with separate labels and SNRs, and its mirrors in HDF5.

The folder holds Train/train_data.csv, train_labels.csv, train_snr.csv and the same under Test. A row of the data is a
frame of 1024 numbers "a+bi". A label is 10 times the index in its family plus the digit of the family.

Test frames are the test split; every tenth train frame of each class and SNR is for validation.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from edgeprune.datasets import _hdf5
from edgeprune.datasets._csv import ComplexRows, whole_numbers
from edgeprune.datasets._source import Source, Streamed
from edgeprune.errors import DataError
from edgeprune.frames.labelled import checked_table
from edgeprune.protocols import FrameSource
from edgeprune.records.frames import FrameTable, Reading

_FAMILIES = (
    ("BPSK", "QPSK", "8PSK", "16PSK", "32PSK", "64PSK"),
    ("4QAM", "8QAM", "16QAM", "32QAM", "64QAM", "128QAM", "256QAM"),
    ("2FSK", "4FSK", "8FSK", "16FSK"),
    ("4PAM", "8PAM", "16PAM"),
    ("AM-DSB", "AM-DSB-SC", "AM-USB", "AM-LSB", "FM", "PM"),
)
CODES = {10 * place + digit: name for digit, family in enumerate(_FAMILIES) for place, name in enumerate(family)}
CLASSES = tuple(CODES.values())
_TRAIN, _VALIDATION, _TEST = range(3)
_EVERY = 10


class HisarMod(Streamed):
    """Reads the folder, one of its data files with the two beside it, or `HisarMod2019train.h5` and its like."""

    suffixes = (".csv", "/", *_hdf5.SUFFIXES)

    def recognises(self, path: Path) -> bool:
        """Whether a folder has such data files, or an HDF5 file has samples and labels."""
        if path.is_dir():
            return bool(_data_files(path))
        return path.suffix.lower() == ".csv" or {"samples", "labels"} <= _hdf5.keys(path)

    @contextmanager
    def open(self, path: Path, reading: Reading) -> Iterator[FrameSource]:  # noqa: ARG002 (frames are cut already)
        """Open the frames in the order of the files, those for training first.

        Raises:
            DataError: A missing or truncated file, a broken number, or an unknown label code.
        """
        if path.suffix.lower() in _hdf5.SUFFIXES:
            with _hdf5.opened(path) as file:
                yield _from_hdf5(file, path)
        else:
            with ExitStack() as stack:
                yield _from_csv(_data_files(path) if path.is_dir() else [path], path.name, stack)


def _data_files(folder: Path) -> list[Path]:
    """List the data files of a folder, train before test."""
    found = [file for file in folder.rglob("*_data.csv") if file.name.lower() in ("train_data.csv", "test_data.csv")]
    return sorted(found, key=lambda file: (not file.name.lower().startswith("train"), str(file)))


def _from_csv(files: list[Path], source: str, stack: ExitStack) -> Source:
    readers = [stack.enter_context(ComplexRows.opened(file)) for file in files]
    labels, snrs, split, used = [], [], [], []
    for file, reader in zip(files, readers, strict=True):
        stem = file.name[: -len("_data.csv")] if file.name.endswith("_data.csv") else file.stem
        beside = {what: file.with_name(f"{stem}_{what}.csv") for what in ("labels", "snr")}
        codes, of_snr = (whole_numbers(each) for each in beside.values())
        for each, values in zip(beside.values(), (codes, of_snr), strict=True):
            if len(values) != len(reader):
                raise DataError(f"{each} holds {len(values)} rows, {file.name} holds {len(reader)}")
        labels.append(_classes_of(codes, beside["labels"], "line {}", 1))
        snrs.append(of_snr)
        split.append(np.full(len(codes), _TEST if stem.lower().startswith("test") else _TRAIN))
        used += [file, *beside.values()]
    lengths = sorted({reader.length for reader in readers})
    if len(lengths) > 1:
        raise DataError(f"{source}: frames differ in length: {', '.join(map(str, lengths))} samples")
    bounds = np.cumsum([0, *(len(reader) for reader in readers)])

    def block(start: int, stop: int) -> npt.NDArray[np.float32]:
        pieces = [
            reader.read(max(start - first, 0), min(stop - first, len(reader)))
            for reader, first in zip(readers, bounds, strict=False)
            if start < first + len(reader) and stop > first
        ]
        return np.concatenate(pieces)

    table = _table(np.concatenate(labels), np.concatenate(snrs), np.concatenate(split), lengths[0], source)
    return Source(table, tuple(used), block, forward_only=True)


def _from_hdf5(file: h5py.File, path: Path) -> Source:
    samples, codes, snrs = _hdf5.arrays(file, path, "samples", "labels", "snr")
    _hdf5.same_length(path, samples, codes, snrs)
    if samples.ndim != 3 or 2 not in samples.shape[1:]:
        raise DataError(f"{path}: samples has shape {samples.shape}, not (N, 2, L) or (N, L, 2)")
    last = samples.shape[2] == 2
    labels = _classes_of(_hdf5.rows(codes, path).reshape(len(codes), -1)[:, 0], path, "labels[{}]", 0)
    test = "test" in path.stem.lower()
    table = _table(
        labels,
        _hdf5.rows(snrs, path).reshape(len(snrs), -1)[:, 0],
        np.full(len(labels), _TEST if test else _TRAIN),
        samples.shape[1 if last else 2],
        path.name,
    )
    return Source(table, (path,), _hdf5.block_of(samples, path, lambda block: block.swapaxes(1, 2) if last else block))


def _classes_of(codes: npt.NDArray[np.generic], path: Path, place: str, first: int) -> npt.NDArray[np.int64]:
    """Convert label codes to indices into CLASSES; `place` names one in messages, counted from `first`."""
    values = codes.astype(np.int64)
    unknown = ~np.isin(values, list(CODES))
    if unknown.any():
        bad = int(np.argmax(unknown))
        raise DataError(
            f"{path}: {place.format(bad + first)}: label {values[bad]} is not a code of HisarMod2019.1",
            f"Known: {', '.join(f'{code} {name}' for code, name in CODES.items())}",
        )
    known = np.array(sorted(CODES))
    index = np.array([CLASSES.index(CODES[code]) for code in known], dtype=np.int64)
    found: npt.NDArray[np.int64] = index[np.searchsorted(known, values)]
    return found


def _table(
    labels: npt.NDArray[np.int64],
    snrs: npt.NDArray[np.generic],
    split: npt.NDArray[np.int64],
    length: int,
    source: str,
) -> FrameTable:
    """Build the table of frames; a file of train frames alone, or of test frames alone, has no split of its own."""
    own = None
    if len(np.unique(split)) > 1:
        own = split.copy()
        _, cell = np.unique(np.stack([labels, snrs.astype(np.int64), split]), axis=1, return_inverse=True)
        for number in np.unique(cell[split == _TRAIN]):
            own[np.flatnonzero(cell == number)[_EVERY - 1 :: _EVERY]] = _VALIDATION
    return checked_table(len(labels), (2, length), CLASSES, labels, snrs, split=own, source=source)


dataset = HisarMod()
