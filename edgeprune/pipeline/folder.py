"""The run folder, locked for one run at a time and cleared of what a killed run left."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from edgeprune.files.run_folder import working_in
from edgeprune.files.store import RunFolder, read_json, write_json
from edgeprune.files.whole import remove
from edgeprune.network.compute import Compute
from edgeprune.pipeline.settings import TITLES

LATENCY, TRIALS = "latency", "trials"
TRAINING_STATE = "finetune.state"
COMPUTE = "compute.json"
"""File that lists the devices on which the networks of a run folder ran, in the order of the runs."""


@contextlib.contextmanager
def open_folder(path: Path, fresh: bool) -> Iterator[RunFolder]:
    """Open the run folder, create it if needed, and clear what a killed run left unfinished.

    Args:
        path: Path of the folder.
        fresh: Forget finished stages, timings, trials and trainings; nothing else.

    Raises:
        ConfigError: It cannot be written, holds something else, or another run is using it.
    """
    with working_in(path):
        if fresh:
            _forget(path)
        yield RunFolder(path)


def _forget(path: Path) -> None:
    """Remove the records of all stages, and the states of unfinished trainings."""
    for record in path.glob(f"{LATENCY}/kept-*.json"):
        RunFolder(record.parent).forget(record.stem)
    for folder in (path, *path.glob(f"{TRIALS}/keep-*")):
        for stage in TITLES:
            RunFolder(folder).forget(stage)
        remove(folder / TRAINING_STATE)
    remove(path / COMPUTE)


def computed_on(path: Path, compute: Compute) -> tuple[str, ...]:
    """Record the device on which the networks of a run folder run from now on.

    Returns:
        All devices in order, in words; several if a run was continued elsewhere.

    Raises:
        ConfigError: The record is damaged or cannot be written.
    """
    file, now = path / COMPUTE, f"{compute.name} (training in {compute.precision})"
    before: list[str] = read_json(file) if file.is_file() else []
    known = before if before[-1:] == [now] else [*before, now]
    if known != before:
        write_json(file, known)
    return tuple(known)
