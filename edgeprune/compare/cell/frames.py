"""The frames of a comparison, which many cells share."""

import functools

from edgeprune import datasets
from edgeprune.compare.records import SourceFile
from edgeprune.errors import ConfigError
from edgeprune.records.frames import Frames, Reading
from edgeprune.tasks.data.reading import ReadOptions


@functools.lru_cache(maxsize=1)
def frames_of(source: SourceFile, reading: Reading | None, stream: bool | None) -> Frames:
    """The frames of a file or folder; a worker that does several cells reads them once.

    Args:
        source: Path and reading options of the frames.
        reading: How they are cut from recordings.
        stream: Leave samples in their file; None when they are too many for memory.

    Raises:
        ConfigError: The file is no longer the one the comparison began with.
        DataError: Frames cannot be read.
    """
    frames = datasets.read_or_keep(source.path, reading, ReadOptions(stream=stream).stays)
    if frames.sha256 != source.sha256:
        raise ConfigError(f"{source.path} changed while the comparison ran", "Start it again")
    return frames
