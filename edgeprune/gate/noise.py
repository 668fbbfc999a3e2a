"""Noise floor: the difference between repeated measurements of the same models, which no threshold may undercut.

A repeated measurement differs by more than its rounds show, because the placement in memory, the temperature and the
day are different. Only repetition reveals this.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.bench import student_t
from edgeprune.bench.stats import Values
from edgeprune.errors import ConfigError, DataError
from edgeprune.files.store import from_plain, read_json, to_plain, write_json
from edgeprune.gate.session import Level, Method, TimedSession, first_difference, level_of, result

NAME = "edgeprune-noise.json"
SCHEMA = "edgeprune-noise/1"
MIN_REPETITIONS = 2
_ALPHA = 0.01  # of a difference between two measurements of the same models above the floor


@dataclass(frozen=True)
class Floor:
    """Noise of one comparison method.

    Attributes:
        spread_log: Standard deviation of a measurement's result, in logarithms, including that between days.
        floor: Difference, as a share, below which two measurements of the same models stay in 99 of 100 cases.
        freedom: Degrees of freedom of the standard deviation; None in files of older versions, where it is the number
            of repetitions minus one.
        results_log: Result of each measurement, in logarithms.
    """

    spread_log: float
    floor: float
    freedom: float | None = None
    results_log: tuple[float, ...] = ()


@dataclass(frozen=True)
class Noise:
    """Noise of one model on one target.

    Attributes:
        target: Name of the target.
        model: Name of the unpruned model.
        created: Date of the last addition.
        repetitions: Number of measurements.
        conditions: Conditions shared by all of them.
        floors: Floor of each comparison method and level.
        days: Day of each measurement; empty in files of older versions.
        sha256: SHA-256 of the unpruned and of the pruned file.
    """

    target: str
    model: str
    created: str
    repetitions: int
    conditions: dict[str, Any]
    floors: dict[str, Floor]
    days: tuple[str, ...] = ()
    sha256: tuple[str, str] | None = None

    def floor(self, method: Method, level: Level) -> Floor:
        """Noise of one comparison method; that of the rounds' medians if no other is known."""
        return self.floors.get(_key(method, level)) or self.floors[_key(method, "median")]

    def freedom(self, method: Method, level: Level) -> float:
        """Degrees of freedom of that noise."""
        return self.floor(method, level).freedom or self.repetitions - 1.0


@dataclass(frozen=True)
class NoiseFile:
    """All calibrated noise, one entry for each target and model."""

    schema: str
    entries: tuple[Noise, ...] = ()

    def of(self, target: str, model: str) -> Noise | None:
        """Entry of one model on one target."""
        return next((each for each in self.entries if (each.target, each.model) == (target, model)), None)

    def with_entry(self, noise: Noise) -> "NoiseFile":
        """Copy with one entry added or replaced."""
        others = [each for each in self.entries if (each.target, each.model) != (noise.target, noise.model)]
        return NoiseFile(self.schema, (*others, noise))


