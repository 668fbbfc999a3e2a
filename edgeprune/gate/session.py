"""Measurement in the form that the gate compares: its conditions, and one value a round."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgeprune.bench.estimate import Estimate, mean_of
from edgeprune.bench.stats import MIN_ROUNDS, quantile
from edgeprune.errors import DataError
from edgeprune.gate.statistics import Shift, Values, across, shift_of
from edgeprune.records.results import BenchReport

if TYPE_CHECKING:
    import numpy.typing as npt

Method = Literal["ratio", "direct", "one session"]
Level = Literal["fast end", "median"]

HOW = ("runtime", "precision", "batch", "threads", "mode")
FAST_END = 5  # percent
_PASSING = frozenset(
    {"load_average", "ram_bytes", "memory_bytes", "disk_free_bytes", "clock_offset_s", "os", "kernel"}
    | {"python", "numpy", "sudo", "trtexec", "engines"}
)
"""Facts of a device that vary from day to day or do not affect times, and are no conditions of a measurement."""
_CLOCKS = "gpu_hz"  # least, current and greatest; the current one moves


@dataclass(frozen=True)
class SessionTiming:
    """Rounds of one model.

    Attributes:
        sha256: SHA-256 of the exported model.
        medians_ms: Median of each round.
        fast_ms: 5th percentile of each round, if every single time is known. On a machine with two speeds, the median
            of a round can be of either, but its fast end cannot.
    """

    sha256: str
    medians_ms: Values
    fast_ms: "Values | None"


@dataclass(frozen=True)
class TimedSession:
    """Measurement of both models in turns.

    Attributes:
        conditions: Conditions that comparable measurements must share, by their name in a report.
        baseline: The unpruned model.
        pruned: The delivered model.
        builds: Build of their engines for each round; empty if nothing is built.
        processes: Process of each round; empty if all were in one.
    """

    conditions: dict[str, Any]
    baseline: SessionTiming
    pruned: SessionTiming
    builds: tuple[int, ...] = ()
    processes: tuple[int, ...] = ()


def timing(sha256: str, medians_ms: Sequence[float], times: Sequence[Values] | None) -> SessionTiming:
    """Collect one model's rounds from their medians and, if known, all single times.

    Raises:
        DataError: There are fewer rounds than a comparison needs.
    """
    if len(medians_ms) < MIN_ROUNDS:
        raise DataError(f"a measurement has {len(medians_ms)} rounds", f"A comparison takes at least {MIN_ROUNDS}")
    fast = None if times is None else np.array([quantile(each, FAST_END / 100) for each in times])
    return SessionTiming(sha256, np.asarray(medians_ms, dtype=np.float64), fast)


def session_of(
    target: str,
    measured: BenchReport,
    before: Sequence[Values],
    after: Sequence[Values],
    sha256: tuple[str, str] = ("", ""),
) -> TimedSession:
    """Build the session of a measurement that was just made.

    Args:
        target: Name of the target.
        measured: Report of the measurement.
        before: Every single time of the first model, one array a round.
        after: Every single time of the second model, likewise.
        sha256: SHA-256 of both files.

    Raises:
        DataError: There are too few rounds.
    """
    assert measured.pruned is not None
    how = {name: getattr(measured, name) for name in HOW}
    return TimedSession(
        conditions=conditions_of(target, how, measured.device),
        baseline=timing(sha256[0], measured.baseline.round_medians_ms, before),
        pruned=timing(sha256[1], measured.pruned.round_medians_ms, after),
        builds=measured.builds or (),
        processes=measured.process_of_round or (),
    )


def conditions_of(target: str, how: dict[str, Any], device: dict[str, Any]) -> dict[str, Any]:
    """Collect the conditions of a measurement.

    Args:
        target: Name of the target.
        how: Runtime, precision, batch, threads and mode.
        device: Facts of the device.
    """
    facts = {key: value for key, value in device.items() if key not in _PASSING}
    match facts.get(_CLOCKS):
        case [least, _, greatest]:
            facts[_CLOCKS] = [least, greatest]
    return {"target": target, **{f"latency.{key}": value for key, value in how.items()}, **_flat("device", facts)}


def first_difference(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """Find the first condition that two measurements do not share, with both values; None if they share all."""
    for key in [*before, *(key for key in after if key not in before)]:
        if before.get(key) != after.get(key):
            return f"{key}: {_said(before, key)} before, {_said(after, key)} now"
    return None


def level_of(*sessions: TimedSession) -> Level:
    """Finest level of value a round that all of them have."""
    timings = [timing for session in sessions for timing in (session.baseline, session.pruned)]
    return "median" if any(timing.fast_ms is None for timing in timings) else "fast end"


def method_of(before: TimedSession, after: TimedSession) -> Method:
    """Choose the ratio to the unpruned model if it is the same in both, because the machine's drift then cancels."""
    return "ratio" if before.baseline.sha256 == after.baseline.sha256 else "direct"


