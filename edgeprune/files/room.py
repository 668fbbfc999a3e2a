"""Detection of a full or unwritable disk as the cause of a library's error, whose message often hides it."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from edgeprune.files.run_folder import begun_name, unwritable

_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO})
_OF_PERMISSION = frozenset({errno.EACCES, errno.EPERM})


def blame_disk(error: BaseException, path: Path) -> None:
    """Return if an error is unrelated to the disk.

    Args:
        error: Error with its causes.
        path: Path that was to be written.

    Raises:
        ConfigError: The error or one of its causes is the operating system's, which could not write.
    """
    for each in _causes(error):
        if isinstance(each, OSError) and (each.errno in _OF_THE_DISK or _refused_near(each, path)):
            raise unwritable(path, each) from error


def require_room(folder: Path, size_bytes: int, path: Path) -> None:
    """Check that a number of bytes can be written, for programs that do not report why they failed.

    Args:
        folder: Folder for the trial; nothing remains there.
        size_bytes: Number of bytes.
        path: Path that was to be written.

    Raises:
        ConfigError: They cannot be written.
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
    """Whether it is a missing permission beside the path; a network's own code may lack others."""
    return error.errno in _OF_PERMISSION and str(error.filename or path).startswith(str(path.parent))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop(0)
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, each.__context__]
