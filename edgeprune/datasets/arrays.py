"""NumPy archives: `.npz` with the arrays `iq` (N, 2, L) and `labels` (N,), and optionally `snrs`, `classes`,
`split`, `groups`.

`labels` are class names, or indices into `classes`. `split` holds 0, 1 or 2 (train, validation, test) for each frame.
`groups` holds a whole number shared by the frames of one transmission or recording.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeprune.datasets._text import text_of
from edgeprune.errors import DataError
from edgeprune.files.bounds import claimed
from edgeprune.files.npy import read_archive
from edgeprune.files.store import file_sha256
from edgeprune.frames.labelled import checked
from edgeprune.records.frames import Frames


class Arrays:
    """Reads `.npz` archives; arrays of Python objects are refused, since they are pickles."""

    suffixes = (".npz",)

    def read(self, path: Path) -> Frames:
        """Read every frame.

        Raises:
            DataError: Not such an archive, a missing array, or labels without names.
        """
        found = _load(path)
        missing = [name for name in ("iq", "labels") if name not in found]
        if missing:
            raise DataError(f"{path} lacks {', '.join(missing)}; it holds {', '.join(sorted(found)) or 'nothing'}")
        labels = found["labels"]
        if labels.dtype.kind in "US":
            names, indices = np.unique(text_of(labels, path), return_inverse=True)
        elif "classes" in found and labels.dtype.kind in "iu":
            names, indices = text_of(found["classes"], path), labels
        else:
            raise DataError(
                f"{path} holds labels of type {labels.dtype} and {'no ' if 'classes' not in found else ''}classes",
                "Store class names as labels, or integer labels and the array 'classes'",
            )
        return checked(
            found["iq"],
            [str(name) for name in names],
            indices,
            found.get("snrs"),
            split=found.get("split"),
            groups=found.get("groups"),
            source=path.name,
            sha256=file_sha256(path),
        )


def _load(path: Path) -> dict[str, npt.NDArray[Any]]:
    with claimed(path, "a readable .npz archive of plain arrays", DataError):
        return read_archive(path)


dataset = Arrays()
