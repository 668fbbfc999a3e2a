"""Folder of complex files: one folder for each class, with files of interleaved samples or complex arrays.

The name of the file or of a folder above it contains the SNR, as in `QPSK/10dB/a.cf32` or `QPSK/snr_-4_b.npy`.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeprune.datasets._source import Streamed
from edgeprune.datasets._windows import Complex, Segment, cut
from edgeprune.errors import DataError, reason_of
from edgeprune.files import npy as npy_file
from edgeprune.protocols import FrameSource
from edgeprune.records.frames import Reading

# suffix: type of I and Q, what is subtracted, what is divided by
_KINDS: dict[str, tuple[str, float, float]] = {
    **dict.fromkeys((".cf32", ".fc32", ".cfile", ".c64", ".complex64"), ("<f4", 0.0, 1.0)),
    **dict.fromkeys((".cf64", ".fc64", ".c128", ".complex128"), ("<f8", 0.0, 1.0)),
    **dict.fromkeys((".cs16", ".sc16", ".ci16"), ("<i2", 0.0, 2.0**15)),
    **dict.fromkeys((".cs8", ".sc8", ".ci8"), ("<i1", 0.0, 2.0**7)),
    ".cu8": ("<u1", 127.5, 2.0**7),  # 0 to 255 lie around 127.5: pyrtlsdr, RtlSdr.packed_bytes_to_iq
}
_SNR = re.compile(r"snr[_=]?(-?\d+)|(?<![\d.])(-?\d+)\s?dB(?![a-z])", re.IGNORECASE)
_CHECKED_AT_ONCE = 1 << 22


class ComplexFiles(Streamed):
    """Reads `FOLDER/CLASS/...`; each file is a recording from which frames are cut."""

    suffixes = ("/",)

    def recognises(self, path: Path) -> bool:
        """Whether a folder in it holds such a file."""
        return path.is_dir() and any(True for _ in _files(path))

    @contextmanager
    def open(self, path: Path, reading: Reading) -> Iterator[FrameSource]:
        """Open the frames of all files in the order of their names.

        Raises:
            DataError: A file is empty, ends within a sample, or contains NaN.
        """
        segments: list[Segment] = []
        files: list[Path] = []
        skipped: list[str] = []
        for file in _files(path):
            try:
                samples = _opened(file)
                if reading.skip_bad_files:
                    _check_all(samples, file)
            except DataError as error:
                if not reading.skip_bad_files:
                    raise
                skipped.append(str(error))
                continue
            place = file.relative_to(path)
            told = _SNR.findall("/".join(place.parts[1:]))
            snr = int(next(filter(None, told[-1]))) if told else None
            name = str(place)
            segments.append(Segment(name, len(files), place.parts[0], snr, 0, samples.count, None, samples.read))
            files.append(file)
        if not segments:
            raise DataError(f"{path} holds no file that can be read", skipped[0] if skipped else "")
        yield cut(segments, reading, path.name, tuple(files), (), skipped)


def _files(folder: Path) -> Iterator[Path]:
    """Yield complex files below the folders of a folder, sorted."""
    for file in sorted(folder.glob("*/**/*")):
        if file.suffix.lower() in (*_KINDS, ".npy") and file.is_file():
            yield file


@dataclass(frozen=True)
class _Samples:
    count: int
    read: Callable[[int, int], Complex]


def _opened(path: Path) -> _Samples:
    if path.suffix.lower() == ".npy":
        return _array(path)
    kind, shift, scale = _KINDS[path.suffix.lower()]
    dtype = np.dtype(kind)
    size = path.stat().st_size
    if not size:
        raise DataError(f"{path} is empty")
    if size % (2 * dtype.itemsize):
        raise DataError(f"{path} is short: {size} bytes are not whole samples of {2 * dtype.itemsize} bytes")

    def read(first: int, last: int) -> Complex:
        numbers = np.fromfile(path, dtype, 2 * (last - first), offset=2 * first * dtype.itemsize)
        scaled: npt.NDArray[np.float32] = ((numbers - shift) / scale).astype(np.float32)
        return scaled.view(np.complex64)

    return _Samples(size // (2 * dtype.itemsize), read)


def _array(path: Path) -> _Samples:
    try:
        array = npy_file.opened(path)
    except Exception as error:  # a damaged header fails in whatever reads it first
        raise DataError(f"{path} is not a readable .npy file of a plain array: {reason_of(error)}") from error
    if array.ndim != 1 or not np.iscomplexobj(array) or not len(array):
        raise DataError(f"{path} holds {array.dtype} of shape {array.shape}, not complex samples (n,)")
    return _Samples(len(array), lambda first, last: array[first:last].astype(np.complex64))


def _check_all(samples: _Samples, path: Path) -> None:
    """Search for NaN and infinity in advance, since such a file is to be left out."""
    for first in range(0, samples.count, _CHECKED_AT_ONCE):
        finite = np.isfinite(samples.read(first, min(first + _CHECKED_AT_ONCE, samples.count)))
        if not finite.all():
            raise DataError(f"{path}: sample {first + int(np.argmin(finite))} is NaN or infinity")


dataset = ComplexFiles()
