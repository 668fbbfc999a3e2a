"""The noise floor: how far apart two measurements of the same models lie, so that no budget asks for less.

A measurement that is made again differs by more than its rounds tell: another placement in memory, another temperature,
another day. That is only seen by measuring again.
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
from edgeprune.gate.session import Level, Method, Session, first_difference, level_of, result

NAME = "edgeprune-noise.json"
SCHEMA = "edgeprune-noise/1"
MIN_REPETITIONS = 2
_ALPHA = 0.01  # of a difference between two measurements of the same models above the floor


@dataclass(frozen=True)
class Floor:
    """Noise of one way to compare.

    Attributes:
        spread_log: Standard deviation of a measurement's result, in logarithms, that of other days included.
        floor: The difference that two measurements of the same models stay below in 99 of 100 cases, as a share.
        freedom: Degrees of freedom of the standard deviation; None in files of older versions, which have one less
            than there were repetitions.
        results_log: What each measurement came to, in logarithms.
    """

    spread_log: float
    floor: float
    freedom: float | None = None
    results_log: tuple[float, ...] = ()


@dataclass(frozen=True)
class Noise:
    """What was found for one model on one target.

    Attributes:
        target: Name of the target.
        model: Name of the unpruned model.
        created: When it was last added to.
        repetitions: How many measurements it rests on.
        conditions: That all of them share.
        floors: By way to compare and value a round.
        days: On which each measurement was made; empty in files of older versions.
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
        """Noise of one way to compare; that of the rounds' medians where no other is known."""
        return self.floors.get(_key(method, level)) or self.floors[_key(method, "median")]

    def freedom(self, method: Method, level: Level) -> float:
        """Degrees of freedom of that noise."""
        return self.floor(method, level).freedom or self.repetitions - 1.0


@dataclass(frozen=True)
class NoiseFile:
    """All that was calibrated, one entry a target and model."""

    schema: str
    entries: tuple[Noise, ...] = ()

    def of(self, target: str, model: str) -> Noise | None:
        """The entry of one model on one target."""
        return next((each for each in self.entries if (each.target, each.model) == (target, model)), None)

    def with_entry(self, noise: Noise) -> "NoiseFile":
        """The same with one entry added or replaced."""
        others = [each for each in self.entries if (each.target, each.model) != (noise.target, noise.model)]
        return NoiseFile(self.schema, (*others, noise))


def calibrate(
    sessions: Sequence[Session],
    target: str,
    model: str,
    created: str,
    days: Sequence[str] = (),
    earlier: Noise | None = None,
) -> Noise:
    """The noise of measurements that should all be the same.

    The floor is t sqrt(2) s, the limit of the difference of two further measurements when s is the standard deviation
    of those made, or the largest difference seen if more. Where they are of several days, s^2 is the variance within
    days and that of days together, with Satterthwaite's degrees of freedom.

    Args:
        sessions: Sessions of the same models under the same conditions.
        target: Name of the target.
        model: Name of the unpruned model.
        created: Date for the record.
        days: On which each was made; that of `created` by default.
        earlier: What earlier measurements of the same found; these are added to them.

    Raises:
        ConfigError: Fewer than two, or `earlier` is of a version that kept no single results.
        DataError: Two are of other models, of other conditions, or one and the same.
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
    """Read the file of noise floors; there need not be one.

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
    """Write noise floors beside those that are in the file, in place of those of the same target and model.

    Raises:
        ConfigError: The file is of something else, or cannot be written.
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

    The variance of days is what the means of days vary by more than their measurements explain (analysis of variance
    with one random factor: Searle, Casella and McCulloch 1992, Variance Components, chapter 3).
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
