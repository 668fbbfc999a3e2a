"""The run folder, held for one run at a time and cleared of what a killed one left."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from edgeprune.files.run_folder import working_in
from edgeprune.pipeline.settings import TITLES
from edgeprune.store import RunFolder, remove

LATENCY, TRIALS = "latency", "trials"
TRAINING_STATE = "finetune.state"


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
