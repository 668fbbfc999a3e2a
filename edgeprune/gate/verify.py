"""Verification of a report: its figures and hashes are computed again.

A report carries the hashes of the raw samples and the files it refers to, but none of itself. Its claims are compared
with its own figures, the samples, the records of the stages and the files beside it; tampering with one of them would
require changing them all.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.bench import estimate, stats
from edgeprune.errors import ConfigError, DataError, DeviceError
from edgeprune.files.store import STAGE_SCHEMA, file_sha256, read_json
from edgeprune.gate.session import HOW
from edgeprune.gate.statistics import Values
from edgeprune.records.names import Role
from edgeprune.records.results import LatencySummary
from edgeprune.report.schema.measured import AccuracySection
from edgeprune.report.schema.schema import Report

_JUDGED = {"bench": ("speedup", "speedup_ci95"), "accuracy": ("drop", "drop_ci95", "mcnemar_p")}
_RECORDS = "[0-9][0-9]-*.json"
_TOLERANCE = 1e-6
_LARGE = 1 << 1000
_CHANCE = 0.25  # of the width of a bootstrap's interval: another NumPy may draw other resamples
_HINT = "It was changed after it was written, or is of another run: measure again"


def summaries(report: Report) -> dict[Role, LatencySummary]:
    """Latencies of a report, for one model or two."""
    latency = report.latency
    if latency is None:
        return {}
    return {"baseline": latency.baseline} if latency.pruned is None else _both(latency.baseline, latency.pruned)


def figures(report: Report, source: str) -> None:
    """Recompute figures that follow from others in the report.

    Raises:
        DataError: A figure differs; the message names it.
    """
    for role, summary in summaries(report).items():
        assert report.latency is not None
        medians = summary.round_medians_ms
        if not medians or len(medians) != report.latency.rounds:
            raise _contradiction(
                source, f"latency.{role}.round_medians_ms", f"{report.latency.rounds} rounds", len(medians)
            )
        if not min(medians) * (1 - _TOLERANCE) <= summary.median_ms <= max(medians) * (1 + _TOLERANCE):
            raise _contradiction(source, f"latency.{role}.median_ms", "within those of the rounds", summary.median_ms)
    _processes(report, source)
    _speedup(report, source)
    for name, accuracy in (("accuracy", report.accuracy), ("device_accuracy", report.device_accuracy)):
        if accuracy is not None:
            _accuracy(accuracy, name, source)


def _processes(report: Report, source: str) -> None:
    latency = report.latency
    if latency is None or latency.process_of_round is None:
        return
    of_round = latency.process_of_round
    if len(of_round) != latency.rounds:
        raise _contradiction(source, "latency.process_of_round", f"of {latency.rounds} rounds", f"of {len(of_round)}")
    if len(set(of_round)) != latency.processes:
        raise _contradiction(source, "latency.processes", len(set(of_round)), latency.processes)


def samples_file(summary: LatencySummary, path: Path) -> None:
    """Verify the hash of a file of samples, if the report has one: reports of older versions do not.

    Raises:
        DataError: It is another file than that of the report.
    """
    if summary.samples_sha256 is not None:
        _same_file(path, summary.samples_sha256)


def samples_of(
    report: Report, role: Role, times: Sequence[Values], description: Mapping[str, Any], source: str
) -> None:
    """Recompute one model's latencies from all single times, and compare the conditions in both files.

    Raises:
        DataError: A figure or a condition differs; the message names it.
    """
    assert report.latency is not None
    claimed = summaries(report)[role]
    try:
        found = stats.summarise(times, claimed.samples_path)
    except DeviceError as error:
        raise DataError(f"{source}: {error.message}", _HINT) from error
    if found.samples != claimed.samples or len(found.round_medians_ms) != len(claimed.round_medians_ms):
        raise _contradiction(source, f"latency.{role}.samples", found.samples, claimed.samples)
    for name in ("median_ms", "mean_ms", "p90_ms", "p99_ms"):
        _same(source, f"latency.{role}.{name}", getattr(found, name), getattr(claimed, name))
    for measured, told in zip(found.round_medians_ms, claimed.round_medians_ms, strict=True):
        _same(source, f"latency.{role}.round_medians_ms", measured, told)
    for name in HOW:
        if name in description and description[name] != getattr(report.latency, name):
            raise _contradiction(source, f"latency.{name}", description[name], getattr(report.latency, name))
    device = {key: value for key, value in (report.device or {}).items() if key != "engines"}
    if "device" in description and description["device"] != device:
        raise _contradiction(source, "device", "that of the samples", "another")


def artifacts(report: Report, folder: Path) -> None:
    """Verify the hash of every existing file that the report names.

    Raises:
        DataError: One is another file than that of the report.
    """
    for _, artifact in report.artifacts:
        if artifact is not None:
            _same_file(folder / artifact.path, artifact.sha256)


def stages(report: Report, folder: Path) -> None:
    """Compare the report with the records of its stages, if they lie beside it.

    Raises:
        DataError: A record names other files or figures.
    """
    for file in sorted(folder.glob(_RECORDS)):
        files, record = _stage(file)
        for name, sha256 in files.items():
            if Path(name).name == name:
                _same_file(folder / name, str(sha256))
        stage = file.stem.partition("-")[2]
        told = {"bench": report.latency, "accuracy": report.accuracy}.get(stage)
        for key in _JUDGED.get(stage, ()) if told is not None else ():
            ours, theirs = _numbers(record.get(key)), _numbers(getattr(told, key))
            if len(ours) != len(theirs):
                raise _contradiction(str(file), f"{stage}.{key}", ours, theirs)
            for one, other in zip(ours, theirs, strict=True):
                _same(str(file), f"{stage}.{key}", one, other)


def stage_files(folder: Path) -> set[Path]:
    """List the records of stages in a folder, and the files that they name in it.

    Raises:
        DataError: A record is not a JSON file.
    """
    records = sorted(folder.glob(_RECORDS))
    return {*records, *(folder / name for file in records for name in _stage(file)[0] if Path(name).name == name)}


def _stage(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the files and the record that a stage left; both empty if the file is of another kind."""
    try:
        envelope = read_json(file)
    except ConfigError as error:
        raise DataError(error.message, error.hint) from error
    if not isinstance(envelope, dict) or envelope.get("schema") != STAGE_SCHEMA:
        return {}, {}
    files, record = envelope.get("artifacts"), envelope.get("record")
    return (files if isinstance(files, dict) else {}), (record if isinstance(record, dict) else {})


