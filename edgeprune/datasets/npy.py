"""NumPy arrays: `NAME.npy` with frames (N, 2, L), or complex (N, L), and its labels in a file beside it.

Labels are in `NAME_labels.npy` or `labels.npy`: class names, or indices into the lines of `NAME_classes.txt` or
`classes.txt`. SNRs, a split and groups of frames are optional, in `NAME_snrs.npy`, `NAME_split.npy` and
`NAME_groups.npy`, or without the name.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeprune.datasets._source import Source, Streamed
from edgeprune.datasets._text import text_of
from edgeprune.errors import DataError, reason_of
from edgeprune.files import npy as npy_file
from edgeprune.frames.labelled import checked_table
from edgeprune.protocols import FrameSource
from edgeprune.records.frames import Reading


class Npy(Streamed):
    """Reads frames from a mapped file, a few at a time; refuses arrays of Python objects, which are pickles."""

    suffixes = (".npy",)

    def recognises(self, path: Path) -> bool:
        """Whether the file has the suffix."""
        return path.suffix.lower() == ".npy"

    @contextmanager
    def open(self, path: Path, reading: Reading) -> Iterator[FrameSource]:  # noqa: ARG002 (frames are cut already)
        """Open the frames in the order of the file.

        Raises:
            DataError: Not such a file, missing labels, or labels without names.
        """
        samples = _loaded(path)
        is_complex = samples.ndim == 2 and np.iscomplexobj(samples)
        if not is_complex and (samples.ndim != 3 or samples.shape[1] != 2):
            raise DataError(
                f"{path} holds {samples.dtype} frames of shape {samples.shape}, not (N, 2, L) or complex (N, L)"
            )
        files = {what: _beside(path, what, ".npy") for what in ("labels", "snrs", "split", "groups")}
        of_labels = files["labels"]
        if of_labels is None:
            raise DataError(f"{path} has no labels beside it", f"Save them as {path.stem}_labels.npy")
        labels = _loaded(of_labels)
        classes = _beside(path, "classes", ".txt")
        names, indices = _named(labels, classes, of_labels)
        found = {what: None if file is None else _loaded(file) for what, file in files.items()}
        table = checked_table(
            len(samples),
            (2, samples.shape[-1]),
            names,
            indices,
            found["snrs"],
            split=found["split"],
            groups=found["groups"],
            source=path.name,
        )

        def block(start: int, stop: int) -> npt.NDArray[np.generic]:
            rows = samples[start:stop]
            return np.stack([rows.real, rows.imag], axis=1) if is_complex else rows

        used = (path, *(file for file in (*files.values(), classes) if file is not None))
        yield Source(table, used, block)


def _beside(path: Path, what: str, suffix: str) -> Path | None:
    """Find the file with the frames' labels, SNRs, split or classes."""
    for candidate in (path.with_name(f"{path.stem}_{what}{suffix}"), path.with_name(f"{what}{suffix}")):
        try:
            if candidate.is_file():
                return candidate
        except OSError:  # a name that is too long is none of a file
            continue
    return None


def _named(labels: npt.NDArray[Any], classes: Path | None, path: Path) -> tuple[list[str], npt.NDArray[Any]]:
    """Class names, and an index into them for each label."""
    if labels.dtype.kind in "US":
        names, indices = np.unique(text_of(labels, path), return_inverse=True)
        return [str(name) for name in names], indices
    if classes is None:
        raise DataError(
            f"{path} holds labels of type {labels.dtype}, and no class names are beside it",
            "Save class names as labels, or one a line in classes.txt",
        )
    try:
        lines = classes.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {classes}: {reason_of(error)}") from error
    return [line.strip() for line in lines if line.strip()], labels


def _loaded(path: Path) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = npy_file.opened(path)
    except Exception as error:  # a damaged header fails in whatever reads it first
        raise DataError(f"{path} is not a readable .npy file of a plain array: {reason_of(error)}") from error
    return array


dataset = Npy()