def calibrate(
    sessions: Sequence[TimedSession],
    target: str,
    model: str,
    created: str,
    days: Sequence[str] = (),
    earlier: Noise | None = None,
) -> Noise:
    """Estimate the noise from measurements that should all be equal.

    The floor is t sqrt(2) s, the limit of the difference of two further measurements when s is the standard deviation
    of those made, or the largest observed difference if that is larger. For measurements on several days, s^2 is the
    sum of the variances within and between days, with Satterthwaite's degrees of freedom.

    Args:
        sessions: Sessions of the same models under the same conditions.
        target: Name of the target.
        model: Name of the unpruned model.
        created: Date for the record.
        days: Day of each measurement; that of `created` by default.
        earlier: Noise from earlier measurements, which are included.

    Raises:
        ConfigError: There are fewer than two, or `earlier` is of a version without single results.
        DataError: Two are of different models or conditions, or identical.
    """
    days = (*(earlier.days if earlier else ()), *(days or [created[:10]] * len(sessions)))
    if earlier is not None and not earlier.days:
        raise ConfigError(
            f"the calibration of {model} on {target} was made by an older version, which kept no single results",
            "Calibrate again, without `add`",
        )
    if len(days) < MIN_REPETITIONS:
        raise ConfigError(
            f"{len(days)} measurement cannot show noise", f"Measure the same model at least {MIN_REPETITIONS} times"
        )
    first = sessions[0]
    conditions = earlier.conditions if earlier else first.conditions
    models = (first.baseline.sha256, first.pruned.sha256)
    if earlier is not None and earlier.sha256 not in (None, models):
        raise DataError("the measurements to be added are of different models", "Measure the same model again")
    for number, session in enumerate(sessions, 1):
        odd = first_difference(conditions, session.conditions)
        if odd is not None:
            what = "those of the calibration" if earlier else "measurements 1"
            raise DataError(f"{what} and {number} are not comparable: {odd}", "Measure all in the same way")
        if (session.baseline.sha256, session.pruned.sha256) != models:
            raise DataError(f"measurements 1 and {number} are of different models", "Measure the same model again")
    for (one, before), (other, after) in itertools.combinations(enumerate(sessions, 1), 2):
        if np.array_equal(before.pruned.medians_ms, after.pruned.medians_ms):
            raise DataError(f"measurements {one} and {other} are one and the same", "Measure again for each")
    levels: list[Level] = ["median"] if level_of(*sessions) == "median" else ["median", "fast end"]
    methods: tuple[Method, ...] = ("ratio", "direct")
    floors = {}
    for method, level in itertools.product(methods, levels):
        before_log = earlier.floors[_key(method, level)].results_log if earlier else ()
        results = (*before_log, *(result(session, method, level).mean for session in sessions))
        floors[_key(method, level)] = _floor(results, days)
    return Noise(target, model, created, len(days), conditions, floors, days, models)


def read(path: Path) -> NoiseFile:
    """Read the file of noise floors, which may be absent.

    Raises:
        ConfigError: Not such a file, or of a newer schema.
    """
    if not path.exists():
        return NoiseFile(SCHEMA)
    found = from_plain(NoiseFile, read_json(path), str(path))
    if found.schema != SCHEMA:
        raise ConfigError(f"{path} has schema {found.schema!r}; this edgeprune reads {SCHEMA!r}", "Calibrate again")
    return found


def add(path: Path, entries: Iterable[Noise]) -> None:
    """Write noise floors to the file, replacing those of the same target and model.

    Raises:
        ConfigError: The file has other content, or cannot be written.
    """
    file = read(path)
    for noise in entries:
        file = file.with_entry(noise)
    write_json(path, to_plain(file))


def _floor(results: tuple[float, ...], days: Sequence[str]) -> Floor:
    spread, freedom = _spread(np.array(results), days)
    reach = student_t.quantile(_ALPHA, freedom) * np.sqrt(2) * spread
    return Floor(spread, float(np.expm1(max(reach, max(results) - min(results)))), freedom, results)


def _spread(results: Values, days: Sequence[str]) -> tuple[float, float]:
    """Standard deviation of a measurement on any day, and its degrees of freedom.

    The variance between days is the part of the variance of the days' means that their measurements do not explain
    (analysis of variance with one random factor: Searle, Casella and McCulloch 1992, Variance Components, chapter 3).
    """
    own = [results[np.array(days) == day] for day in dict.fromkeys(days)]
    n, count = len(results), len(own)
    if count == 1 or count == n:
        return float(np.std(results, ddof=1)), n - 1.0
    sizes = np.array([len(each) for each in own])
    usual = (n - float(np.sum(sizes**2)) / n) / (count - 1)  # measurements a day
    within = float(sum(np.sum((each - np.mean(each)) ** 2) for each in own)) / (n - count)
    between = float(sum(len(each) * (np.mean(each) - np.mean(results)) ** 2 for each in own)) / (count - 1)
    if between <= within:
        return float(np.std(results, ddof=1)), n - 1.0
    parts = between / usual, (1 - 1 / usual) * within
    total = sum(parts)
    return float(np.sqrt(total)), float(total**2 / (parts[0] ** 2 / (count - 1) + parts[1] ** 2 / (n - count)))


def _key(method: Method, level: Level) -> str:
    return f"{method}, {level}"
