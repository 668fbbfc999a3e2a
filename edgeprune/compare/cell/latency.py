"""Latency of the cells, one after the other in this process, while nothing else runs."""

from pathlib import Path

from edgeprune import targets
from edgeprune.bench import machine
from edgeprune.compare.cell.stages import ONNX
from edgeprune.compare.records import CellJob
from edgeprune.files.store import RunFolder, canonical_sha256, file_sha256
from edgeprune.protocols import NullProgress
from edgeprune.records.results import BenchReport
from edgeprune.tasks.bench.files import BenchChoices, bench_files

BENCH = "06-bench"


def latency_of(job: CellJob, unpruned: CellJob | None) -> BenchReport:
    """Measure a finished cell's network in turns with the unpruned one, unless this machine has done so before.

    Args:
        job: The cell; its folder gets the raw samples.
        unpruned: The network to compare with, or None to measure the cell alone, as the report's baseline.

    Raises:
        ModelError: A network cannot be run.
        DeviceError: The clock returned something that is not a time.
    """
    target, own = targets.get(job.bench.target), job.folder / ONNX
    other = None if unpruned is None else unpruned.folder / ONNX
    inputs = {
        "own": file_sha256(own),
        "other": "" if other is None else file_sha256(other),
        "bench": canonical_sha256(job.bench.model_dump()),
        "target": canonical_sha256(target.model_dump()),
        "machine": canonical_sha256(machine.identity()),
    }
    first, second = (own, None) if other is None else (other, own)
    names = ("baseline",) if second is None else ("baseline", "pruned")
    return RunFolder(job.folder).reuse_or_make(
        BENCH,
        BenchReport,
        inputs,
        tuple(f"samples-{name}.npz" for name in names),
        lambda: _measured(first, second, job),
    )


def _measured(first: Path, second: Path | None, job: CellJob) -> BenchReport:
    choices = BenchChoices(rounds=job.bench.rounds, round_ms=job.bench.round_ms)
    return bench_files(first, second, targets.get(job.bench.target), choices, job.folder, NullProgress())
