"""One measurement as the gate compares it: under which conditions it was made, and one value a round."""

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
"""Facts of a device that differ from day to day or do not bear on times, and are no conditions of a measurement."""
_CLOCKS = "gpu_hz"  # least, current and greatest; the current one moves


@dataclass(frozen=True)
class Timing:
    """One model's rounds.

    Attributes:
        sha256: SHA-256 of the exported model.
        medians_ms: Median of each round.
        fast_ms: The 5th percentile of each round, when every single time is known: where a machine has two speeds,
            the median of a round is of either, and its fast end is not.
    """

    sha256: str
    medians_ms: Values
    fast_ms: "Values | None"


@dataclass(frozen=True)
class Session:
    """Both models, measured in turns.

    Attributes:
        conditions: What two measurements must share to be compared, by the name it has in a report.
        baseline: The unpruned model.
        pruned: The model that is delivered.
        builds: Which build of their engines both were in, in each round; empty where nothing is built.
        processes: In which process both were, in each round; empty where all were in one.
    """

    conditions: dict[str, Any]
    baseline: Timing
    pruned: Timing
    builds: tuple[int, ...] = ()
    processes: tuple[int, ...] = ()


def timing(sha256: str, medians_ms: Sequence[float], times: Sequence[Values] | None) -> Timing:
    """One model's rounds, from their medians and, when they are known, all single times.

    Raises:
        DataError: Fewer rounds than a comparison takes.
    """
    if len(medians_ms) < MIN_ROUNDS:
        raise DataError(f"a measurement has {len(medians_ms)} rounds", f"A comparison takes at least {MIN_ROUNDS}")
    fast = None if times is None else np.array([quantile(each, FAST_END / 100) for each in times])
    return Timing(sha256, np.asarray(medians_ms, dtype=np.float64), fast)


def session_of(
    target: str,
    measured: BenchReport,
    before: Sequence[Values],
    after: Sequence[Values],
    sha256: tuple[str, str] = ("", ""),
) -> Session:
    """A measurement that was made just now.

    Args:
        target: Name of the target.
        measured: How, and of which rounds.
        before: Every single time of the first model, one array a round.
        after: The same of the second.
        sha256: SHA-256 of both files.

    Raises:
        DataError: Too few rounds.
    """
    assert measured.pruned is not None
    how = {name: getattr(measured, name) for name in HOW}
    return Session(
        conditions=conditions_of(target, how, measured.device),
        baseline=timing(sha256[0], measured.baseline.round_medians_ms, before),
        pruned=timing(sha256[1], measured.pruned.round_medians_ms, after),
        builds=measured.builds or (),
        processes=measured.process_of_round or (),
    )


def conditions_of(target: str, how: dict[str, Any], device: dict[str, Any]) -> dict[str, Any]:
    """What a measurement was made under.

    Args:
        target: Its name.
        how: Runtime, precision, batch, threads and mode.
        device: Facts of the device.
    """
    facts = {key: value for key, value in device.items() if key not in _PASSING}
    match facts.get(_CLOCKS):
        case [least, _, greatest]:
            facts[_CLOCKS] = [least, greatest]
    return {"target": target, **{f"latency.{key}": value for key, value in how.items()}, **_flat("device", facts)}


def first_difference(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """The first condition that two measurements do not share, with both its values; None when they share all."""
    for key in [*before, *(key for key in after if key not in before)]:
        if before.get(key) != after.get(key):
            return f"{key}: {_said(before, key)} before, {_said(after, key)} now"
    return None


def level_of(*sessions: Session) -> Level:
    """The finest value a round that all of them have."""
    timings = [timing for session in sessions for timing in (session.baseline, session.pruned)]
    return "median" if any(timing.fast_ms is None for timing in timings) else "fast end"


def method_of(before: Session, after: Session) -> Method:
    """By the ratio to the unpruned model where it is the same in both, for then the machine's drift cancels."""
    return "ratio" if before.baseline.sha256 == after.baseline.sha256 else "direct"


def series(session: Session, method: Method, level: Level) -> Values:
    """Logarithms of one value a round: of the pruned model, or of its ratio to the unpruned one, (rounds,)."""
    after = _values(session.pruned, level)
    if method == "direct":
        return np.log(after)
    return np.log(after) - np.log(_values(session.baseline, level))


def result(session: Session, method: Method, level: Level) -> Estimate:
    """What a measurement comes to, in logarithms."""
    return mean_of(series(session, method, level), session.processes)


def shift_between(
    before: Session, after: Session, method: Method, alpha: float, spread: Estimate | None = None
) -> Shift:
    """How much slower the pruned model is in the second measurement, whichever builds of the engines are compared.

    Args:
        before: The first measurement.
        after: The second.
        method: What is compared.
        alpha: Significance level of the shift's resolution.
        spread: What two sessions differ by when nothing changed; None where nothing is added for that.
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


def shift_within(session: Session, alpha: float) -> Shift:
    """How much slower the second model of one measurement is than the first, whichever builds are compared.

    The rounds of two builds are paired in their order, so that what slows the machine cancels.
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


def _values(timing: Timing, level: Level) -> Values:
    if level == "median":
        return timing.medians_ms
    assert timing.fast_ms is not None
    return timing.fast_ms


def _places(session: Session) -> "list[npt.NDArray[np.int64]]":
    """The rounds of each build; all of them where nothing is built."""
    builds = np.array(session.builds)
    return [np.flatnonzero(builds == number) for number in sorted(set(session.builds))] or [
        np.arange(len(session.pruned.medians_ms))
    ]


def _by_build(values: Values, session: Session) -> list[Estimate]:
    return [mean_of(values[places]) for places in _places(session)]


def _flat(prefix: str, facts: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in facts.items():
        name = f"{prefix}.{key}"
        found.update(_flat(name, value) if isinstance(value, dict) else {name: value})
    return found


def _said(conditions: dict[str, Any], key: str) -> str:
    return f"{conditions[key]!s:.60}" if key in conditions else "absent"
