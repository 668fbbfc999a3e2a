"""CSV files of numbers: rows of complex samples, read in order, and columns of whole numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from edgeprune.errors import DataError, reason_of

_CHUNK = 1 << 22
_MOST_ROW_BYTES = 1 << 22  # of one frame; as text it takes twenty times that
_MOST_LABELS_BYTES = 1 << 24  # of the labels of all frames; as text in memory they take thirty times that


class ComplexRows:
    """Rows of equally many complex numbers "a+bi", separated by commas.

    Args:
        path: Path of the file.
        file: Open file.
        count: Number of its rows.
        length: Numbers in the first of them.
    """

    def __init__(self, path: Path, file: BinaryIO, count: int, length: int) -> None:
        self._path, self._file, self._count, self.length = path, file, count, length
        self._next = 0

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator["ComplexRows"]:
        """Open a file for use within a `with` block.

        Raises:
            DataError: It cannot be read, or is empty.
        """
        try:
            with path.open("rb") as file:
                first = file.readline(_MOST_ROW_BYTES + 1)
                if len(first) > _MOST_ROW_BYTES:
                    raise DataError(f"{path}: line 1 is longer than {_MOST_ROW_BYTES} bytes; it is no frame")
                count = (1 if first.strip() else 0) + _lines(file)
                file.seek(0)
                if not count:
                    raise DataError(f"{path} is empty")
                yield cls(path, file, count, first.count(b",") + 1)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error

    def __len__(self) -> int:
        return self._count

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Read rows start to stop as frames (n, 2, L). Reading backwards starts again at the beginning of the file.

        Raises:
            DataError: A number is broken or a row too short or long; the message has its line and column.
        """
        if start < self._next:
            self._file.seek(0)
            self._next = 0
        for _ in range(start - self._next):
            self._line()
        self._next = stop
        iq = np.empty((stop - start, 2, self.length), dtype=np.float32)
        for row in range(stop - start):
            numbers = self._numbers(self._line(), start + row + 1)
            iq[row, 0], iq[row, 1] = numbers.real, numbers.imag
        return iq

    def _line(self) -> bytes:
        line = self._file.readline(_MOST_ROW_BYTES + 1)
        if len(line) > _MOST_ROW_BYTES:
            raise DataError(f"{self._path}: a line is longer than {_MOST_ROW_BYTES} bytes; it is no frame")
        return line

    def _numbers(self, line: bytes, place: int) -> npt.NDArray[np.complex128]:
        try:
            fields = line.decode("ascii").strip().split(",")
        except UnicodeDecodeError as error:
            raise DataError(f"{self._path}: line {place} is not plain text") from error
        if len(fields) != self.length:
            raise DataError(f"{self._path}: line {place} holds {len(fields)} numbers, line 1 holds {self.length}")
        try:
            return np.array([complex(field.replace("i", "j")) for field in fields])
        except ValueError as error:
            column = next(index for index, field in enumerate(fields) if not _is_complex(field))
            raise DataError(
                f"{self._path}: line {place}, number {column + 1}: {fields[column]!r:.40} is not a complex number a+bi"
            ) from error


def whole_numbers(path: Path) -> npt.NDArray[np.int64]:
    """Read the whole numbers of a file, one a line, or all in one line.

    Raises:
        DataError: It cannot be read, or a line is not a whole number.
    """
    try:
        if path.stat().st_size > _MOST_LABELS_BYTES:
            raise DataError(f"{path} is larger than {_MOST_LABELS_BYTES} bytes; it is no file of labels or SNRs")
        lines = path.read_text(encoding="ascii").split("\n")
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}", "Labels and SNRs are in files beside the data") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {reason_of(error)}") from error
    if len([line for line in lines if line.strip()]) == 1:
        lines = lines[0].split(",")
    while lines and not lines[-1].strip():
        lines.pop()
    numbers = np.empty(len(lines), dtype=np.int64)
    for index, line in enumerate(lines):
        try:
            value = float(line)
            numbers[index] = int(value)
        except (ValueError, OverflowError) as error:
            raise DataError(f"{path}: line {index + 1}: {line.strip()!r:.40} is not a whole number") from error
        if numbers[index] != value:
            raise DataError(f"{path}: line {index + 1}: {line.strip()!r:.40} is not a whole number")
    return numbers


def _lines(file: BinaryIO) -> int:
    """Number of lines from here to the end; the last may lack its line break."""
    count, last = 0, b"\n"
    while chunk := file.read(_CHUNK):
        count += chunk.count(b"\n")
        last = chunk[-1:]
    return count + (last != b"\n")


def _is_complex(field: str) -> bool:
    try:
        complex(field.replace("i", "j"))
    except ValueError:
        return False
    return True
