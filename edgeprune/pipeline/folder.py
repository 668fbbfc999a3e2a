"""The run folder, held for one run at a time and cleared of what a killed one left."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from edgeprune.pipeline.settings import TITLES
from edgeprune.store import RunFolder, clear_unfinished, held
from edgeprune.tasks.inputs import writable

LATENCY, TRIALS = "latency", "trials"
TRAINING_STATE = "finetune.state"


@contextlib.contextmanager
def open_folder(path: Path, fresh: bool) -> Iterator[RunFolder]:
    """The run folder, made if it is not there, without what a killed run left unfinished.

    Args:
        path: Where it is.
        fresh: Forget finished stages, timings, trials and trainings; nothing else.

    Raises:
        ConfigError: It cannot be written, or another run is at work in it.
    """
    writable(path / "run")
    with held(path):
        trials = [folder for folder in path.glob(f"{TRIALS}/*") if folder.is_dir()]
        for folder in (path, path / LATENCY, *trials):
            clear_unfinished(folder)
        if fresh:
            stages = (f"{stage}.json" for stage in TITLES)
            for record in (*path.glob(f"{LATENCY}/kept-*.json"), *(path / stage for stage in stages)):
                record.unlink(missing_ok=True)
            for folder in (path, *trials):
                (folder / TRAINING_STATE).unlink(missing_ok=True)
            for folder in trials:
                for stage in TITLES:
                    (folder / f"{stage}.json").unlink(missing_ok=True)
        yield RunFolder(path)
