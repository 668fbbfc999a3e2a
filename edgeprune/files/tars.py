"""Tar archives: plain files and folders only, each fully contained in the file.

`tarfile` trusts the headers: a sparse file of 1 TB becomes 1 TB of zeros, and a broken sparse map is read for ever. The
headers are therefore checked before it opens the archive.
"""

import re
import tarfile
from pathlib import Path

from edgeprune.files.bounds import Bounded, MalformedError

_BLOCK = 512
_MOST_MEMBERS = 100_000
_MOST_HEADER_BYTES = 1 << 16  # of an extended header or a long name
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME)
_NAMES = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
_RECORD = re.compile(rb"\d+ ([^=\n]+)=([^\n]*)\n")


def check(path: Path) -> None:
    """Refuse an archive that contains anything but plain files and folders, or that is truncated.

    Raises:
        MalformedError: It is one of these, is compressed, or is not a tar archive.
        OSError: It cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as opened:
        file = Bounded(opened, size)
        at = count = 0
        larger: int | None = None  # size of the next member where it needs more digits than a header has
        while (header := file.read(_BLOCK)).strip(b"\0"):
            member = _member(header, at)
            count += 1
            if count > _MOST_MEMBERS:
                raise MalformedError(f"it holds more than {_MOST_MEMBERS} members")
            extended = member.type in _EXTENDED
            length = 0 if member.isdir() else member.size if extended or larger is None else larger
            if extended and length > _MOST_HEADER_BYTES:
                raise MalformedError(f"the header at byte {at} would have {length} bytes")
            at += _BLOCK
            if not 0 <= length <= size - at:
                raise MalformedError(f"it is cut off within {member.name!r:.80}")
            larger = _pax_size(member, file.read(length), larger) if extended else None
            at += -(-length // _BLOCK) * _BLOCK
            file.seek(at)
        if not count:
            raise MalformedError("it holds nothing")


def _member(header: bytes, at: int) -> tarfile.TarInfo:
    """Parse the member of a header; refused unless it is a plain one."""
    try:
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise MalformedError(f"there is no header at byte {at}: {error}") from error
    if member.type not in (*_PLAIN, *_EXTENDED, tarfile.DIRTYPE):
        kind = _NAMES.get(member.type, f"a member of type {member.type!r}")
        raise MalformedError(f"{member.name!r:.80} is {kind}, and only plain files are read")
    return member


def _pax_size(member: tarfile.TarInfo, content: bytes, known: int | None) -> int | None:
    """Read the size that an extended header gives to the next member.

    Raises:
        MalformedError: It makes that member sparse, or its size is not a number.
    """
    if member.type == tarfile.GNUTYPE_LONGNAME:
        return known
    for key, value in _RECORD.findall(content):
        if key.startswith(b"GNU.sparse"):
            raise MalformedError("it holds a sparse file, and only plain files are read")
        if key == b"size":
            if member.type == tarfile.XGLTYPE or not re.fullmatch(rb"\d{1,18}", value):
                raise MalformedError(f"an extended header gives the size {value[:20]!r}")
            known = int(value)
    return known
