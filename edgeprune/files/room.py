"""Whether a disk is what stopped a library: its own word for that is often another."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from edgeprune.files.run_folder import begun_name, unwritable

_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO})
_OF_PERMISSION = frozenset({errno.EACCES, errno.EPERM})


def blame_disk(error: BaseException, path: Path) -> None:
    """Return if an error has nothing to do with the disk.

    Args:
        error: With those it came from.
        path: What was to be written.

    Raises:
        ConfigError: One of them is the operating system's, which could not write.
    """
    for each in _causes(error):
        if isinstance(each, OSError) and (each.errno in _OF_THE_DISK or _refused_near(each, path)):
            raise unwritable(path, each) from error


def require_room(folder: Path, size_bytes: int, path: Path) -> None:
    """Find out whether so much can be written, for programs that do not tell why they failed.

    Args:
        folder: Where to try; nothing stays there.
        size_bytes: How much.
        path: What was to be written.

    Raises:
        ConfigError: It cannot.
    """
    tried = folder / begun_name(folder / path.name)
    try:
        with tried.open("xb") as file:
            for start in range(0, size_bytes, 1 << 20):
                file.write(bytes(min(1 << 20, size_bytes - start)))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        tried.unlink(missing_ok=True)


def _refused_near(error: OSError, path: Path) -> bool:
    """Whether it is a permission that is missing beside the path; a network's own code may lack others."""
    return error.errno in _OF_PERMISSION and str(error.filename or path).startswith(str(path.parent))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those it came from, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop(0)
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, each.__context__]
