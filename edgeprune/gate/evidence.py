"""Report as input of the gate: read, and verified against all files beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from edgeprune.bench import samples
from edgeprune.errors import ConfigError, DataError
from edgeprune.gate import verify
from edgeprune.gate.session import HOW, TimedSession, conditions_of, timing
from edgeprune.gate.statistics import Values
from edgeprune.records.names import Role
from edgeprune.report.schema.json import load
from edgeprune.report.schema.measured import AccuracySection
from edgeprune.report.schema.schema import Report


@dataclass(frozen=True)
class Evidence:
    """Report with the files beside it.

    Attributes:
        report: Content of report.json.
        source: Path as it was given.
        rounds: Every single time in ms, one array for each round, for models whose samples are available.
        notes: Remarks on what could not be verified or does not apply, one sentence each.
    """

    report: Report
    source: str
    rounds: Mapping[Role, Sequence[Values]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """Name of the model; '' if the report has none."""
        return self.report.baseline.name or ""

    @property
    def accuracy(self) -> AccuracySection | None:
        """Accuracy on the device, with the files that run there; on the host if it was not measured on the device."""
        return self.report.device_accuracy or self.report.accuracy

    @property
    def label(self) -> str:
        """Label that distinguishes the report from others: target, model, precision."""
        latency = self.report.latency
        parts = [self.report.target, self.model, latency.precision if latency else ""]
        if latency and latency.batch > 1:
            parts.append(f"batch {latency.batch}")
        return " / ".join(part for part in parts if part)

    @cached_property
    def session(self) -> TimedSession | None:
        """Latencies for comparison; None if the pruned model was not measured.

        Raises:
            DataError: There are too few rounds to compare.
        """
        latency, artifacts = self.report.latency, self.report.artifacts
        if latency is None or latency.pruned is None:
            return None
        how = {name: getattr(latency, name) for name in HOW}
        return TimedSession(
            conditions=conditions_of(self.report.target, how, dict(self.report.device or {})),
            baseline=timing(artifacts.baseline_onnx.sha256, latency.baseline.round_medians_ms, self._times("baseline")),
            pruned=timing(artifacts.pruned_onnx.sha256, latency.pruned.round_medians_ms, self._times("pruned")),
            builds=latency.builds or (),
            processes=latency.process_of_round or (),
        )

    def _times(self, role: Role) -> Sequence[Values] | None:
        return self.rounds.get(role)


def unverified(path: Path) -> Evidence:
    """Read a report without verification: every field is checked, but nothing is compared with the files beside it.

    Raises:
        ConfigError: No such file.
        DataError: Truncated, or of a newer schema.
    """
    if not path.exists():
        raise ConfigError(f"no such file: {path}", "Give the report.json of a run folder")
    try:
        return Evidence(load(path), str(path))
    except ConfigError as error:
        raise DataError(error.message, error.hint) from error


def beside(evidence: Evidence) -> tuple[Path, ...]:
    """List the report and every existing file that it is verified against."""
    path, report = Path(evidence.source), evidence.report
    named = [summary.samples_path for summary in verify.summaries(report).values()]
    named += [artifact.path for _, artifact in report.artifacts if artifact is not None]
    files = {path.parent / name for name in named} | verify.stage_files(path.parent)
    return (path, *sorted(file for file in files if file.is_file()))


def read(path: Path) -> Evidence:
    """Read a report and verify it: figures against figures, samples, records and files beside it.

    Raises:
        ConfigError: No such file.
        DataError: Truncated, of a newer schema, or inconsistent with itself or with files beside it.
    """
    report = unverified(path).report
    folder = path.parent
    verify.figures(report, str(path))
    rounds: dict[Role, Sequence[Values]] = {}
    notes = []
    for role, summary in verify.summaries(report).items():
        file = folder / summary.samples_path
        if file.is_file():
            verify.samples_file(summary, file)
            times, description = samples.read(file)
            verify.samples_of(report, role, times, description, str(file))
            rounds[role] = times
        else:
            notes.append(f"{summary.samples_path} is not beside the report: its latencies could not be verified")
    verify.artifacts(report, folder)
    verify.stages(report, folder)
    replay = (report.device or {}).get("replay")
    if replay:
        notes.append(f"replay of the recorded board {replay}: no device was measured, its times and power mean nothing")
    return Evidence(report, str(path), rounds, tuple(notes))
