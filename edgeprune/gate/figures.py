"""Figures of a report beside those of its baseline, with an assessment of each difference. Pure."""

from collections.abc import Mapping

from edgeprune.gate.evidence import Evidence
from edgeprune.gate.regression import SessionComparison
from edgeprune.gate.verdict import Figure
from edgeprune.text.numerals import p_value

BIGGER_IS_BETTER = frozenset({"speedup", "top1"})


def figures_of(
    evidence: Evidence,
    intervals: Mapping[str, tuple[float, float]],
    compared: tuple[Evidence, SessionComparison] | None,
    alpha: float,
) -> tuple[Figure, ...]:
    """List the figures of a report.

    Args:
        evidence: The report.
        intervals: Intervals of its figures, by name.
        compared: Baseline report and the result of the comparison, if they are comparable.
        alpha: Probability of reporting a difference if there is none.
    """
    was, changes = {}, {}
    if compared is not None:
        before, comparison = compared
        was = plain(before)
        accuracy = _accuracy_change(before, evidence)
        changes = {"median_ms": _latency_change(comparison, alpha), "top1": accuracy}
    return tuple(
        Figure(name, value, intervals.get(name), was.get(name), changes.get(name, "") if name in was else "")
        for name, value in plain(evidence).items()
    )


def plain(evidence: Evidence) -> dict[str, float]:
    """Measured figures, by name with their unit."""
    found: dict[str, float | None] = {}
    report, accuracy = evidence.report, evidence.accuracy
    latency = report.latency
    if latency and latency.pruned:
        found = {
            "median_ms": latency.pruned.median_ms,
            "p99_ms": latency.pruned.p99_ms,
            "speedup": latency.speedup,
        }
    if accuracy:
        found["top1"] = accuracy.pruned.top1
    found["onnx_bytes"] = report.size.pruned_bytes
    found["engine_bytes"] = report.size.pruned_engine_bytes
    found["energy_mj"] = report.energy.pruned.energy_mj if report.energy and report.energy.pruned else None
    return {name: value for name, value in found.items() if value is not None}


def _latency_change(comparison: SessionComparison, alpha: float) -> str:
    shift = comparison.shift
    if shift.p < alpha:
        return f"slower, {p_value(shift.p)}"
    if shift.p_faster < alpha:
        return f"faster, {p_value(shift.p_faster)}"
    return "within noise"


def _accuracy_change(before: Evidence, after: Evidence) -> str:
    if before.accuracy is None or after.accuracy is None:
        return ""
    was, now = before.accuracy.pruned.ci95, after.accuracy.pruned.ci95
    if was[0] <= now[1] and now[0] <= was[1]:
        return "intervals overlap"
    return "better" if now[0] > was[1] else "worse"
