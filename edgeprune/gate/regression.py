"""Regression between two reports: a change that is large enough, and more than noise. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from edgeprune.bench import student_t
from edgeprune.bench.estimate import Estimate
from edgeprune.errors import ConfigError
from edgeprune.gate.budget import Limits
from edgeprune.gate.evidence import Evidence
from edgeprune.gate.noise import Noise
from edgeprune.gate.session import (
    Level,
    Method,
    TimedSession,
    first_difference,
    level_of,
    method_of,
    shift_between,
    shift_within,
)
from edgeprune.gate.statistics import Shift, holm
from edgeprune.gate.verdict import Check
from edgeprune.text import numerals as n

NAME = "max_regression"
SESSION_SPREAD = 0.03
"""Standard deviation of a network's latency between sessions without calibration, as a share: the largest observed
here. The two networks of a session are assumed to differ independently."""
_ASSUMED = Estimate(
    0.0, math.sqrt(4) * SESSION_SPREAD, 1e3
)  # of the difference of two ratios, which holds four of them

Spread = Literal["calibrated", "assumed", "none"]


@dataclass(frozen=True)
class SessionComparison:
    """Comparison of two measurements.

    Attributes:
        shift: Slow-down of the delivered model.
        method: Method: by the ratio to the same unpruned model, directly, or against the older model in one session.
        level: Value of a round that was compared.
        rounds: Rounds of the two reports.
        spread: Source of the noise between sessions in the shift: calibrated, assumed, or none if both were measured in
            one.
        tests: Number of comparisons in the same call; p holds for all of them together.
    """

    shift: Shift
    method: Method
    level: Level
    rounds: tuple[int, int]
    spread: Spread
    tests: int = 1

    @property
    def told(self) -> str:
        """Describe the comparison in words, with its figures."""
        by = {
            "ratio": "as a ratio to the unpruned model",
            "direct": "in milliseconds",
            "one session": "in turns with the older one in one session",
        }[self.method]
        value = "5th percentile" if self.level == "fast end" else "median"
        noise = {
            "calibrated": ", with the calibrated noise between measurements",
            "assumed": f", if each network differs by {SESSION_SPREAD:.0%} from one session to the next",
            "none": "",
        }[self.spread]
        rounds = " and ".join(str(each) for each in dict.fromkeys(self.rounds))
        p = n.p_value(self.shift.p) + (f" for all {self.tests} comparisons (Holm)" if self.tests > 1 else "")
        return f"{change(self.shift.share)} {by}, by the {value} of {rounds} rounds, {p}{noise}"


@dataclass(frozen=True)
class Incomparable:
    """Two reports that cannot be compared, and the field that prevents it."""

    reason: str


def change(share: float) -> str:
    """Format a shift as '+5.2 %'."""
    return n.relative(1, 1 + share) or "0.0 %"


def compare(before: Evidence, after: Evidence, alpha: float, noise: Noise | None) -> SessionComparison | Incomparable:
    """Compare two reports of a model, if they are comparable.

    Args:
        before: The baseline report.
        after: The report to judge.
        alpha: Probability of reporting a difference if there is none.
        noise: Calibrated noise of this target and model.

    Returns:
        The comparison. If both measured the same unpruned model, the ratios to it are compared, in which anything that
        slows the machine cancels. Otherwise the noise between measurements must be known from calibration.

    Raises:
        DataError: A report has too few rounds.
    """
    reason = _obstacle(before, after, noise)
    if reason is not None:
        return Incomparable(reason)
    assert before.session is not None
    assert after.session is not None
    return compare_sessions(before.session, after.session, alpha, noise)


def check_of(
    found: SessionComparison | Incomparable | None, limits: Limits, waived: bool = False, older: str = "baseline report"
) -> Check | None:
    """Check for a regression; None if no limit was set.

    Args:
        found: Result of the comparison; None without a baseline.
        limits: Limits of the model.
        waived: Whether a missing baseline is accepted.
        older: Name of the missing baseline, in words.
    """
    limit = limits.max_regression
    if found is None:
        if limit is None or waived:
            return None
        return Check(NAME, "inconclusive", f"there is no {older} to compare with", limit)
    if isinstance(found, Incomparable):
        return Check(NAME, "inconclusive", f"not compared: {found.reason}", limit)
    if limit is None:
        return Check(NAME, "pass", f"{found.told}; the budget sets no limit", None, found.shift.share)
    return against_limit(found, limit, limits.alpha)


def together(found: Sequence[SessionComparison]) -> list[SessionComparison]:
    """Adjust the comparisons of one call so that their p values hold for all of them together."""
    slower, faster = (holm([getattr(each.shift, name) for each in found]) for name in ("p", "p_faster"))
    return [
        replace(each, shift=replace(each.shift, p=p, p_faster=p_faster), tests=len(found))
        for each, p, p_faster in zip(found, slower, faster, strict=True)
    ]


def refuse_below_floor(evidence: Evidence, limits: Limits, noise: Noise | None) -> None:
    """Refuse a threshold below the noise.

    Raises:
        ConfigError: The threshold of a regression is below the calibrated noise floor.
    """
    session = evidence.session
    if noise is None or session is None or limits.max_regression is None:
        return
    floor = noise.floor("ratio", level_of(session)).floor
    if limits.max_regression < floor:
        asked, least = n.told_apart(limits.max_regression, floor)
        raise ConfigError(
            f"max_regression = {asked} is below the noise floor of {evidence.label}, which is {least} "
            f"({noise.repetitions} measurements)",
            "Raise it, or lower the noise: lock the clocks, measure more rounds, and calibrate again",
        )


def against_limit(found: SessionComparison, limit: float, alpha: float) -> Check:
    """Judge whether a comparison shows a regression.

    It fails when the shift exceeds the limit and is significant. It passes when the shift does not exceed the limit,
    and either a shift as large as the limit would have been detected, or the distance to the limit exceeds the noise.
    Otherwise it is inconclusive.

    Args:
        found: The comparison.
        limit: Largest allowed shift, as a share.
        alpha: Significance level.
    """
    shift = found.shift
    seen = math.expm1(shift.resolution) if math.isfinite(shift.resolution) else math.inf
    interval = (shift.share, math.expm1(shift.log + shift.resolution)) if math.isfinite(seen) else None
    allowed = f"{change(limit)} allowed"
    if shift.share > limit and shift.p < alpha:
        return Check(NAME, "fail", f"{found.told}; {allowed}", limit, shift.share, interval)
    if shift.share > limit or (seen > limit and shift.log + shift.resolution > math.log1p(limit)):
        least = f"from {change(seen)} on" if math.isfinite(seen) else "of no size"
        text = f"{found.told}; {allowed}, but a slow-down can be told from noise {least} only: "
        if found.spread == "assumed":
            text = f"not calibrated: {text}measure both in one session with edgeprune check --against, or calibrate"
        else:
            text += "measure more rounds"
        return Check(NAME, "inconclusive", text, limit, shift.share, interval)
    return Check(NAME, "pass", f"{found.told}; {allowed}", limit, shift.share, interval)


def compare_sessions(
    before: TimedSession, after: TimedSession, alpha: float, noise: Noise | None
) -> SessionComparison | Incomparable:
    """Compare two measurements made under the same conditions; see `compare`."""
    method, level = method_of(before, after), level_of(before, after)
    rounds = (len(before.pruned.medians_ms), len(after.pruned.medians_ms))
    if method == "direct" and noise is None:
        return Incomparable(
            "artifacts.baseline_onnx.sha256: another unpruned model, so that the machine's drift does not cancel; "
            "measure the same one, or calibrate"
        )
    if noise is None:
        return SessionComparison(
            shift_between(before, after, method, alpha, _ASSUMED), method, level, rounds, "assumed"
        )
    shift = shift_between(before, after, method, alpha)
    spread, freedom = math.sqrt(2) * noise.floor(method, level).spread_log, noise.freedom(method, level)
    widened = Shift(
        log=shift.log,
        resolution=max(shift.resolution, student_t.quantile(alpha, freedom) * spread),
        p=max(shift.p, student_t.survival(shift.log / spread, freedom)) if spread > 0 else shift.p,
        p_faster=max(shift.p_faster, student_t.survival(-shift.log / spread, freedom))
        if spread > 0
        else shift.p_faster,
    )
    return SessionComparison(widened, method, level, rounds, "calibrated")


def compare_within(session: TimedSession, alpha: float) -> SessionComparison:
    """Compare the two models of one measurement; the older one is its `baseline`."""
    rounds = (len(session.pruned.medians_ms),) * 2
    return SessionComparison(shift_within(session, alpha), "one session", level_of(session), rounds, "none")


def _obstacle(before: Evidence, after: Evidence, noise: Noise | None) -> str | None:
    """Describe what prevents the comparison of two reports, the field first; None if nothing does."""
    other = _other_model(before, after)
    if other is not None:
        return other
    if before.session is None or after.session is None:
        return f"latency.pruned: absent {'before' if before.session is None else 'now'}"
    differing = first_difference(before.session.conditions, after.session.conditions)
    if differing is not None or noise is None:
        return differing
    differing = first_difference(noise.conditions, after.session.conditions)
    return f"the calibration was made under other conditions: {differing}" if differing else None


def _other_model(before: Evidence, after: Evidence) -> str | None:
    """Describe the evidence that two reports are of different models: a retrained one has the same name and size."""
    if before.model != after.model:
        return f"baseline.name: {before.model or 'absent'} before, {after.model or 'absent'} now"
    was, now = before.report.baseline, after.report.baseline
    for name in ("units", "params", "macs"):
        if getattr(was, name) != getattr(now, name):
            return f"baseline.{name}: {getattr(was, name)} before, {getattr(now, name)} now"
    return None