def series(session: TimedSession, method: Method, level: Level) -> Values:
    """Logarithms of one value a round: that of the pruned model, or its ratio to the unpruned one, (rounds,)."""
    after = _values(session.pruned, level)
    if method == "direct":
        return np.log(after)
    return np.log(after) - np.log(_values(session.baseline, level))


def result(session: TimedSession, method: Method, level: Level) -> Estimate:
    """Result of a measurement, in logarithms."""
    return mean_of(series(session, method, level), session.processes)


def shift_between(
    before: TimedSession, after: TimedSession, method: Method, alpha: float, spread: Estimate | None = None
) -> Shift:
    """Slow-down of the pruned model in the second measurement, over all pairs of builds of the engines.

    Args:
        before: The first measurement.
        after: The second.
        method: Method of comparison.
        alpha: Significance level of the shift's resolution.
        spread: Difference between sessions when nothing changed; None to add nothing for it.
    """
    level = level_of(before, after)
    was, now = series(before, method, level), series(after, method, level)

    def shift(first: Estimate, second: Estimate) -> Shift:
        difference = second.minus(first)
        return shift_of(difference if spread is None else difference.minus(spread), alpha)

    whole = shift(mean_of(was, before.processes), mean_of(now, after.processes))
    own = _by_build(was, before), _by_build(now, after)
    if max(map(len, own)) == 1:
        return whole
    return across(whole, [shift(first, second) for first, second in itertools.product(*own)])


def shift_within(session: TimedSession, alpha: float) -> Shift:
    """Slow-down of the second model of one measurement relative to the first, over all pairs of builds.

    The rounds of two builds are paired in order, so that any slow-down of the machine cancels.
    """
    level = level_of(session)
    before, after = np.log(_values(session.baseline, level)), np.log(_values(session.pruned, level))
    whole = shift_of(mean_of(after - before, session.processes), alpha)
    own = _places(session)
    if len(own) == 1:
        return whole
    least = min(map(len, own))
    pairs = [after[b[:least]] - before[a[:least]] for a, b in itertools.product(own, own)]
    return across(whole, [shift_of(mean_of(pair), alpha) for pair in pairs])


def _values(timing: SessionTiming, level: Level) -> Values:
    if level == "median":
        return timing.medians_ms
    assert timing.fast_ms is not None
    return timing.fast_ms


def _places(session: TimedSession) -> "list[npt.NDArray[np.int64]]":
    """Rounds of each build; all of them if nothing is built."""
    builds = np.array(session.builds)
    return [np.flatnonzero(builds == number) for number in sorted(set(session.builds))] or [
        np.arange(len(session.pruned.medians_ms))
    ]


def _by_build(values: Values, session: TimedSession) -> list[Estimate]:
    return [mean_of(values[places]) for places in _places(session)]


def _flat(prefix: str, facts: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in facts.items():
        name = f"{prefix}.{key}"
        found.update(_flat(name, value) if isinstance(value, dict) else {name: value})
    return found


def _said(conditions: dict[str, Any], key: str) -> str:
    return f"{conditions[key]!s:.60}" if key in conditions else "absent"
