"""Raw samples: every single time of every round, kept with what they were measured on."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edgeprune.errors import DataError
from edgeprune.store import replacing

if TYPE_CHECKING:
    import numpy.typing as npt

SCHEMA = "edgeprune-samples/1"
Round: TypeAlias = "npt.NDArray[np.float64]"


def write(path: Path, rounds: Sequence[Round], description: dict[str, Any]) -> None:
    """Write one model's times as compressed .npz, atomically.

    The arrays are `ms` (n,) float64, `round` (n,) int32, and `description`, a JSON text.

    Args:
        path: Where to.
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
    """Read times and their description back.

    Raises:
        DataError: Missing, or not a file of samples this version reads.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            ms, number, described = arrays["ms"], arrays["round"], json.loads(str(arrays["description"]))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a file of latency samples: {error}") from error
    if described.pop("schema", None) != SCHEMA:
        raise DataError(f"{path} is not of the schema {SCHEMA!r}", "Measure again with this version")
    return tuple(np.split(ms, np.flatnonzero(np.diff(number)) + 1)), described
