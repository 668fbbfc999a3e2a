"""`data synth`: generates frames from a recipe, in a format that every command reads."""

import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edgeprune
from edgeprune.datasets.frames_hdf5 import Append, writing
from edgeprune.errors import ConfigError
from edgeprune.files.store import file_sha256
from edgeprune.files.whole import replacing
from edgeprune.protocols import Progress
from edgeprune.records.frames import FrameTable
from edgeprune.synth.generate import generate, pieces_of, table_of
from edgeprune.synth.recipes import recipe

_PICKLE_PROTOCOL = 2  # the one that RadioML's own files have


@dataclass(frozen=True)
class Order:
    """Requested frames.

    Attributes:
        recipe: Name of the recipe.
        frames_per_cell: Frames of each class at each SNR.
        snrs: SNRs in dB; None for those of the recipe.
        seed: Random seed.
        quirks: Whether to include the known faults of the published set.
        workers: Number of threads; None for one a processor. The frames do not depend on it.
    """

    recipe: str
    frames_per_cell: int
    snrs: tuple[int, ...] | None
    seed: int
    quirks: bool
    workers: int | None = None


def synthesise(order: Order, out: Path, progress: Progress) -> dict[str, Any]:
    """Generate frames and write them; returns a summary as plain values.

    Raises:
        ConfigError: No such recipe, an SNR twice, or `out` cannot be written or is of no format that is written.
    """
    made_by = recipe(order.recipe, order.quirks)
    snrs = order.snrs or made_by.snrs
    if len(set(snrs)) != len(snrs):
        raise ConfigError(f"`snr` names an SNR twice: {', '.join(map(str, snrs))}")
    snrs = tuple(sorted(snrs))
    table = table_of(made_by, snrs, order.frames_per_cell)
    origin = {
        "producer": f"edgeprune {edgeprune.__version__}",
        "recipe": order.recipe,
        "quirks": order.quirks,
        "seed": order.seed,
        "frames_per_cell": order.frames_per_cell,
        "snrs_db": list(snrs),
    }
    progress.stage(f"generate {len(table)} frames by recipe {order.recipe}")
    pieces = pieces_of(made_by, snrs, order.frames_per_cell)
    workers = order.workers or os.cpu_count() or 1
    with _writing(out, table, origin) as append, progress.track("frames", len(table)) as advance:
        for iq in generate(made_by, pieces, order.seed, workers):
            append(iq)
            advance(len(iq), "")
    return {"path": str(out), "sha256": file_sha256(out), "frames": len(table), "classes": list(table.classes)} | origin


@contextmanager
def _writing(out: Path, table: FrameTable, origin: dict[str, Any]) -> Iterator[Append]:
    """Open a writer that takes successive frames; only HDF5 is written incrementally."""
    suffix = out.suffix.lower()
    if suffix in (".h5", ".hdf5"):
        with writing(out, table, origin) as append:
            yield append
        return
    if suffix not in (".npz", ".pkl"):
        raise ConfigError(f"frames are not written to {suffix or 'a file without suffix'}", "Use .h5, .npz or .pkl")
    parts: list[npt.NDArray[np.float32]] = []
    with replacing(out) as file:
        yield parts.append
        iq = np.concatenate(parts)
        if suffix == ".npz":
            snrs, groups = _known(table.snrs), _known(table.groups)
            np.savez(file, iq=iq, labels=table.labels, classes=np.array(table.classes), snrs=snrs, groups=groups)
        else:
            pickle.dump(_cells(table, iq), file, protocol=_PICKLE_PROTOCOL)


def _known(values: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64]:
    """Return a column that the table of a recipe always has."""
    assert values is not None
    return values


def _cells(table: FrameTable, iq: npt.NDArray[np.float32]) -> dict[tuple[str, int], npt.NDArray[np.float32]]:
    """Group frames by (modulation, SNR), as in RadioML's pickles."""
    snrs: Sequence[int] = [int(snr) for snr in np.unique(_known(table.snrs))]
    return {
        (name, snr): iq[(table.labels == label) & (table.snrs == snr)]
        for label, name in enumerate(table.classes)
        for snr in snrs
    }
