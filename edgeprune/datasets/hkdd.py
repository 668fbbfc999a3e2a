"""HKDD_AMC12, the public sibling of Sig2019-12: a MATLAB file with XTrainIQ or XTestIQ (2, 512, 1, N), without labels.

Labels and SNRs follow from the order of the frames: SNRs -20 to 20 dB in steps of 2, at each all classes with equally
many frames (github.com/yexijoe/HKDD). MATLAB stores a file of version 7.3 as HDF5, with the axes reversed.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeprune.datasets import _hdf5
from edgeprune.datasets._source import Source, Streamed
from edgeprune.errors import DataError, reason_of
from edgeprune.files.bounds import MalformedError, refuse_inflated
from edgeprune.frames.labelled import checked_table
from edgeprune.protocols import FrameSource
from edgeprune.records.frames import FrameTable, Reading

CLASSES = (
    *("BPSK", "QPSK", "8PSK", "OQPSK", "2FSK", "4FSK", "8FSK"),
    *("16QAM", "32QAM", "64QAM", "4PAM", "8PAM"),
)
SNRS = tuple(range(-20, 21, 2))
_NAMES = ("XTrainIQ", "XTestIQ")
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_KINDS = ("single", "double", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_V5_HEADER_BYTES = 128
_COMPRESSED = 15  # miCOMPRESSED, MAT-File Format, table 1-1
_CHUNK = 1 << 20
_HDF5_AT = 512  # MATLAB puts a header of its own before the HDF5


class Hkdd(Streamed):
    """Reads `HKDD_AMC12_train.mat` and `HKDD_AMC12_test.mat`."""

    suffixes = (".mat",)

    def recognises(self, path: Path) -> bool:
        """Whether the file has the suffix."""
        return path.suffix.lower() == ".mat"

    @contextmanager
    def open(self, path: Path, reading: Reading) -> Iterator[FrameSource]:  # noqa: ARG002 (frames are cut already)
        """Open the frames in the order of the file; a file of version 7.3 is read a few frames at a time.

        Raises:
            DataError: Truncated, no such array, or a number of frames that differs between classes and SNRs.
        """
        if _is_hdf5(path):
            with _hdf5.opened(path) as file:
                name = _name_in(set(file), path)
                (samples,) = _hdf5.arrays(file, path, name)
                shape = samples.shape
                if len(shape) != 4 or shape[1] != 1 or shape[3] != 2:
                    raise DataError(f"{path}: {name} has shape {shape[::-1]}, not (2, L, 1, N)")
                table = _table(shape[0], shape[2], path)
                arrange = lambda block: block[:, 0].swapaxes(1, 2)  # noqa: E731 (one expression)
                yield Source(table, (path,), _hdf5.block_of(samples, path, arrange))
        else:
            frames = _loaded(path)
            yield Source(_table(len(frames), frames.shape[2], path), (path,), lambda start, stop: frames[start:stop])


def _is_hdf5(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if file.read(len(_HDF5_MAGIC)) == _HDF5_MAGIC:
                return True
            file.seek(_HDF5_AT)
            return file.read(len(_HDF5_MAGIC)) == _HDF5_MAGIC
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def _name_in(found: set[str], path: Path) -> str:
    for name in _NAMES:
        if name in found:
            return name
    raise DataError(f"{path} lacks {' and '.join(_NAMES)}; it holds {', '.join(sorted(found)) or 'nothing'}")


def _loaded(path: Path) -> npt.NDArray[np.generic]:
    """Read the frames (N, 2, L) of a file before version 7.3."""
    from scipy.io import loadmat, whosmat  # slow to load, and rarely needed

    try:
        refuse_inflated(_inflated_bytes(path), path.stat().st_size, "its content")
        told = whosmat(path)
        name = _name_in({name for name, _, _ in told}, path)
        for each, shape, kind in told:
            if each == name and kind not in _KINDS:
                raise MalformedError(f"{name} is a {kind} of shape {shape}, not an array of numbers")
        samples = loadmat(path, variable_names=[name], struct_as_record=True)[name]
    except DataError:
        raise
    except Exception as error:  # a damaged file fails in whatever reads it first
        raise DataError(f"{path} is truncated or not a MATLAB file: {reason_of(error)}", "Fetch it again") from error
    if samples.ndim == 3:  # MATLAB drops a last axis of 1
        samples = samples[..., None]
    if samples.ndim != 4 or samples.shape[0] != 2 or samples.shape[2] != 1:
        raise DataError(f"{path}: {name} has shape {samples.shape}, not (2, L, 1, N)")
    frames: npt.NDArray[np.generic] = samples[:, :, 0].transpose(2, 0, 1)
    return frames


def _inflated_bytes(path: Path) -> int:
    """Size of a file before version 7.3 with its compressed elements inflated; before version 5, its own size.

    Raises:
        MalformedError: An element is truncated, or far larger than the file.
    """
    size = made = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_V5_HEADER_BYTES)
        if len(head) < _V5_HEADER_BYTES or head[-2:] not in (b"IM", b"MI"):
            return size
        tag = struct.Struct("<2I" if head[-2:] == b"IM" else ">2I")
        while len(words := file.read(tag.size)) == tag.size:
            kind, length = tag.unpack(words)
            if length > size - file.tell():
                raise MalformedError(f"an element of {length} bytes at byte {file.tell()} is cut off")
            end = file.tell() + length
            if kind == _COMPRESSED:
                inflater = zlib.decompressobj()
                while chunk := inflater.unconsumed_tail or file.read(min(end - file.tell(), _CHUNK)):
                    made += len(inflater.decompress(chunk, _CHUNK))
                    refuse_inflated(made, size, "its content")
                    if inflater.eof:
                        break
            file.seek(end)
    return made


def _table(count: int, length: int, path: Path) -> FrameTable:
    cells = len(CLASSES) * len(SNRS)
    if not count or count % cells:
        raise DataError(
            f"{path} holds {count} frames, which {len(CLASSES)} classes at {len(SNRS)} SNRs do not divide: "
            "the labels follow from the order of all of them"
        )
    per_cell = count // cells
    labels = np.tile(np.arange(len(CLASSES)).repeat(per_cell), len(SNRS))
    snrs = np.repeat(SNRS, per_cell * len(CLASSES))
    return checked_table(count, (2, length), CLASSES, labels, snrs, source=path.name)


dataset = Hkdd()
