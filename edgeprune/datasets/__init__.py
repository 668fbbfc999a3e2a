"""Data set formats, one a file; `read` finds the one for a file by its suffix."""

from pathlib import Path

from edgeprune import registry
from edgeprune.errors import ConfigError, DataError
from edgeprune.protocols import DatasetFormat
from edgeprune.records import Frames


def read(path: Path) -> Frames:
    """Read a file of labelled frames.

    Raises:
        ConfigError: No such file.
        DataError: No format knows the suffix, or the file is not what its suffix says.
    """
    try:
        path.stat()
    except OSError as error:
        what = "no such file" if isinstance(error, FileNotFoundError) else f"cannot read ({error.strerror})"
        raise ConfigError(f"{what}: {path}", "Give the data set with --data PATH") from error
    known: list[str] = []
    for name in registry.names("datasets"):
        dataset: DatasetFormat = registry.get("datasets", name)
        if path.suffix.lower() in dataset.suffixes:
            return dataset.read(path)
        known += dataset.suffixes
    raise DataError(f"no data set format is known for {path.name!r}", f"Known suffixes: {', '.join(sorted(known))}")
