"""Who does the work: this process, or Ray's workers, of which one that dies costs one piece."""

import contextlib
import os
import re
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from comparisons import save_frames

from edgeprune.compare import workers
from edgeprune.compare.cell import stages
from edgeprune.compare.cell.attempt import attempt
from edgeprune.compare.cell.cells import expand, job_of
from edgeprune.compare.grid.read import parse
from edgeprune.compare.records import SourceFile
from edgeprune.compare.workers import MOST_TRIES, Workers, WorkItem, work
from edgeprune.errors import ConfigError
from edgeprune.files.store import file_sha256, read_json
from edgeprune.network.model_file import ModelOptions


class Watch:
    """A progress that keeps notes and counts steps."""

    def __init__(self):
        self.notes, self.stages, self.steps = [], [], 0

    def stage(self, title, reused=False):
        self.stages.append(title)

    def note(self, text):
        self.notes.append(text)

    def track(self, label, total):
        return contextlib.nullcontext(self._advance)

    def _advance(self, steps, text):
        self.steps += steps


def test_this_process_works_piece_after_piece():
    watch, done = Watch(), []

    def function(argument, progress, threads):
        assert progress is watch
        done.append((argument, threads))
        return f"did {argument}"

    lost = work([WorkItem(name, function, name.upper()) for name in "ab"], Workers(0), watch, "cell")
    assert (lost, done) == ({}, [("A", 0), ("B", 0)])
    assert watch.stages == ["cell 1 of 2: a", "cell 2 of 2: b"]
    assert watch.notes == ["did A", "did B"]


def test_no_work_starts_nobody(monkeypatch):
    monkeypatch.setattr(workers, "_ray", None)
    assert work([], Workers(2), Watch(), "cell") == {}


def test_a_worker_that_dies_costs_its_own_piece_which_is_tried_again(tmp_path):
    def function(argument, progress, threads):
        folder, dies = argument
        tries = len(list(folder.glob("try-*")))
        (folder / f"try-{tries}").write_text(str(os.getpid()))
        time.sleep(0.2)
        if tries < dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return f"done with {threads} threads by {os.getpid()}"

    pieces = []
    for name, dies in (("well", 0), ("once", 1), ("also-well", 0), ("always", 99)):
        (tmp_path / name).mkdir()
        pieces.append(WorkItem(name, function, (tmp_path / name, dies)))
    watch = Watch()
    lost = work(pieces, Workers(2, threads=1), watch, "cell")
    tries = {folder.name: len(list(folder.iterdir())) for folder in tmp_path.iterdir()}
    assert tries == {"well": 1, "once": 2, "also-well": 1, "always": MOST_TRIES}
    assert list(lost) == ["always"]
    assert lost["always"].startswith("its worker died")
    assert watch.steps == len(pieces)
    said = " | ".join(watch.notes)
    assert said.count("trying again") == 1 + MOST_TRIES - 1
    assert said.count("done with 1 threads") == 3
    assert str(os.getpid()) not in {file.read_text() for folder in tmp_path.iterdir() for file in folder.iterdir()}


def test_a_cell_whose_worker_is_killed_in_training_continues_there(tmp_path):
    epochs, path = 30, tmp_path / "frames.npz"
    save_frames(path)
    plain = {"networks": ["ulcnn"], "training": {"epochs": epochs, "batch_size": 32, "learning_rate": 0.01}}
    grid = parse(plain, "the grid", Path())
    (cell,) = expand(grid, [], [SourceFile("frames", path, file_sha256(path))])
    job = job_of(cell, grid, tmp_path, 2016, ModelOptions())

    class StopsAfterAnEpoch:
        """A progress that goes no further once an epoch of training is over, and leaves a file to say so."""

        def __init__(self, progress, reached):
            self._progress, self._reached = progress, reached
            self.stage, self.note = progress.stage, progress.note

        @contextlib.contextmanager
        def track(self, label, total):
            with self._progress.track(label, total) as advance:

                def stopping(steps, text):
                    advance(steps, text)
                    if label == "training" and steps:
                        self._reached.touch()
                        time.sleep(600)

                yield stopping

    def function(job, progress, threads):
        stages.CellWork._export = lambda *_: None  # in the worker; it would take most of the time
        reached = job.folder.parent / "reached"
        return attempt(job, progress if reached.exists() else StopsAfterAnEpoch(progress, reached), threads)

    job.folder.parent.mkdir(parents=True, exist_ok=True)
    killer = threading.Thread(target=_kill_in_training, args=(job,))
    killer.start()
    watch = Watch()
    lost = work([WorkItem(cell.id, function, job)], Workers(1, threads=1), watch, "cell")
    killer.join()
    assert lost == {}
    assert watch.notes[0].startswith(f"{cell.id}: its worker died")
    assert watch.notes[1].endswith("on the test split")
    log = (job.folder / "log.txt").read_text()
    assert len(re.findall(r"^\S+ train$", log, flags=re.MULTILINE)) == 2
    assert "continued after epoch" in log
    assert log.count("training: loss") == epochs
    trained = read_json(job.folder / f"{stages.TRAIN}.json")
    assert len(trained["record"]["epochs"]) == epochs


