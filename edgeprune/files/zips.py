"""Zip archives (.npz, .pt, .pt2): one directory, sizes that fit the file, and every member verified by its checksum."""

import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from edgeprune.files.bounds import MalformedError, refuse_inflated

_END = struct.Struct("<4s4H2LH")  # APPNOTE.TXT 4.3.16, then 4.3.15 and 4.3.14
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_MOST_DIRECTORY_BYTES = 32 << 20
_CHUNK = 1 << 20
_ENCRYPTED = 1
_KINDS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}


@contextmanager
def opened(path: Path, *, stored: bool = False) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose members may be read; reading one to its end verifies its checksum.

    Args:
        path: The file.
        stored: Refuse compressed members.

    Raises:
        MalformedError: Its directory is not where its end record says, a name occurs twice, or the members do not fit.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start, count = _directory(file, size)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if archive.start_dir != start or len(members) != count:
                raise MalformedError("it has two directories")
            if len({member.filename for member in members}) < count:
                raise MalformedError("it holds two members of one name")
            for member in members:
                _check_kind(member, stored)
            if sum(member.compress_size for member in members) > size:
                raise MalformedError("its members overlap")
            refuse_inflated(sum(member.file_size for member in members), size, "its content")
            yield archive


def check(path: Path, *, stored: bool = False) -> dict[str, int]:
    """Read every member once; returns their sizes in bytes by name.

    Args:
        path: The file.
        stored: Refuse compressed members.

    Raises:
        MalformedError: As from `opened`, or a member does not match its checksum.
    """
    with opened(path, stored=stored) as archive:
        for member in archive.infolist():
            read_through(archive, member)
        return {member.filename: member.file_size for member in archive.infolist()}


def read_through(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Read a member to its end.

    Raises:
        MalformedError: It is truncated or does not match its checksum.
    """
    try:
        with archive.open(member) as content:
            left = member.file_size
            while chunk := content.read(_CHUNK):
                left -= len(chunk)
    except Exception as error:  # zlib and zipfile raise several kinds
        raise MalformedError(f"its member {member.filename!r:.80} is damaged: {error}") from error
    if left:
        raise MalformedError(f"its member {member.filename!r:.80} is cut off")


def _check_kind(member: zipfile.ZipInfo, stored: bool) -> None:
    if member.flag_bits & _ENCRYPTED:
        raise MalformedError(f"its member {member.filename!r:.80} is encrypted")
    if member.compress_type not in _KINDS:
        raise MalformedError(f"its member {member.filename!r:.80} is compressed by another method than deflate")
    plain = member.compress_type == zipfile.ZIP_STORED
    if plain and member.compress_size != member.file_size:
        raise MalformedError(f"its member {member.filename!r:.80} has two sizes")
    if stored and not plain:
        raise MalformedError(f"its member {member.filename!r:.80} is compressed, which torch never does")


def _directory(file: IO[bytes], size: int) -> tuple[int, int]:
    """Locate the directory and count its members, by the one end record that every reader finds."""
    if size < _END.size:
        raise MalformedError("it is too short for a zip archive")
    end_at = size - _END.size
    magic, _, _, count, _, length, start, comment = _read(file, _END, end_at)
    if magic != b"PK\x05\x06" or comment:
        raise MalformedError("it is cut off: it does not end as a zip archive does")
    if end_at >= _LOCATOR.size + _END64.size:
        locator, _, end64_at, _ = _read(file, _LOCATOR, end_at - _LOCATOR.size)
        if locator == b"PK\x06\x07":
            if end64_at != end_at - _LOCATOR.size - _END64.size:
                raise MalformedError("the end of its directory is not where it says")
            end_at = end64_at
            _, _, _, _, _, _, _, count64, length64, start64 = _read(file, _END64, end64_at)
            pairs = ((count, count64, 0xFFFF), (length, length64, 0xFFFFFFFF), (start, start64, 0xFFFFFFFF))
            if any(small not in (large, most) for small, large, most in pairs):
                raise MalformedError("the two ends of its directory contradict one another")
            count, length, start = count64, length64, start64
    if start + length != end_at:
        raise MalformedError("its directory is not where it says")
    if length > _MOST_DIRECTORY_BYTES:
        raise MalformedError(f"its directory of {length} bytes is larger than {_MOST_DIRECTORY_BYTES}")
    return start, count


def _read(file: IO[bytes], record: struct.Struct, at: int) -> tuple[Any, ...]:
    file.seek(at)
    return record.unpack(file.read(record.size))
