"""The whole comparison: cells, then latencies, then the table. Results in the run folder are reused."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import edgeprune
from edgeprune import targets
from edgeprune.compare.cell.attempt import attempt, reason_for
from edgeprune.compare.cell.cells import Pair
from edgeprune.compare.cell.latency import latency_of
from edgeprune.compare.cell.settings import with_defaults
from edgeprune.compare.cell.stages import finished_of
from edgeprune.compare.document import Comparison, FailedCell, Measurement
from edgeprune.compare.grid.grid import Grid
from edgeprune.compare.records import Cell, CellJob, Finished
from edgeprune.compare.report import figures, folder
from edgeprune.compare.report.figures import MeasuredCell
from edgeprune.compare.report.rows import rows_of
from edgeprune.compare.workers import Workers, WorkItem, work
from edgeprune.compare.worklist import Worklist, worklist_of
from edgeprune.errors import ModelError
from edgeprune.files.run_folder import refuse_foreign, working_in
from edgeprune.files.store import now
from edgeprune.network.cards import choose
from edgeprune.network.model_file import ModelOptions
from edgeprune.protocols import Progress
from edgeprune.report import facts


def compare(
    grid: Grid, out: Path, options: ModelOptions, pool: Workers, command: str, progress: Progress
) -> Comparison:
    """Run a comparison and write compare.json, the table and the plots into `out`.

    Args:
        grid: The grid to compare.
        out: The run folder.
        options: Options for loading the model files.
        pool: Workers for the cells.
        command: The command line, for the report.
        progress: Reporter of the progress of every cell.

    Raises:
        ConfigError: A setting is wrong, `out` cannot be written or holds something else, or another comparison is
            running in it.
        ModelError: A model cannot be read, or no cell was finished.
        DataError: Frames cannot be read or do not fit.
    """
    pool.check()
    refuse_foreign(out)
    worklist = worklist_of(grid, out, options, progress)
    with working_in(out):
        return _compared(worklist, grid, out, pool, command, progress)


def _compared(worklist: Worklist, grid: Grid, out: Path, pool: Workers, command: str, progress: Progress) -> Comparison:
    everything = [*worklist.baselines.values(), *worklist.jobs]
    found = {job.folder: finished_of(job) for job in everything}
    pending = [job for job in everything if found[job.folder] is None]
    progress.note(f"{len(everything) - len(pending)} of {len(everything)} work items are already finished")
    if pool.in_process:
        progress.note(choose(pool.compute).sentence)
    pieces = [WorkItem(job.cell.id, attempt, replace(job, compute=pool.compute)) for job in pending]
    lost = work(pieces, pool, progress, "cell")
    found |= {job.folder: finished_of(job) for job in pending}
    done = {folder: finished for folder, finished in found.items() if finished is not None}
    measured, failed = _measured(worklist, done, lost, progress)
    if not measured:
        raise ModelError(f"none of the {len(worklist.jobs)} cells was finished; {failed[0].id}: {failed[0].reason}")
    comparison = _comparison(worklist, done, measured, failed, grid, command)
    folder.write(out, comparison)
    return comparison


def _measured(
    worklist: Worklist, done: dict[Path, Finished], lost: dict[str, str], progress: Progress
) -> tuple[list[MeasuredCell], list[FailedCell]]:
    """Measure the latency of every finished cell, and list the cells without one."""
    measured: list[MeasuredCell] = []
    failed: list[FailedCell] = []
    progress.stage("measure latency")
    with progress.track("latency", len(worklist.jobs)) as advance:
        for job in worklist.jobs:
            beside = _beside(job.cell, worklist.baselines)
            reason = _reason(job, beside, done, lost)
            if reason is None:
                bench = latency_of(job, beside)
                measured.append(MeasuredCell(job, done[job.folder], bench, beside))
            else:
                failed.append(_failed(job.cell, reason))
            advance(1, job.cell.id)
    return measured, failed


def _reason(job: CellJob, beside: CellJob | None, done: dict[Path, Finished], lost: dict[str, str]) -> str | None:
    """Return the reason why a cell has no figures, or None if it has figures."""
    if job.folder not in done:
        return lost.get(job.cell.id) or reason_for(job)
    if beside is not None and beside.folder not in done:
        return f"the unpruned network has no figures: {lost.get(beside.cell.id) or reason_for(beside)}"
    return None


def _beside(cell: Cell, baselines: dict[Pair, CellJob]) -> CellJob | None:
    """Return the unpruned network to measure a cell against; for a reference network, the first on its data."""
    if cell.model is not None:
        return baselines[cell.model, cell.data]
    return next((job for (_, data), job in baselines.items() if data == cell.data), None)


def _comparison(
    worklist: Worklist,
    done: dict[Path, Finished],
    measured: Sequence[MeasuredCell],
    failed: Sequence[FailedCell],
    grid: Grid,
    command: str,
) -> Comparison:
    own = {each.job.folder: each.beside if each.job.cell.model is not None else None for each in measured}
    cells = tuple(figures.figures(each, own[each.job.folder]) for each in measured)
    unpruned = tuple(
        figures.unpruned_figures(job, done[job.folder]) for job in worklist.baselines.values() if job.folder in done
    )
    first = measured[0].bench
    return Comparison(
        title=grid.title,
        created=now(),
        edgeprune_version=edgeprune.__version__,
        commands=(command,),
        packages=facts.packages(),
        machine=first.device,
        grid=_named(grid),
        data=worklist.data,
        measurement=Measurement(
            target=targets.get(grid.bench.target).name,
            runtime=first.runtime,
            precision=first.precision,
            batch=first.batch,
            threads=first.threads,
            mode=first.mode,
            rounds=first.rounds,
            warnings=figures.warnings_of(measured),
        ),
        unpruned=unpruned,
        rows=rows_of(cells, failed, unpruned),
        cells=cells,
        failed=tuple(failed),
        warnings=worklist.warnings,
        plots=grid.plots,
        git_commit=facts.git_commit(Path.cwd()),
    )


def _named(grid: Grid) -> dict[str, Any]:
    """Write the grid out in full, with file names instead of paths, which mean nothing on another machine."""
    plain = grid.model_dump(mode="json", exclude_none=True)
    plain["methods"] = [with_defaults(method) for method in grid.methods]
    plain["models"] = [path.name for path in grid.models]
    plain["data"] = grid.data.model_dump(mode="json", exclude_defaults=True)
    if grid.data.path:
        plain["data"]["path"] = [path.name for path in grid.data.path]
    plain["bench"]["target"] = Path(grid.bench.target).name
    return plain


def _failed(cell: Cell, reason: str) -> FailedCell:
    method = cell.subject if cell.method is None else cell.method.name
    return FailedCell(cell.id, cell.subject, cell.data.name, method, cell.seed, reason, cell.ratio)


def cell_states(grid: Grid, out: Path, options: ModelOptions, progress: Progress | None = None) -> dict[str, str]:
    """List which cells are finished and which would be run; writes nothing."""
    refuse_foreign(out)
    worklist = worklist_of(grid, out, options, progress)
    return {job.cell.id: "run" if finished_of(job) is None else "reuse" for job in worklist.jobs}
