"""History of reports over commits: a folder, or a branch of the user's checked out as one."""

import contextlib
import itertools
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import edgeprune
from edgeprune.errors import ConfigError
from edgeprune.files.run_folder import claim, clear_unfinished, unwritable
from edgeprune.files.store import canonical_sha256, file_sha256, read_json, write_json
from edgeprune.files.whole import own_folder, replacing
from edgeprune.gate import evidence as evidences
from edgeprune.gate.change_points import ChangePoint, steps
from edgeprune.gate.evidence import Evidence
from edgeprune.gate.figures import plain
from edgeprune.gate.verify import summaries
from edgeprune.report.folder import JSON_NAME

NAME = "edgeprune-history.json"
SCHEMA = "edgeprune-history/1"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Verified:
    """Index of one folder, read on creation.

    Args:
        folder: Folder of the reports.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._known = _read(self._path)
        self._met: set[str] = set()

    def knows(self, key: str) -> bool:
        """Whether files were verified before; from now on they count as used."""
        self._met.add(key)
        return key in self._known

    def close(self) -> None:
        """Write the used entries, if they differ from the file."""
        if self._met == self._known:
            return
        with contextlib.suppress(ConfigError):  # a folder that may only be read
            write_json(
                self._path,
                {"schema": SCHEMA, "edgeprune_version": edgeprune.__version__, "verified": sorted(self._met)},
            )


def key_of(files: Iterable[Path], folder: Path) -> str:
    """Key of a set of files: a hash of their names and content."""
    return canonical_sha256([[str(file.relative_to(folder)), file_sha256(file)] for file in files])


def _read(path: Path) -> set[str]:
    try:
        plain = read_json(path)
    except (ConfigError, RecursionError):
        return set()
    if not isinstance(plain, dict) or plain.get("schema") != SCHEMA:
        return set()
    found = plain.get("verified")
    if plain.get("edgeprune_version") != edgeprune.__version__ or not isinstance(found, list):
        return set()
    return {each for each in found if isinstance(each, str) and _SHA256.fullmatch(each)}


_LONGEST_NAME = 200
_LINEAR = frozenset({"top1"})


@dataclass(frozen=True)
class Point:
    """Report in a trend: its commit or, outside a repository, the day it was made."""

    commit: str
    created: str
    value: float


@dataclass(frozen=True)
class Trend:
    """History of one figure of one model on one target, oldest first, and where its level changed."""

    label: str
    name: str
    points: tuple[Point, ...]
    steps: tuple[ChangePoint, ...]


@dataclass(frozen=True)
class Entry:
    """Part of a report that a history keeps in memory, of bounded size however long its rounds were.

    Attributes:
        source: Path of the report.
        label: Label that distinguishes it from others: see `Evidence.label`.
        created: Date of the report.
        commit: First ten characters of the commit; the day if no commit is known.
        figures: Measured figures, by name with their unit.
    """

    source: Path
    label: str
    created: str
    commit: str
    figures: Mapping[str, float]

    def evidence(self) -> Evidence:
        """Read and verify the whole report.

        Raises:
            DataError: It is damaged.
        """
        return evidences.read(self.source)


def entry_of(evidence: Evidence) -> Entry:
    """Reduce a report to what a history keeps."""
    report = evidence.report
    commit = (report.git_commit or report.created)[:10]
    return Entry(Path(evidence.source), evidence.label, report.created, commit, plain(evidence))


def read(folder: Path) -> list[Entry]:
    """Read every report in a folder and its subfolders, oldest first, each verified once.

    Raises:
        ConfigError: There is no such folder.
        DataError: A report is damaged.
    """
    if not folder.is_dir():
        raise ConfigError(f"no such folder: {folder}", "Create it; `keep` adds the first report")
    verified = Verified(folder)
    found = [_entry(path, verified) for path in sorted(folder.rglob(JSON_NAME))]
    verified.close()
    return sorted(found, key=lambda each: each.created)


def _entry(path: Path, verified: Verified) -> Entry:
    found = evidences.unverified(path)
    if not verified.knows(key_of(evidences.beside(found), path.parent)):
        found = evidences.read(path)
    return entry_of(found)


def keep(evidence: Evidence, folder: Path) -> Path:
    """Copy a report and its samples into a history; an existing report is left unchanged.

    Its samples are copied first, so that a report in a history is complete. Leftovers of a killed process are
    removed, since no other process uses their names.

    Raises:
        ConfigError: The folder cannot be written.
    """
    report = evidence.report
    commit = (report.git_commit or "no-commit").replace("+", "-")
    names = (re.sub(r"\D", "", report.created)[:14], commit[:12], evidence.label)
    own = folder / re.sub(r"[^\w.]+", "-", "-".join(names)).strip("-.")[:_LONGEST_NAME]
    source = Path(evidence.source)
    files = [summary.samples_path for summary in summaries(report).values()]
    if own.is_symlink():
        raise ConfigError(f"{own} is a symbolic link, which is not followed", "Remove it")
    claim(own_folder(own))
    clear_unfinished(own)
    for name, path in (*((each, source.parent / each) for each in files), (JSON_NAME, source)):
        if path.is_file() and not (own / name).exists():
            try:
                with path.open("rb") as found, replacing(own / name) as file:
                    shutil.copyfileobj(found, file)
            except OSError as error:
                raise unwritable(own / name, error) from error
    return own


def merged(older: Sequence[Entry], judged: Sequence[Evidence]) -> list[Entry]:
    """Merge today's reports into a history; a report that is already in it counts once."""
    seen = {(each.label, each.created) for each in older}
    return [*older, *(each for each in map(entry_of, judged) if (each.label, each.created) not in seen)]


def trends(reports: Sequence[Entry]) -> list[Trend]:
    """Compute every figure of every model and target over the reports, with its steps; single values have no trend."""
    points: dict[tuple[str, str], list[Point]] = {}
    for each in sorted(reports, key=lambda one: one.created):
        for name, value in each.figures.items():
            points.setdefault((each.label, name), []).append(Point(each.commit, each.created, value))
    return [_trend(label, name, found) for (label, name), found in points.items() if len(found) > 1]


def _trend(label: str, name: str, points: Sequence[Point]) -> Trend:
    values = np.array([point.value for point in points])
    found = steps(values if name in _LINEAR or np.any(values <= 0) else np.log(values))
    levels = [0, *(step.at for step in found), len(points)]
    medians = [float(np.median(values[low:high])) for low, high in itertools.pairwise(levels)]
    told = tuple(ChangePoint(step.at, *pair) for step, pair in zip(found, itertools.pairwise(medians), strict=True))
    return Trend(label, name, tuple(points), told)
