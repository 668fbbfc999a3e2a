"""Content of compare.json, from the records of the cells and their correctly classified frames."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeprune.compare.cell.stages import RIGHT
from edgeprune.compare.document import CellFigures, CellLatency, Kind, Loss, UnprunedFigures
from edgeprune.compare.records import CellJob, Finished
from edgeprune.records.results import BenchReport, LatencySummary
from edgeprune.train.accuracy import paired

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SHOWN = re.compile(r"p\d\d is not claimed|no speed-up was shown|the pruned model is slower")
Correct = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MeasuredCell:
    """A finished cell with its latency and the unpruned network it was measured against, if any."""

    job: CellJob
    finished: Finished
    bench: BenchReport
    beside: CellJob | None


def unpruned_figures(job: CellJob, finished: Finished) -> UnprunedFigures:
    """Figures of an unpruned network."""
    assert job.cell.model is not None
    return UnprunedFigures(
        id=job.cell.id,
        model=job.cell.model.name,
        data=job.cell.data.name,
        sha256=job.cell.model.sha256,
        frames=finished.tested.accuracy.frames,
        cost=finished.tested.cost,
        top1=finished.tested.accuracy.top1,
        ci95=finished.tested.accuracy.ci95,
    )


def figures(measured: MeasuredCell, unpruned: CellJob | None) -> CellFigures:
    """Figures of a finished cell, with its accuracy compared with that of the unpruned network."""
    finished, cell = measured.finished, measured.job.cell
    trained, chosen = finished.training, finished.plan
    return CellFigures(
        id=cell.id,
        subject=cell.subject,
        data=cell.data.name,
        kind=_kind(measured.job),
        method=cell.subject if cell.method is None else cell.method.name,
        ratio=cell.ratio,
        seed=cell.seed,
        cost=finished.tested.cost,
        frames=finished.tested.accuracy.frames,
        top1=finished.tested.accuracy.top1,
        ci95=finished.tested.accuracy.ci95,
        by_snr={snr: rate.top1 for snr, rate in finished.tested.accuracy.by_snr.items()},
        curve=trained.epochs if trained else (),
        best_epoch=trained.best_epoch if trained and trained.epochs else None,
        loss=None if unpruned is None else Loss(*paired(correct(unpruned), correct(measured.job))),
        units=len(chosen.plan.decisions) if chosen else None,
        kept=chosen.plan.kept if chosen else None,
        fixed=chosen.fixed if chosen else None,
        segments=chosen.plan.segments if chosen else None,
        latency=_latency(measured),
    )


def _kind(job: CellJob) -> Kind:
    return "network" if job.cell.method is None else job.cell.method.kind


def correct(job: CellJob) -> Correct:
    """Load which test frames a finished cell classified correctly, bool (N,)."""
    right: Correct = np.load(job.folder / RIGHT)
    return right


def _latency(measured: MeasuredCell) -> CellLatency:
    bench, folder = measured.bench, f"cells/{measured.job.cell.id}"
    if bench.pruned is None:
        return _summary(bench.baseline, folder)
    assert measured.beside is not None
    own = _summary(bench.pruned, folder)
    return CellLatency(
        median_ms=own.median_ms,
        samples=own.samples,
        samples_path=own.samples_path,
        p90_ms=own.p90_ms,
        p99_ms=own.p99_ms,
        against=measured.beside.cell.subject,
        against_median_ms=bench.baseline.median_ms,
        speedup=bench.speedup,
        speedup_ci95=bench.speedup_ci95,
    )


def _summary(summary: LatencySummary, folder: str) -> CellLatency:
    return CellLatency(
        median_ms=summary.median_ms,
        samples=summary.samples,
        samples_path=f"{folder}/{summary.samples_path}",
        p90_ms=summary.p90_ms,
        p99_ms=summary.p99_ms,
    )


def warnings_of(measured: Sequence[MeasuredCell]) -> tuple[str, ...]:
    """Collect warnings about disturbed measurements: of those that differ only in numbers, the worst and their count.

    Warnings of missing percentiles and of networks that are not faster are left out: the table shows both.
    """
    said = [warning for each in measured for warning in each.bench.warnings if not _SHOWN.search(warning)]
    alike: dict[str, list[str]] = {}
    for warning in said:
        alike.setdefault(_NUMBER.sub("#", warning), []).append(warning)
    return tuple(
        f"in {len(same)} of {len(measured)} measurements: {max(same, key=_first_number)}" for same in alike.values()
    )


def _first_number(warning: str) -> float:
    found = _NUMBER.search(warning)
    return float(found.group()) if found else 0.0
