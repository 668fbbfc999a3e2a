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

from edgeprune import student
from edgeprune.errors import ConfigError, DataError
from edgeprune.gate.session import Level, Method, Session, first_difference, level_of, series
from edgeprune.store import from_plain, read_json, to_plain, write_json

NAME = "edgeprune-noise.json"
SCHEMA = "edgeprune-noise/1"
MIN_REPETITIONS = 2
_ALPHA = 0.01  # of a difference between two measurements of the same models above the floor


@dataclass(frozen=True)
class Floor:
    """Noise of one way to compare.

    Attributes:
        spread_log: Standard deviation of a measurement's result, in logarithms.
        floor: The difference that two measurements of the same models stay below in 99 of 100 cases, as a share.
    """

    spread_log: float
    floor: float


@dataclass(frozen=True)
class Noise:
    """What was found for one model on one target; `floors` by way to compare and value a round."""

    target: str
    model: str
    created: str
    repetitions: int
    conditions: dict[str, Any]
    floors: dict[str, Floor]

    def floor(self, method: Method, level: Level) -> Floor:
        """Noise of one way to compare; that of the rounds' medians where no other is known."""
        return self.floors.get(_key(method, level)) or self.floors[_key(method, "median")]


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


def calibrate(sessions: Sequence[Session], target: str, model: str, created: str) -> Noise:
    """The noise of measurements that should all be the same.

    The floor is t sqrt(2) s, the limit of the difference of two further measurements when s is the standard deviation
    of those made (t of Student with one degree of freedom less than there are), or the largest difference seen if more.

    Args:
        sessions: Of the same models under the same conditions.
        target: Name of the target.
        model: Name of the unpruned model.
        created: Date for the record.

    Raises:
        ConfigError: Fewer than two.
        DataError: Two are of other models, of other conditions, or one and the same.
    """
    if len(sessions) < MIN_REPETITIONS:
        raise ConfigError(
            f"{len(sessions)} measurement cannot show noise", f"Measure the same model at least {MIN_REPETITIONS} times"
        )
    first = sessions[0]
    for number, session in enumerate(sessions[1:], 2):
        odd = first_difference(first.conditions, session.conditions)
        if odd is not None:
            raise DataError(f"measurements 1 and {number} are not comparable: {odd}", "Measure all in the same way")
        if (session.baseline.sha256, session.pruned.sha256) != (first.baseline.sha256, first.pruned.sha256):
            raise DataError(f"measurements 1 and {number} are of different models", "Measure the same model again")
    for (one, before), (other, after) in itertools.combinations(enumerate(sessions, 1), 2):
        if np.array_equal(before.pruned.medians_ms, after.pruned.medians_ms):
            raise DataError(f"measurements {one} and {other} are one and the same", "Measure again for each")
    levels: list[Level] = ["median"] if level_of(*sessions) == "median" else ["median", "fast end"]
    methods: tuple[Method, ...] = ("ratio", "direct")
    floors = {_key(method, level): _floor(sessions, method, level) for method in methods for level in levels}
    return Noise(target, model, created, len(sessions), first.conditions, floors)


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


def _floor(sessions: Sequence[Session], method: Method, level: Level) -> Floor:
    results = [float(np.median(series(session, method, level))) for session in sessions]
    spread = float(np.std(results, ddof=1))
    reach = student.quantile(_ALPHA, len(results) - 1) * np.sqrt(2) * spread
    return Floor(spread, float(np.expm1(max(reach, max(results) - min(results)))))


def _key(method: Method, level: Level) -> str:
    return f"{method}, {level}"