def _accuracy(accuracy: AccuracySection, name: str, source: str) -> None:
    for role, found in (("baseline", accuracy.baseline), ("pruned", accuracy.pruned)):
        table = np.array(found.confusion)
        if table.sum() != accuracy.frames:
            raise _contradiction(source, f"{name}.{role}.confusion", f"of {accuracy.frames} frames", int(table.sum()))
        _same(source, f"{name}.{role}.top1", float(np.trace(table) / max(1, table.sum())), found.top1)
    _same(source, f"{name}.drop", accuracy.baseline.top1 - accuracy.pruned.top1, accuracy.drop)


def _speedup(report: Report, source: str) -> None:
    latency = report.latency
    if latency is None or latency.pruned is None:
        return
    medians = latency.baseline.round_medians_ms, latency.pruned.round_medians_ms
    try:
        if latency.process_of_round is not None:
            found = estimate.speedup(*medians, latency.process_of_round, latency.builds)
        elif latency.builds is not None:
            found = stats.compare_builds(*medians, latency.builds)
        else:
            found = stats.compare(*medians)
    except ConfigError as error:
        raise DataError(f"{source}: {error.message}", error.hint) from error
    assert latency.speedup_ci95 is not None
    _same(source, "latency.speedup", found.ratio, latency.speedup)
    if latency.process_of_round is not None:
        for ours, theirs in zip(found.ci95, latency.speedup_ci95, strict=True):
            _same(source, "latency.speedup_ci95", ours, theirs)
        return
    if latency.builds is None and _built_again(report):
        return  # the interval covers every build by itself, and reports of older versions do not tell rounds of one
    chance = _CHANCE * (found.ci95[1] - found.ci95[0])
    for ours, theirs in zip(found.ci95, latency.speedup_ci95, strict=True):
        if abs(ours - theirs) > chance:
            _same(source, "latency.speedup_ci95", ours, theirs)


def _built_again(report: Report) -> bool:
    """Return whether the device built each engine more than once."""
    engines = (report.device or {}).get("engines")
    return isinstance(engines, list) and len(engines) > len(summaries(report))


def _both(baseline: LatencySummary, pruned: LatencySummary) -> dict[Role, LatencySummary]:
    return {"baseline": baseline, "pruned": pruned}


def _numbers(value: Any) -> list[float | None]:
    return [_number(each) for each in value] if isinstance(value, (list, tuple)) else [_number(value)]


def _number(value: Any) -> float | None:
    """Convert a value of a record to a number; NaN, which equals nothing, if it is not a number."""
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        return math.nan
    return float(value) if abs(value) < _LARGE else math.inf


def _same_file(path: Path, sha256: str) -> None:
    if path.is_file() and (found := file_sha256(path)) != sha256:
        raise DataError(f"{path} has the sha256 {found[:12]}…, the report was made with {sha256[:12]}…", _HINT)


def _same(source: str, name: str, found: float | None, claimed: float | None) -> None:
    if found is None or claimed is None:
        alike = found is claimed
    else:
        alike = math.isclose(found, claimed, rel_tol=_TOLERANCE, abs_tol=1e-9)
    if not alike:
        raise _contradiction(source, name, found, claimed)


def _contradiction(source: str, name: str, found: Any, claimed: Any) -> DataError:
    return DataError(f"{source}: {name} is {claimed} in the report, and {found} by what it was measured from", _HINT)
