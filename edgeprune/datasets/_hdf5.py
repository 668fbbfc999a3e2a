"""HDF5 files: opening them, finding and reading their arrays, with every failure reported in one line.

HDF5 can replace an array by the content of any other file: by links out of the file, external storage and virtual
arrays. All are refused by name, so that only the file that was named and hashed is read.

Anything that could make the library crash or exhaust memory is first tried in a limited process (`_hdf5_trial`).
"""

import contextlib
import functools
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from edgeprune.datasets import _hdf5_trial
from edgeprune.errors import DataError, reason_of
from edgeprune.files.bounds import MalformedError, allowed_bytes, claimed, refuse_inflated
from edgeprune.files.run_folder import unwritable

SUFFIXES = (".h5", ".hdf5")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading.

    Raises:
        DataError: It is truncated, is not HDF5, or takes far more memory or time than its size justifies.
    """
    try:
        if h5py.is_hdf5(path):
            told = path.stat()
            refuse_unbounded(path, told.st_ino, told.st_size, told.st_mtime_ns)
        file = h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{path} is truncated or not an HDF5 file: {reason_of(error)}", "Fetch it again") from error
    with file:
        yield file


@functools.lru_cache(maxsize=64)
def refuse_unbounded(path: Path, _inode: int, size: int, _changed_ns: int) -> None:
    """Refuse a file that the library cannot read within bounds, or on which it crashes; checked once for each state.

    Raises:
        DataError: It is such a file.
    """
    done = tried(path, allowed_bytes(size))
    if done.returncode < 0:
        raise DataError(f"{path} is damaged: the HDF5 library crashed or found no end in reading it", "Fetch it again")
    if done.returncode > 0:
        what = "truncated or not an HDF5 file" if done.returncode == _hdf5_trial.NOT_OPENED else "damaged"
        raise DataError(f"{path} is {what}: {done.stderr.strip():.200}", "Fetch it again")


def tried(path: Path, allowed: int) -> subprocess.CompletedProcess[str]:
    """Try to read a file in a separate process, which may take `allowed` bytes more than it starts with."""
    return subprocess.run(  # noqa: S603 - this Python, our own program and one path, no shell
        [sys.executable, "-I", _hdf5_trial.__file__, str(path.absolute()), str(allowed)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def keys(path: Path) -> set[str]:
    """Names of the top-level members of a file.

    Raises:
        DataError: It is truncated or no HDF5 file.
    """
    with opened(path) as file, claimed(path, "a readable HDF5 file", DataError, "Fetch it again"):
        return set(file)


def attribute(path: Path, name: str) -> str:
    """Read a text attribute of the file, '' if it is missing.

    Raises:
        DataError: It is truncated or no HDF5 file.
    """
    with opened(path) as file, claimed(path, "a readable HDF5 file", DataError, "Fetch it again"):
        return text(file, name)


def text(file: h5py.File, name: str) -> str:
    """Read a text attribute of an open file, '' if it is missing."""
    if name not in file.attrs or file.attrs.get_id(name).shape != ():
        return ""
    value = file.attrs[name]
    return value if isinstance(value, str) else ""


def arrays(file: h5py.Group, path: Path, *names: str) -> list[h5py.Dataset]:
    """Find the arrays of these names; each must be of numbers or text and in the file itself.

    Raises:
        DataError: One is missing, is not an array, or is in another file; or together they declare far more than the
            file can hold.
    """
    with claimed(path, "a readable HDF5 file", DataError, "Fetch it again"):
        found = {name: member(file, path, name) for name in names}
        missing = [name for name, array in found.items() if not isinstance(array, h5py.Dataset)]
        if missing:
            raise DataError(f"{path} lacks {', '.join(missing)}; it holds {', '.join(sorted(file)) or 'nothing'}")
        refuse_declared(path, *found.values())
        return list(found.values())


def optional(file: h5py.Group, path: Path, *names: str) -> dict[str, npt.NDArray[np.generic]]:
    """Read all existing arrays of these names, whole.

    Raises:
        DataError: As from `arrays`, or the file is damaged there.
    """
    return {name: rows(arrays(file, path, name)[0], path) for name in names if name in file}


def member(group: h5py.Group, path: Path, name: str) -> h5py.Group | h5py.Dataset | h5py.Datatype | None:
    """Find a member of a group by name, or None; it and all on the way to it must be in the file itself.

    Raises:
        DataError: It is in another file.
    """
    found = group
    for part in name.split("/"):
        link = found.get(part, getlink=True) if isinstance(found, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            to = f" to {getattr(link, 'filename', '')}:{link.path}" if hasattr(link, "path") else ""
            raise _elsewhere(path, f"{name} is a {type(link).__name__}{to}")
        found = found[part]
    if isinstance(found, h5py.Dataset):
        if found.external:
            raise _elsewhere(path, f"the samples of {name} are in {', '.join(str(each[0]) for each in found.external)}")
        if found.is_virtual:
            sources = sorted({str(each.file_name) for each in found.virtual_sources()})
            raise _elsewhere(path, f"{name} is a virtual array of {', '.join(sources)}")
    return found


def refuse_declared(path: Path, *found: h5py.Dataset) -> None:
    """Refuse arrays that are neither numbers nor text, or would take far more memory than their file.

    Raises:
        MalformedError: They are.
    """
    names = ", ".join(array.name.lstrip("/") for array in found)
    refuse_inflated(sum(map(_made_bytes, found)), path.stat().st_size, names)


def _elsewhere(path: Path, what: str) -> DataError:
    return DataError(
        f"{path}: {what:.200}; what is not in the file itself is not read",
        "Copy the arrays into one file",
    )


def _made_bytes(array: h5py.Dataset) -> int:
    """Memory of an array when it is read, at least as float32."""
    if array.dtype.kind not in "biufcSO" or (array.dtype.kind == "O" and h5py.check_string_dtype(array.dtype) is None):
        raise MalformedError(f"{array.name} holds {array.dtype}, neither numbers nor text")
    items: int = array.size or 0
    return items * max(int(array.dtype.itemsize), 4)


def rows(array: h5py.Dataset, path: Path, start: int = 0, stop: int | None = None) -> npt.NDArray[np.generic]:
    """Read rows of an array.

    Raises:
        DataError: The file is damaged there.
    """
    try:
        found: npt.NDArray[np.generic] = array[start:stop]
    except Exception as error:  # a damaged file fails in whatever reads it first
        place = f"{array.name.lstrip('/')}[{start}:{len(array) if stop is None else stop}]"
        raise DataError(f"{path}: {place} cannot be read: {reason_of(error)}", "Fetch it again") from error
    return found


def same_length(path: Path, *named: h5py.Dataset) -> None:
    """Refuse arrays that differ in their number of rows.

    Raises:
        DataError: They differ, or one has none.
    """
    if any(not array.shape for array in named) or len({len(array) for array in named}) > 1:
        lengths = ", ".join(f"{array.name.lstrip('/')} {array.shape}" for array in named)
        raise DataError(f"{path}: arrays differ in length: {lengths}")


def one_hot(array: h5py.Dataset, path: Path, classes: int) -> npt.NDArray[np.int64]:
    """Read the class of each row of a one-hot array (N, classes), in blocks.

    Raises:
        DataError: Another number of columns, or a row that is not a single 1 among zeros.
    """
    name = array.name.lstrip("/")
    if array.ndim != 2 or array.shape[1] != classes:
        raise DataError(f"{path}: {name} has shape {array.shape}, not (N, {classes}): {classes} classes are known")
    labels = np.empty(len(array), dtype=np.int64)
    for start in range(0, len(array), 1 << 17):
        block = rows(array, path, start, min(start + (1 << 17), len(array)))
        wrong = ((block != 0) & (block != 1)).any(axis=1) | ((block != 0).sum(axis=1) != 1)
        if wrong.any():
            bad = int(np.argmax(wrong))
            raise DataError(
                f"{path}: row {start + bad} of {name} is not one-hot: {int((block[bad] != 0).sum())} of its "
                f"{classes} values are not zero"
            )
        labels[start : start + len(block)] = block.argmax(axis=1)
    return labels


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[h5py.File]:
    """Write a file so that a reader sees the old one or the whole new one, never a part of it.

    Raises:
        ConfigError: The path cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        with h5py.File(temporary, "w") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


Arrange = Callable[[npt.NDArray[np.generic]], npt.NDArray[np.generic]]


def block_of(array: h5py.Dataset, path: Path, arrange: Arrange) -> Callable[[int, int], npt.NDArray[np.generic]]:
    """Build a function that reads rows of an array and arranges them as frames (n, 2, L)."""
    return lambda start, stop: arrange(rows(array, path, start, stop))
