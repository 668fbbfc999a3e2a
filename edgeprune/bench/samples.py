"""Raw samples: the time of every inference in every round, stored with the conditions of the measurement."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edgeprune.errors import DataError
from edgeprune.files.bounds import MalformedError, claimed, parse_json
from edgeprune.files.npy import read_archive
from edgeprune.files.whole import replacing

if TYPE_CHECKING:
    import numpy.typing as npt

SCHEMA = "edgeprune-samples/1"
Round: TypeAlias = "npt.NDArray[np.float64]"


def write(path: Path, rounds: Sequence[Round], description: dict[str, Any]) -> None:
    """Write one model's times as compressed .npz, atomically.

    The arrays are `ms` (n,) float64, `round` (n,) int32, and `description`, a JSON text.

    Args:
        path: Path of the file.
        rounds: Milliseconds of each inference, one array a round.
        description: Plain values: which model, runtime, mode and device.

    Raises:
        ConfigError: The place cannot be written.
    """
    described = json.dumps({"schema": SCHEMA, **description}, sort_keys=True, allow_nan=False)
    number = np.repeat(np.arange(len(rounds), dtype=np.int32), [len(times) for times in rounds])
    with replacing(path) as file:
        np.savez_compressed(file, ms=np.concatenate(rounds), round=number, description=np.array(described))


def read(path: Path) -> tuple[tuple[Round, ...], dict[str, Any]]:
    """Read times and their description.

    Raises:
        DataError: Missing, or not a file of samples this version reads.
    """
    with claimed(path, "a file of latency samples", DataError):
        arrays = read_archive(path)
        ms, number, described = arrays["ms"], arrays["round"], parse_json(str(arrays["description"]).encode())
        if ms.ndim != 1 or ms.shape != number.shape or ms.dtype.kind != "f":
            raise MalformedError(f"it holds {ms.dtype} times of shape {ms.shape} in rounds of shape {number.shape}")
    if not isinstance(described, dict) or described.pop("schema", None) != SCHEMA:
        raise DataError(f"{path} is not of the schema {SCHEMA!r}", "Measure again with this version")
    return tuple(np.split(ms, np.flatnonzero(np.diff(number)) + 1)), described
