"""The run folder, held for one run at a time and cleared of what a killed one left."""

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
"""What the networks of a run folder ran on, in the order of its runs."""


@contextlib.contextmanager
def open_folder(path: Path, fresh: bool) -> Iterator[RunFolder]:
    """The run folder, made if it is not there, without what a killed run left unfinished.

    Args:
        path: Where it is.
        fresh: Forget finished stages, timings, trials and trainings; nothing else.

    Raises:
        ConfigError: It cannot be written, holds something else, or another run is at work in it.
    """
    with working_in(path):
        if fresh:
            _forget(path)
        yield RunFolder(path)


def _forget(path: Path) -> None:
    """Remove the records of all stages, and how far trainings have come."""
    for record in path.glob(f"{LATENCY}/kept-*.json"):
        RunFolder(record.parent).forget(record.stem)
    for folder in (path, *path.glob(f"{TRIALS}/keep-*")):
        for stage in TITLES:
            RunFolder(folder).forget(stage)
        remove(folder / TRAINING_STATE)
    remove(path / COMPUTE)


def computed_on(path: Path, compute: Compute) -> tuple[str, ...]:
    """Note what the networks of a run folder run on from now on.

    Returns:
        All that they ran on, in words, one after the other: several where a run was continued elsewhere.

    Raises:
        ConfigError: What was noted before is damaged, or it cannot be written.
    """
    file, now = path / COMPUTE, f"{compute.name} (training in {compute.precision})"
    before: list[str] = read_json(file) if file.is_file() else []
    known = before if before[-1:] == [now] else [*before, now]
    if known != before:
        write_json(file, known)
    return tuple(known)
