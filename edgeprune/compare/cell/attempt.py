"""Work on a cell that may fail: the reason is kept, and the other cells continue."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from edgeprune.compare.cell.stages import CellStages
from edgeprune.compare.records import CellJob
from edgeprune.errors import EdgepruneError, reason_of
from edgeprune.files.run_folder import clear_unfinished
from edgeprune.files.store import from_plain, now, read_json, write_json
from edgeprune.files.whole import append_text, own_folder, remove
from edgeprune.protocols import Advance, Progress
from edgeprune.text.printable import printable

_FAILURE, _LOG = "failure.json", "log.txt"


def attempt(job: CellJob, progress: Progress, threads: int) -> str:
    """Work on a cell, keep the reason if it fails, and return the outcome in one line.

    Args:
        job: The job of the cell.
        progress: Reporter of each stage; the same is written to the cell's log.
        threads: Number of PyTorch threads, 0 for PyTorch's default.
    """
    if threads:
        torch.set_num_threads(threads)
    clear_unfinished(own_folder(job.folder))
    remove(job.folder / _FAILURE)
    log = _Log(job.folder / _LOG, progress)
    try:
        finished = CellStages(job, log).run()
    except EdgepruneError as error:
        reason = error.message
    except Exception as error:  # a plug-in from elsewhere may raise anything, and the other cells can still be done
        log.keep(traceback.format_exc())
        reason = f"{type(error).__name__}: {reason_of(error)}"
    else:
        return f"{finished.tested.accuracy.top1:.2%} on the test split"
    log.keep(f"failed: {reason}\n")
    write_json(job.folder / _FAILURE, {"reason": reason, "created": now()})
    return f"failed: {reason}"


def reason_for(job: CellJob) -> str:
    """Return the reason why a cell has no figures.

    Raises:
        ConfigError: The file that holds the reason is damaged.
    """
    file = job.folder / _FAILURE
    if not file.is_file():
        return "it was not finished"
    return from_plain(dict[str, str], read_json(file), str(file))["reason"]


class _Log:
    """A `Progress` that writes everything to a file and passes it on.

    Args:
        path: The file.
        watched: The progress to pass everything on to.
    """

    def __init__(self, path: Path, watched: Progress) -> None:
        self._path, self._watched = path, watched

    def keep(self, text: str) -> None:
        """Append lines to the file."""
        append_text(self._path, text)

    def stage(self, title: str, reused: bool = False) -> None:
        """Begin a stage."""
        self.keep(f"{now()} {printable(title)}\n")
        self._watched.stage(title, reused)

    def note(self, text: str) -> None:
        """Keep one line."""
        self.keep(f"  {printable(text)}\n")
        self._watched.note(text)

    @contextmanager
    def track(self, label: str, total: int) -> Iterator[Advance]:
        """Keep the steps that have a text, such as epochs."""
        with self._watched.track(label, total) as advance:

            def told(steps: int, text: str) -> None:
                if steps and text:
                    self.keep(f"  {printable(f'{label}: {text}')}\n")
                advance(steps, text)

            yield told
