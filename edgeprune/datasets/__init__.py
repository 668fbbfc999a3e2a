"""Data set formats, one in each file; found by suffix, and where several share a suffix by content."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from edgeprune import registry
from edgeprune.datasets._source import blocks, in_memory, whole
from edgeprune.datasets._stored import StoredSamples
from edgeprune.errors import ConfigError, DataError, reason_of
from edgeprune.files.bounds import claimed, refuse_special
from edgeprune.files.store import file_sha256
from edgeprune.frames.labelled import framed, table_of
from edgeprune.protocols import FrameSource, StreamedFormat
from edgeprune.records.frames import Frames, FrameTable, Reading

__all__ = ["StoredSamples", "blocks", "format_of", "opened", "read", "read_or_keep", "sha256_of", "whole"]

FOLDER = "/"


def read(path: Path, reading: Reading | None = None) -> Frames:
    """Read all frames of a file or folder into memory.

    Args:
        path: Path of the file or folder.
        reading: Cutting of recordings into frames.

    Raises:
        ConfigError: No such file.
        DataError: No format has the suffix, or the file does not match its suffix.
    """
    found = format_of(path)
    form: Any = registry.get("datasets", found)
    if not isinstance(form, StreamedFormat):
        with claimed(path, f"a readable {found} data set", DataError):
            frames: Frames = form.read(path)
            return frames
    with opened(path, reading) as source:
        return whole(source)


def read_or_keep(path: Path, reading: Reading | None, stays: Callable[[FrameTable], bool]) -> Frames:
    """Read all frames of a file or folder; their samples stay in the file if `stays` decides so.

    Formats that are always read whole are in memory in any case.

    Args:
        path: Path of the file or folder.
        reading: Cutting of recordings into frames.
        stays: Decides from the table of the frames whether to leave their samples in the file.

    Raises:
        ConfigError: No such file.
        DataError: No format has the suffix, the file does not match its suffix, or samples that stay in it can only be
            read from its beginning.
    """
    if not isinstance(registry.get("datasets", format_of(path)), StreamedFormat):
        return read(path)
    with ExitStack() as stack:
        source = stack.enter_context(opened(path, reading))
        if not stays(source.table):
            return whole(source)
        if source.forward_only:
            raise DataError(
                f"{path} is too large for memory, and of a format that is read from its beginning only",
                f"Convert it first: edgeprune data convert {path} {path.stem}.h5",
            )
        samples = StoredSamples(source, held=stack.pop_all(), reopen=partial(_reopened, path, reading))
        frames = framed(source.table, cast(npt.NDArray[np.float32], samples), source.sha256())
        return replace(frames, skipped=source.skipped)


def _reopened(path: Path, reading: Reading | None, rows: npt.NDArray[np.int64]) -> StoredSamples:
    """Reopen some rows of the frames of a file that another process has opened."""
    with ExitStack() as stack:
        source = stack.enter_context(opened(path, reading))
        return StoredSamples(source, rows, stack.pop_all(), partial(_reopened, path, reading))


def sha256_of(path: Path, reading: Reading | None = None) -> str:
    """Hash the frames of a file or folder as `read` gives them, without reading the samples.

    Raises:
        ConfigError: No such file, or it cannot be read.
        DataError: No format has the suffix, or the file does not match its suffix.
    """
    if isinstance(registry.get("datasets", format_of(path)), StreamedFormat):
        with opened(path, reading) as source:
            return source.sha256()
    try:
        return file_sha256(path)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error


@contextmanager
def opened(path: Path, reading: Reading | None = None) -> Iterator[FrameSource]:
    """Open the frames of a file or folder, to be read a few at a time where the format allows it.

    Raises:
        ConfigError: No such file.
        DataError: No format has the suffix, or the file does not match its suffix.
    """
    found = format_of(path)
    form: Any = registry.get("datasets", found)
    with ExitStack() as stack:
        with claimed(path, f"a readable {found} data set", DataError):
            if isinstance(form, StreamedFormat):
                source = stack.enter_context(form.open(path, reading or Reading()))
            else:
                frames = form.read(path)
                source = in_memory(frames, table_of(frames), path)
        yield source


def format_of(path: Path) -> str:
    """Find the name of the format of a file or folder.

    Raises:
        ConfigError: No such file.
        DataError: No format has the suffix, or none of those that have it recognizes the file.
    """
    try:
        path.stat()
    except FileNotFoundError as error:
        raise ConfigError(f"no such file: {path}", "Give the data set with `data=PATH`") from error
    except (OSError, ValueError) as error:  # a zero byte in a name is a ValueError
        raise ConfigError(f"cannot read ({reason_of(error)}): {path}", "Give the data set with `data=PATH`") from error
    refuse_special(path)
    formats = {name: registry.get("datasets", name) for name in registry.names("datasets")}
    suffix = path.suffix.lower()
    sharing = [name for name, form in formats.items() if suffix in form.suffixes]
    if path.is_dir() and not sharing:
        suffix, sharing = FOLDER, [name for name, form in formats.items() if FOLDER in form.suffixes]
    if not sharing:
        known = sorted({suffix for form in formats.values() for suffix in form.suffixes} - {FOLDER})
        raise DataError(
            f"no data set format is known for {path.name!r}", f"Known suffixes: {', '.join(known)}; or a folder"
        )
    if len(sharing) == 1:
        return sharing[0]
    with claimed(path, "a data set of any format that is known", DataError):
        for name in sorted(sharing, key=lambda name: not registry.added_here("datasets", name)):
            if not isinstance(formats[name], StreamedFormat) or formats[name].recognises(path):
                return name
    what = "folder" if suffix == FOLDER else f"{suffix} file"
    raise DataError(f"{path} is no {what} of a format that is known", f"Known: {', '.join(sharing)}")
