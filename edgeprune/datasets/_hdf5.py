"""HDF5 files: opened, their arrays found and read, and every way in which that fails told in a line."""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from edgeprune.errors import DataError, reason_of
from edgeprune.store import unwritable

SUFFIXES = (".h5", ".hdf5")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """A file to read from.

    Raises:
        DataError: It is truncated or no HDF5 file.
    """
    try:
        file = h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{path} is truncated or not an HDF5 file: {reason_of(error)}", "Fetch it again") from error
    with file:
        yield file


def keys(path: Path) -> set[str]:
    """Names of what is at the top of a file.

    Raises:
        DataError: It is truncated or no HDF5 file.
    """
    with opened(path) as file:
        return set(file)


def attribute(path: Path, name: str) -> str:
    """A text that the file says of itself, '' when it does not.

    Raises:
        DataError: It is truncated or no HDF5 file.
    """
    with opened(path) as file:
        value = file.attrs.get(name, "")
        return value if isinstance(value, str) else ""


def arrays(file: h5py.File, path: Path, *names: str) -> list[h5py.Dataset]:
    """The arrays of these names.

    Raises:
        DataError: One is missing, or is not an array.
    """
    missing = [name for name in names if not isinstance(file.get(name), h5py.Dataset)]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}; it holds {', '.join(sorted(file)) or 'nothing'}")
    return [file[name] for name in names]


def rows(array: h5py.Dataset, path: Path, start: int = 0, stop: int | None = None) -> npt.NDArray[np.generic]:
    """Rows of an array.

    Raises:
        DataError: The file is damaged there.
    """
    try:
        found: npt.NDArray[np.generic] = array[start:stop]
    except (OSError, RuntimeError, ValueError) as error:
        place = f"{array.name.lstrip('/')}[{start}:{len(array) if stop is None else stop}]"
        raise DataError(f"{path}: {place} cannot be read: {reason_of(error)}", "Fetch it again") from error
    return found


def same_length(path: Path, *named: h5py.Dataset) -> None:
    """Refuse arrays that differ in their number of rows.

    Raises:
        DataError: They do, or one has none.
    """
    if any(not array.shape for array in named) or len({len(array) for array in named}) > 1:
        lengths = ", ".join(f"{array.name.lstrip('/')} {array.shape}" for array in named)
        raise DataError(f"{path}: arrays differ in length: {lengths}")


def one_hot(array: h5py.Dataset, path: Path, classes: int) -> npt.NDArray[np.int64]:
    """The class of each row of a one-hot array (N, classes), read in blocks.

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
    """Write a file so that a reader sees the old one or the whole new one, never a part.

    Raises:
        ConfigError: The place cannot be written.
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
    """Reads rows of an array and arranges them as frames (n, 2, L)."""
    return lambda start, stop: arrange(rows(array, path, start, stop))
