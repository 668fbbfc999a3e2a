"""HDF5 format of edgeprune: the result of `data convert`, read from disk in any order at full speed.

`iq` float32 (N, 2, L) unchunked and uncompressed, `labels` (N,) as indices into `classes`, and optionally `snrs` in
dB, `split` (0, 1, 2), `recordings`, `starts` and `groups`, (N,) each. The attribute `provenance` is JSON: the origin of
the frames.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from edgeprune.datasets import _hdf5
from edgeprune.datasets._source import Source, Streamed
from edgeprune.errors import DataError, reason_of
from edgeprune.files.bounds import parse_json
from edgeprune.frames.labelled import checked_table, refuse_class_name, refuse_many_classes
from edgeprune.protocols import FrameSource
from edgeprune.records.frames import FrameTable, Reading

FORMAT = "edgeprune-frames/1"
_OPTIONAL = {"snrs": np.int16, "split": np.int8, "recordings": np.int64, "starts": np.int64, "groups": np.int64}


class FramesHdf5(Streamed):
    """Reads the files that `writing` writes."""

    suffixes = _hdf5.SUFFIXES

    def recognises(self, path: Path) -> bool:
        """Whether the file declares this format, or has arrays of these names."""
        return _hdf5.attribute(path, "format").startswith("edgeprune-frames/") or "iq" in _hdf5.keys(path)

    @contextmanager
    def open(self, path: Path, reading: Reading) -> Iterator[FrameSource]:  # noqa: ARG002 (frames are cut already)
        """Open the frames in the order of the file.

        Raises:
            DataError: Truncated, a missing array, another version, or labels beyond the classes.
        """
        with _hdf5.opened(path) as file:
            version = _hdf5.text(file, "format") or FORMAT
            if version != FORMAT:
                raise DataError(f"{path} is of format {version}, not {FORMAT}", "Read it with the edgeprune it is from")
            samples, labels, classes = _hdf5.arrays(file, path, "iq", "labels", "classes")
            _hdf5.same_length(path, samples, labels)
            found = _hdf5.optional(file, path, *_OPTIONAL)
            table = checked_table(
                len(samples),
                samples.shape[1:] if samples.ndim == 3 else (0, 0),
                _names(classes, path),
                _hdf5.rows(labels, path),
                found.get("snrs"),
                split=found.get("split"),
                recordings=found.get("recordings"),
                starts=found.get("starts"),
                groups=found.get("groups"),
                source=path.name,
            )
            yield Source(table, (path,), _hdf5.block_of(samples, path, lambda block: block))


def _names(classes: h5py.Dataset, path: Path) -> list[str]:
    refuse_many_classes(len(classes), str(path))
    names = []
    try:
        for index in range(len(classes)):  # one by one, since many may share one long text of the file
            names.append(str(classes.asstr()[index]))
            refuse_class_name(names[-1], str(path))
        return names
    except (TypeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: classes are not text: {reason_of(error)}") from error


def provenance(path: Path) -> dict[str, Any]:
    """Origin of the frames of a file; empty if it does not say.

    Raises:
        DataError: It is truncated or not HDF5.
    """
    try:
        found = parse_json((_hdf5.attribute(path, "provenance") or "{}").encode())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


Append = Callable[[npt.NDArray[np.float32]], None]


@contextmanager
def writing(path: Path, table: FrameTable, provenance: dict[str, Any]) -> Iterator[Append]:
    """Write a file; call the result repeatedly with samples of the next frames, (n, 2, L).

    The same table, samples and provenance give the same bytes.

    Raises:
        ConfigError: The path cannot be written.
    """
    with _hdf5.replacing(path) as file:
        file.attrs["format"] = FORMAT
        file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
        file.create_dataset("labels", data=table.labels.astype(np.int16))
        file.create_dataset("classes", data=list(table.classes), dtype=h5py.string_dtype("utf-8"))
        for name, kind in _OPTIONAL.items():
            values = getattr(table, name)
            if values is not None:
                file.create_dataset(name, data=values.astype(kind))
        samples = file.create_dataset("iq", shape=(len(table), *table.shape), dtype=np.float32)
        done = 0

        def append(iq: npt.NDArray[np.float32]) -> None:
            nonlocal done
            samples[done : done + len(iq)] = iq
            done += len(iq)

        yield append


dataset = FramesHdf5()
