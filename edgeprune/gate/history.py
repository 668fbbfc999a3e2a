"""Reports over commits: a folder of them, or a branch of the user's checked out as one."""

import itertools
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeprune.errors import ConfigError
from edgeprune.gate import evidence as evidences
from edgeprune.gate.evidence import Evidence
from edgeprune.gate.figures import plain
from edgeprune.gate.steps import Step, steps
from edgeprune.gate.verify import summaries
from edgeprune.report.folder import JSON_NAME
from edgeprune.store import replacing, unwritable

_LINEAR = frozenset({"top1"})


@dataclass(frozen=True)
class Point:
    """One report in a trend: its commit or, outside a repository, the day it was made."""

    commit: str
    created: str
    value: float


@dataclass(frozen=True)
class Trend:
    """One figure of one model on one target, oldest first, and where its level changed."""

    label: str
    name: str
    points: tuple[Point, ...]
    steps: tuple[Step, ...]


def read(folder: Path) -> list[Evidence]:
    """Every report in a folder and its subfolders, oldest first, each verified.

    Raises:
        ConfigError: There is no such folder.
        DataError: A report is damaged.
    """
    if not folder.is_dir():
        raise ConfigError(f"no such folder: {folder}", "Make it; the first report is added with --keep")
    found = [evidences.read(path) for path in sorted(folder.rglob(JSON_NAME))]
    return sorted(found, key=lambda each: each.report.created)


def keep(evidence: Evidence, folder: Path) -> Path:
    """Copy a report and its samples into a history; a report that is there already stays as it is.

    Raises:
        ConfigError: The folder cannot be written.
    """
    report = evidence.report
    commit = (report.git_commit or "no-commit").replace("+", "-")
    names = (re.sub(r"\D", "", report.created)[:14], commit[:12], evidence.label)
    own = folder / re.sub(r"[^\w.]+", "-", "-".join(names)).strip("-.")
    source = Path(evidence.source)
    files = [summary.samples_path for summary in summaries(report).values()]
    for name, path in ((JSON_NAME, source), *((each, source.parent / each) for each in files)):
        if path.is_file() and not (own / name).exists():
            try:
                with path.open("rb") as found, replacing(own / name) as file:
                    shutil.copyfileobj(found, file)
            except OSError as error:
                raise unwritable(own / name, error) from error
    return own


def merged(older: Sequence[Evidence], judged: Sequence[Evidence]) -> list[Evidence]:
    """A history with the reports of today; one that is in it already counts once."""
    seen = {(each.label, each.report.created) for each in older}
    return [*older, *(each for each in judged if (each.label, each.report.created) not in seen)]


def trends(reports: Sequence[Evidence]) -> list[Trend]:
    """Every figure of every model and target over the reports, with its steps; figures seen once have no trend."""
    points: dict[tuple[str, str], list[Point]] = {}
    for each in sorted(reports, key=lambda one: one.report.created):
        commit = (each.report.git_commit or each.report.created)[:10]
        for name, value in plain(each).items():
            points.setdefault((each.label, name), []).append(Point(commit, each.report.created, value))
    return [_trend(label, name, found) for (label, name), found in points.items() if len(found) > 1]


def _trend(label: str, name: str, points: Sequence[Point]) -> Trend:
    values = np.array([point.value for point in points])
    found = steps(values if name in _LINEAR or np.any(values <= 0) else np.log(values))
    levels = [0, *(step.at for step in found), len(points)]
    medians = [float(np.median(values[low:high])) for low, high in itertools.pairwise(levels)]
    told = tuple(Step(step.at, *pair) for step, pair in zip(found, itertools.pairwise(medians), strict=True))
    return Trend(label, name, tuple(points), told)
