"""NumPy files: .npy arrays and .npz archives of them, checked to contain everything that a header declares."""

import math
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from edgeprune.files import zips
from edgeprune.files.bounds import MalformedError

if TYPE_CHECKING:
    import numpy.typing as npt

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_MOST_AXES = 32
_MOST_EMPTY = 1 << 20  # length of an axis beside one of length 0


def read_archive(path: Path) -> "dict[str, npt.NDArray[Any]]":
    """Read the arrays of an .npz archive by name, with their checksums verified.

    Raises:
        MalformedError: It is not such an archive, or a member of it is damaged.
        ValueError: An array cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
            raise MalformedError("it is a single array")
    with zips.opened(path) as archive:
        return {member.filename.removesuffix(".npy"): _array(archive, member) for member in archive.infolist()}


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> "npt.NDArray[Any]":
    name = f"its member {member.filename!r:.80}"
    try:
        with archive.open(member) as content:
            check_header(content, member.file_size)
            array: npt.NDArray[Any] = np.lib.format.read_array(content, allow_pickle=False)
            if content.read(1):  # only who reads to the end is told of a wrong checksum
                raise MalformedError("it is longer than it declares")
    except MemoryError:
        raise
    except Exception as error:  # zlib, zipfile and numpy raise several kinds
        raise MalformedError(f"{name} is damaged: {error}") from error
    return array


def opened(path: Path) -> "npt.NDArray[Any]":
    """Map the array of an .npy file without reading it into memory.

    Raises:
        MalformedError: The file is truncated.
        ValueError: It cannot be read.
        OSError: It cannot be opened.
    """
    with path.open("rb") as file:
        check_header(file, path.stat().st_size)
    array: npt.NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    return array


def check_header(file: IO[bytes], size_bytes: int) -> None:
    """Refuse an array that is larger than its file, or of Python objects; rewinds the file to its beginning.

    Args:
        file: Seekable file at the beginning of the .npy content.
        size_bytes: Size of that content.

    Raises:
        MalformedError: The array is one of these.
        ValueError: The header cannot be read.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise MalformedError(f"version {version[0]}.{version[1]} of .npy is not read; it is 1.0 or 2.0")
    shape, _, dtype = _HEADERS[version](file)
    refuse_missing(shape, dtype, size_bytes - file.tell())
    file.seek(0)


def refuse_missing(shape: tuple[int, ...], dtype: np.dtype[Any], there_bytes: int) -> None:
    """Refuse an array of Python objects, or one that is truncated.

    Raises:
        MalformedError: The array is one of these.
    """
    if dtype.hasobject:
        raise MalformedError("Object arrays are pickles, which are not read")
    if len(shape) > _MOST_AXES or any(length < 0 for length in shape):
        raise MalformedError(f"an array cannot have the shape {shape!r:.60}")
    items = math.prod(shape)
    if items * max(dtype.itemsize, 1) > there_bytes or max(shape, default=0) > max(there_bytes, _MOST_EMPTY):
        raise MalformedError(f"it declares {shape!r:.60} of {dtype}, and {there_bytes} bytes are there")