def _kill_in_training(job):
    """Kill Ray's worker that is at a cell once it has finished an epoch."""
    while not (job.folder.parent / "reached").exists():
        time.sleep(0.005)
    for process in psutil.Process().children(recursive=True):
        if process.cmdline()[:1] == [f"ray::{job.cell.id}"]:
            os.kill(process.pid, signal.SIGKILL)


def test_an_address_where_nothing_listens_is_said_at_once():
    with pytest.raises(ConfigError, match=r"Ray cannot be reached at 127\.0\.0\.1:1: .*refused"):
        work([WorkItem("a", lambda *_: "", None)], Workers(1, "127.0.0.1:1"), Watch(), "cell")


@pytest.mark.parametrize("pool", [Workers(2), Workers(None, "auto")])
def test_without_ray_whoever_asks_for_workers_is_told_how_to_get_them(monkeypatch, pool):
    monkeypatch.setattr(workers, "_ray_is_installed", lambda: False)
    with pytest.raises(ConfigError, match="Ray is not installed") as error:
        pool.check()
    assert "pip install 'edgeprune[ray]'" in error.value.hint


def test_without_ray_this_process_works(monkeypatch):
    monkeypatch.setattr(workers, "_ray_is_installed", lambda: False)
    Workers().check()
    watch = Watch()
    work([WorkItem("a", lambda *_: "done", None)], Workers(), watch, "cell")
    assert watch.notes == ["done"]


def test_an_address_and_no_workers_contradict():
    with pytest.raises(ConfigError, match="`workers=0`"):
        Workers(0, "auto").check()


@pytest.mark.parametrize(
    ("pool", "count", "threads"),
    [
        (Workers(), 2, 4),
        (Workers(), 3, 2),
        (Workers(), 16, 1),
        (Workers(address="a:1"), 2, 1),
        (Workers(threads=5), 2, 5),
    ],
)
def test_the_cores_of_this_machine_are_shared_out(monkeypatch, pool, count, threads):
    monkeypatch.setattr(workers, "_cores", lambda: 8)
    assert workers._threads(pool, count) == threads


@pytest.mark.parametrize(
    ("gpus", "count", "each"), [(0, 4, 0), (1, 1, 1), (1, 4, 0.25), (1, 3, 0.333), (4, 2, 2), (5, 2, 2), (2, 3, 0.666)]
)
def test_gpus_are_shared_out_as_ray_counts_them(gpus, count, each):
    assert workers.share(gpus, count) == each


def test_cells_on_the_cpu_take_no_gpu_and_cells_on_a_gpu_ask_for_one():
    def ray(gpus):
        return SimpleNamespace(cluster_resources=lambda: {"GPU": gpus} if gpus else {})

    assert workers._gpus(ray(4.0), Workers(compute="cpu"), 2) == 0
    assert (
        workers._gpus(ray(4.0), Workers(compute="auto"), 2) == workers._gpus(ray(4.0), Workers(compute="cuda"), 2) == 2
    )
    assert workers._gpus(ray(0.0), Workers(compute="auto"), 2) == 0
    with pytest.raises(ConfigError, match="`compute='cuda'` asks for a GPU, and Ray knows of none"):
        workers._gpus(ray(0.0), Workers(compute="cuda"), 2)


def test_one_gpu_by_its_number_is_not_for_ray(monkeypatch):
    monkeypatch.setattr(workers, "choose", lambda wanted: None)
    Workers(workers=0, compute="cuda:1").check()
    with pytest.raises(ConfigError, match="`compute=cuda:1` names one GPU, and Ray shares them out"):
        Workers(workers=2, compute="cuda:1").check()
