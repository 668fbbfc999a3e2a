"""`data convert`: converts any data set to edgeprune's HDF5, a few megabytes at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edgeprune
from edgeprune import datasets
from edgeprune.datasets.frames_hdf5 import provenance, writing
from edgeprune.errors import ConfigError
from edgeprune.files.store import file_sha256, to_plain
from edgeprune.frames.duplicates import fingerprints, repeated
from edgeprune.frames.labelled import refuse_silent_classes, take_table
from edgeprune.protocols import FrameSource, Progress
from edgeprune.records.frames import Reading
from edgeprune.tasks.data.known import known_set

SUFFIXES = (".h5", ".hdf5")


def convert(path: Path, out: Path, reading: Reading, drop_duplicates: bool, progress: Progress) -> dict[str, Any]:
    """Write the frames of a data set to an HDF5 file, with their origin; returns a summary as plain values.

    Args:
        path: Path of the data set.
        out: File to write.
        reading: Cutting of recordings into frames.
        drop_duplicates: Whether to leave out repeated frames.
        progress: Updated during the work.

    Raises:
        ConfigError: No such file, or `out` cannot be written or is not called .h5.
        DataError: The data set cannot be read.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{out} is not called {' or '.join(SUFFIXES)}", "Frames are converted to HDF5")
    form = datasets.format_of(path)
    with datasets.opened(path, reading) as source:
        progress.stage(f"convert {len(source.table)} frames of {source.table.source}")
        keep = _firsts(source) if drop_duplicates else np.ones(len(source.table), dtype=np.bool_)
        table = take_table(source.table, np.flatnonzero(keep))
        origin = _origin(source, path, form, reading, int((~keep).sum()))
        with writing(out, table, origin) as append, progress.track("frames", len(source.table)) as advance:
            heard = []
            for start, stop in datasets.blocks(source.table):
                iq = source.read(start, stop)[keep[start:stop]]
                heard.append((iq != 0).any(axis=(1, 2)))
                append(iq)
                advance(stop - start, "")
            refuse_silent_classes(table, np.concatenate(heard))
        return {
            "path": str(out),
            "sha256": file_sha256(out),
            "frames": len(table),
            "shape": list(table.shape),
            "provenance": origin,
        }


def _firsts(source: FrameSource) -> npt.NDArray[np.bool_]:
    """Mark the frames that repeat no earlier one, (N,)."""
    prints = np.concatenate([fingerprints(source.read(start, stop)) for start, stop in datasets.blocks(source.table)])
    first: npt.NDArray[np.bool_] = repeated(prints) == np.arange(len(prints))
    return first


def _origin(source: FrameSource, path: Path, form: str, reading: Reading, dropped: int) -> dict[str, Any]:
    """Describe the origin of the frames and how they were processed."""
    notes: Sequence[str] = source.notes
    origin: dict[str, Any] = {
        "producer": f"edgeprune {edgeprune.__version__}",
        "source": source.table.source,
        "source_sha256": source.sha256(),
        "format": form,
        "notes": list(notes),
        "skipped": list(source.skipped),
        "dropped_duplicates": dropped,
    }
    if source.table.recordings is not None:
        origin["reading"] = to_plain(reading)
    known = known_set(source.table, form)
    if known:
        origin |= {"set": known.name, "licence": known.licence, "known_faults": list(known.faults)}
    if form == "frames-hdf5" and (before := provenance(path)):
        origin["before"] = before
    return origin
