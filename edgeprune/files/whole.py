"""Files that are whole or absent: written under another name, renamed when complete, and never through a link."""

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgeprune.errors import ConfigError
from edgeprune.files.run_folder import begun_name, root_of, unwritable

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_BY_HANDLE = os.open in os.supports_dir_fd and os.mkdir in os.supports_dir_fd


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file so that a reader sees the old one or the whole new one, never a part of it.

    Inside a run folder no link on the way is followed; a link in the place of the file itself is replaced.

    Raises:
        ConfigError: The path cannot be written: no permission, no space, not a folder, a link on the way.
    """
    try:
        with _opened(path, make=True) as place:
            begun = begun_name(path)
            handle = place.open(begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                with os.fdopen(handle, "wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(place.at(begun), place.at(path.name), src_dir_fd=place.handle, dst_dir_fd=place.handle)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(place.at(begun), dir_fd=place.handle)
    except OSError as error:
        raise unwritable(path, error) from error


@contextlib.contextmanager
def begun_folder(path: Path) -> Iterator[Path]:
    """Create a folder for unfinished files in the folder `path`, removed afterwards.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        with _opened(path / "any", make=True) as place:
            begun = begun_name(path / "any")
            os.mkdir(place.at(begun), 0o700, dir_fd=place.handle)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield path / begun
    finally:
        shutil.rmtree(path / begun, ignore_errors=True)


def append_text(path: Path, text: str) -> None:
    """Append text to a file; characters that UTF-8 does not have are written as escapes.

    Raises:
        ConfigError: It cannot be written, or is a link.
    """
    try:
        with _opened(path) as place:
            handle = place.open(path.name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            with os.fdopen(handle, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
    except OSError as error:
        raise unwritable(path, error) from error


def remove(path: Path) -> None:
    """Remove a file that edgeprune made, if it exists; inside a run folder never through a link.

    Raises:
        ConfigError: It cannot be removed.
    """
    with contextlib.suppress(FileNotFoundError):
        try:
            with _opened(path) as place:
                os.unlink(place.at(path.name), dir_fd=place.handle)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise unwritable(path, error) from error


def own_folder(path: Path) -> Path:
    """Create a folder inside a run folder, if it is missing.

    Raises:
        ConfigError: It cannot be created, or a link is on the way.
    """
    try:
        with _opened(path / "any", make=True):
            return path
    except OSError as error:
        raise unwritable(path, error) from error


def writable(path: Path) -> None:
    """Check, before long work, that its result can be written; leaves nothing.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # a name that is too long ends it here
        folder = next(each for each in (path.parent, *path.parent.parents) if each.exists())
        with _opened(folder / path.name), tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable(path, error) from error
    if path.is_dir():
        raise ConfigError(f"cannot write {path}: it is a folder", "Name a file")


@dataclass(frozen=True)
class _Place:
    """Folder by its handle or, where the operating system does not support that, by its path."""

    folder: Path
    handle: int | None

    def at(self, name: str) -> str:
        """Name of a file in it for functions that take the handle as well."""
        return name if self.handle is not None else str(self.folder / name)

    def open(self, name: str, flags: int) -> int:
        """Open a file in it, but never through a link."""
        _refuse_link(self.at(name), self.handle)
        return os.open(self.at(name), flags | _NO_LINK, 0o666, dir_fd=self.handle)


@contextlib.contextmanager
def _opened(path: Path, make: bool = False) -> Iterator[_Place]:
    """Open the folder of a file. Below a run folder, every folder on the way must be a folder and not a link.

    Args:
        path: Path of the file.
        make: Create missing folders.

    Raises:
        OSError: It does not exist, or a link is on the way.
    """
    folder, root = Path(os.path.abspath(path)).parent, root_of(path)  # noqa: PTH100 (resolve follows links)
    if root is None:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        root = folder
    inner = folder.relative_to(root).parts
    if not _BY_HANDLE:
        yield _Place(_stepped(root, inner, make), None)
        return
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in inner:
            handle = _entered(handle, name, make)
        yield _Place(folder, handle)
    finally:
        os.close(handle)


def _entered(handle: int, name: str, make: bool) -> int:
    """Open a folder inside another by handle, and close the other's."""
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=handle)
    _refuse_link(name, handle)
    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK, dir_fd=handle)
    os.close(handle)
    return inner


def _refuse_link(name: str, handle: int | None) -> None:
    """Refuse a link before it is followed: the operating system would report too many levels or a missing folder."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISLNK(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, f"{Path(name).name} is a symbolic link, which is not followed")


def _stepped(folder: Path, names: tuple[str, ...], make: bool) -> Path:
    for name in names:
        folder /= name
        if make:
            folder.mkdir(exist_ok=True)
        _refuse_link(str(folder), None)
    return folder


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
