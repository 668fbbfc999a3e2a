"""The frames of a comparison, which many cells share."""

import functools

from edgeprune import datasets
from edgeprune.compare.records import SourceFile
from edgeprune.errors import ConfigError
from edgeprune.records.frames import Frames, Reading
from edgeprune.tasks.data.reading import ReadOptions


@functools.lru_cache(maxsize=1)
def frames_of(source: SourceFile, reading: Reading | None, stream: bool | None) -> Frames:
    """Read the frames of a file or folder; a worker that does several cells reads them once.

    Args:
        source: Path and reading options of the frames.
        reading: Cutting of recordings into frames.
        stream: Leave samples in their file; None to do so if they are too many for memory.

    Raises:
        ConfigError: The file has changed since the comparison began.
        DataError: Frames cannot be read.
    """
    frames = datasets.read_or_keep(source.path, reading, ReadOptions(stream=stream).stays)
    if frames.sha256 != source.sha256:
        raise ConfigError(f"{source.path} changed while the comparison ran", "Start it again")
    return frames
