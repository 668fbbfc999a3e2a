"""Class names that a file holds as text or as bytes."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeprune.errors import DataError


def text_of(names: npt.NDArray[Any], path: Path) -> npt.NDArray[np.str_]:
    """Convert class names to text, (n,).

    Raises:
        DataError: Another shape, or bytes that are not UTF-8.
    """
    if names.ndim != 1:
        raise DataError(f"{path} holds class names of shape {names.shape}, not one-dimensional")
    if names.dtype.kind not in "SU":
        raise DataError(f"{path} holds class names of type {names.dtype}, not text")
    try:
        return np.char.decode(names, "utf-8") if names.dtype.kind == "S" else names.astype(str)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} holds class names that are not UTF-8") from error
