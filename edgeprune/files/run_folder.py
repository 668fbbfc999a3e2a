"""Manifest of a folder that edgeprune works in, and the removal of unfinished files there.

`edgeprune-run.json` holds a random id. Everything written in the folder starts under a name with that id and is renamed
when it is whole. Leftovers of a killed process are thus recognized by name, and nothing else is ever removed.
"""

import contextlib
import json
import os
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from edgeprune.errors import ConfigError

MANIFEST = "edgeprune-run.json"
SCHEMA = "edgeprune-run/1"
_ID = re.compile(r"[0-9a-f]{32}")
_OURS = re.compile(rb'"schema"\s*:\s*"edgeprune-[a-z]+/|"producer"\s*:\s*"edgeprune ')
_HEAD_BYTES = 4096
_RECORDS = ("[0-9][0-9]-*.json", "report.json", "compare.json", "manifest.json")
_WITHIN = ("", "cells/*/", "baselines/*/", "judged/*/", "trials/*/")
_SHOWN = 3


def unwritable(path: Path, error: OSError) -> ConfigError:
    """Error for a path that cannot be written."""
    reason = error.strerror or error
    return ConfigError(f"cannot write {path}: {reason}", "Choose another place with `out`, or make room")


def refuse_foreign(folder: Path, *, known: tuple[str, ...] = ()) -> None:
    """Refuse to work in a folder that holds something else; changes nothing.

    Args:
        folder: Working folder; it need not exist.
        known: File names that identify a folder without manifest and records.

    Raises:
        ConfigError: It is not a folder, cannot be read, or holds files that do not belong to a run.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except FileNotFoundError:
        return
    except OSError as error:
        raise unwritable(folder, error) from error
    if not names or any(_is_file(folder / name) for name in (MANIFEST, *known)) or _has_records(folder):
        return
    shown = ", ".join(repr(name) for name in names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    raise ConfigError(
        f"{folder} is not empty and not a folder of an earlier run: it holds {shown}",
        "Name a folder with `out` that is new, empty, or of an earlier run; nothing was written or removed",
    )


def claim(folder: Path) -> None:
    """Give a folder its manifest, unless it has one.

    Raises:
        ConfigError: It cannot be written.
    """
    if run_id(folder) is not None:
        return
    plain = json.dumps({"schema": SCHEMA, "id": secrets.token_hex(16)}) + "\n"
    place = folder / MANIFEST
    try:
        if place.is_symlink() or place.exists():  # damaged, or planted
            place.unlink()
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(plain)
    except OSError as error:
        raise unwritable(place, error) from error


def run_id(folder: Path) -> str | None:
    """Id in a folder's own manifest; None without one, or with a damaged one."""
    try:
        plain = json.loads(_head(folder / MANIFEST))
    except (OSError, ValueError, RecursionError):
        return None
    found = plain.get("id") if isinstance(plain, dict) and plain.get("schema") == SCHEMA else None
    return found if isinstance(found, str) and _ID.fullmatch(found) else None


def root_of(path: Path) -> Path | None:
    """Outermost folder above a path that has a manifest."""
    above = [folder for folder in Path(os.path.abspath(path)).parents if _is_file(folder / MANIFEST)]  # noqa: PTH100
    return above[-1] if above else None


def begun_name(path: Path) -> str:
    """Temporary name, new each time, for a file to be written at a path: with the id of its run folder, if any."""
    root = root_of(path)
    mark = None if root is None else run_id(root)
    return f"{_mark(mark)}{secrets.token_hex(8)}"


@contextlib.contextmanager
def working_in(folder: Path, *, known: tuple[str, ...] = ()) -> Iterator[None]:
    """Hold a working folder, created if missing: locked, with a manifest, without leftovers of a killed process.

    Args:
        folder: Path of the folder.
        known: As for `refuse_foreign`.

    Raises:
        ConfigError: It cannot be written, holds something else, or another run is using it.
    """
    refuse_foreign(folder, known=known)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    with held(folder):
        claim(folder)
        clear_unfinished(folder)
        yield


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock a folder for this process; the lock is released when the process ends for any reason.

    Where the file system or the operating system has no such locks, nothing is locked.

    Raises:
        ConfigError: Another process holds it.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise ConfigError(
            f"another run is at work in {folder}", "Wait until it ends, or choose another `out`"
        ) from error
    except OSError:  # a network file system without locks on folders
        pass
    try:
        yield
    finally:
        os.close(handle)


def clear_unfinished(folder: Path) -> None:
    """Remove the unfinished files of a killed process in a run folder and below; links are not followed.

    Raises:
        ConfigError: Something there cannot be removed.
    """
    root = root_of(folder / MANIFEST)
    mark = None if root is None else run_id(root)
    if mark is None:
        return
    try:
        for place, folders, files in os.walk(folder):  # does not follow links
            for name in files:
                if name.startswith(_mark(mark)):
                    (Path(place) / name).unlink()
            for name in [name for name in folders if name.startswith(_mark(mark))]:
                folders.remove(name)
                _remove(Path(place) / name)
    except OSError as error:
        raise unwritable(folder, error) from error


def own_file(folder: Path, name: str) -> bool:
    """Whether a name is that of a file in a folder or below it, with no link on the way."""
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts:
        return False
    steps = [folder.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
    return _is_file(steps[-1]) and not any(step.is_symlink() for step in steps)


def is_record(file: Path) -> bool:
    """Whether a file declares that edgeprune wrote it."""
    return _is_file(file) and _OURS.search(_head(file)) is not None


def _remove(path: Path) -> None:
    """Remove a folder and its content, or the link in its place."""
    import shutil

    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path)  # goes by open folders, so that nobody can put a link in the way


def _mark(mark: str | None) -> str:
    return f".edgeprune-{mark}-" if mark else ".edgeprune-unfinished-"


def _is_file(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return path.is_file() and not path.is_symlink()
    return False


def _has_records(folder: Path) -> bool:
    """Whether a folder without a manifest was left by an older version."""
    return any(map(is_record, _records(folder)))


def _records(folder: Path) -> Iterator[Path]:
    for within in _WITHIN:
        for pattern in _RECORDS:
            yield from folder.glob(f"{within}{pattern}")


def _head(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as file:
        return file.read(_HEAD_BYTES)
