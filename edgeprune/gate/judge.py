"""Judging of a report by its limits, into checks with their figures. Pure.

A limit is judged on the conservative end of the 95 % interval. Anything not measured is inconclusive, never a pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeprune.bench.stats import MIN_ROUNDS
from edgeprune.gate import regression
from edgeprune.gate.budget import Limits
from edgeprune.gate.evidence import Evidence
from edgeprune.gate.figures import figures_of
from edgeprune.gate.noise import Noise
from edgeprune.gate.regression import Incomparable, SessionComparison
from edgeprune.gate.statistics import Values, mean_interval, median_interval, quantile_interval
from edgeprune.gate.verdict import Check, Judgement
from edgeprune.report.schema.measured import LatencySection
from edgeprune.report.schema.schema import Report
from edgeprune.text import numerals as n

if TYPE_CHECKING:
    import numpy.typing as npt

Interval = tuple[float, float]
Places: TypeAlias = "npt.NDArray[np.bool_]"
_BYTES_PER_MB = 1e6
_RUNNING_ONNX = ("onnxruntime", "onnxruntime-agent")


@dataclass(frozen=True)
class FigureUnit:
    """Format of a number: times `scale`, followed by `name`."""

    name: str
    scale: float = 1.0

    def told(self, limit: float, *values: float) -> list[str]:
        """Format numbers with as many digits as distinguish each from the limit."""
        digits = max(_digits(self.scale * limit, self.scale * value) for value in values)
        return [n.significant(self.scale * value, digits) for value in values]


_MS, _TIMES, _POINTS, _PERCENT = (
    FigureUnit("ms"),
    FigureUnit("times"),
    FigureUnit("percentage points", 100),
    FigureUnit("%", 100),
)


def judge(
    evidence: Evidence,
    limits: Limits,
    baseline: Evidence | None = None,
    comparison: SessionComparison | Incomparable | None = None,
    noise: Noise | None = None,
    no_baseline: bool = False,
) -> Judgement:
    """Judge one report.

    Args:
        evidence: Report with its samples.
        limits: Limits for its model on its target.
        baseline: Report to compare with.
        comparison: Result of the comparison.
        noise: Calibrated noise of its target and model.
        no_baseline: Whether a missing baseline is accepted: a regression is then not judged.

    Raises:
        ConfigError: A threshold is below the noise.
        DataError: A report has too few rounds to compare.
    """
    regression.refuse_below_floor(evidence, limits, noise)
    check = regression.check_of(comparison, limits, no_baseline)
    intervals = intervals_of(evidence)
    found = [
        *_latency(evidence, limits, intervals),
        *_accuracy(evidence, limits),
        *_engine(evidence, limits, intervals),
    ]
    if check is not None:
        found.append(check)
    compared = (baseline, comparison) if baseline and isinstance(comparison, SessionComparison) else None
    return Judgement(
        label=evidence.label,
        target=evidence.report.target,
        model=evidence.model,
        report=evidence.source,
        checks=tuple(found),
        figures=figures_of(evidence, intervals, compared, limits.alpha),
        notes=evidence.notes,
    )


def intervals_of(evidence: Evidence) -> dict[str, Interval]:
    """Compute 95 % intervals of the pruned model's figures by name; that of the 99th percentile uses every single time.

    Where engines were built several times, an interval covers those of each build by itself. A figure whose rounds are
    too strongly correlated for an interval has none.
    """
    latency, accuracy = evidence.report.latency, evidence.accuracy
    builds = latency.builds if latency else None
    found = _latency_intervals(latency, evidence.rounds.get("pruned")) if latency else {}
    if accuracy:
        found["top1"] = accuracy.pruned.ci95
    power = evidence.report.energy.pruned if evidence.report.energy else None
    energies = np.array((power.round_energies_mj if power else None) or ())
    if len(energies) >= MIN_ROUNDS:
        builds = builds if builds and len(builds) == len(energies) else None  # a meter may have missed rounds
        found["energy_mj"] = _over_builds(len(energies), builds, lambda places: mean_interval(energies[places]))
    return {name: interval for name, interval in found.items() if interval is not None}


def _latency_intervals(latency: LatencySection, times: Sequence[Values] | None) -> dict[str, Interval | None]:
    """Compute intervals of the pruned model's median, 99th percentile and speed-up; None where there is none."""
    if latency.pruned is None:
        return {}
    medians, builds, value = np.array(latency.pruned.round_medians_ms), latency.builds, latency.pruned.median_ms
    processes = np.array(latency.process_of_round or (1,) * len(medians))

    def own(places: Places) -> list[Values]:
        return [each for each, is_in in zip(times, places, strict=True) if is_in] if times else []

    def of_median(places: Places) -> Interval:
        of = processes[places].tolist()
        told = quantile_interval(own(places), 0.5, of) if times else None
        low, high = told or median_interval(medians[places], of)
        return min(low, value), max(high, value)

    def of_p99(places: Places) -> Interval | None:
        return quantile_interval(own(places), 0.99, processes[places].tolist())

    return {
        "median_ms": _over_builds(len(medians), builds, of_median),
        "p99_ms": _over_builds(len(medians), builds, of_p99) if times and latency.pruned.p99_ms is not None else None,
        "speedup": latency.speedup_ci95,
    }


def _over_builds(
    rounds: int, builds: Sequence[int] | None, interval: Callable[["Places"], Interval | None]
) -> Interval | None:
    """Compute the interval of all rounds, widened by that of each build; None if one of them has none."""
    everything: Places = np.ones(rounds, np.bool_)
    found = [interval(everything), *(interval(np.array(builds) == one) for one in sorted(set(builds or ())))]
    ends = [each for each in found if each is not None]
    return (min(low for low, _ in ends), max(high for _, high in ends)) if len(ends) == len(found) else None


def _latency(evidence: Evidence, limits: Limits, intervals: dict[str, Interval]) -> list[Check]:
    latency = evidence.report.latency
    pruned = latency.pruned if latency else None
    found = []
    if limits.max_median_ms is not None:
        name, limit = "max_median_ms", limits.max_median_ms
        if pruned is None:
            found.append(_absent(name, limit, "the pruned model's latency"))
        else:
            found.append(_at_most(name, limit, pruned.median_ms, intervals["median_ms"], _MS))
    if limits.max_p99_ms is not None:
        found.append(_p99(evidence, limits.max_p99_ms, intervals.get("p99_ms")))
    if limits.min_speedup is not None:
        name, limit = "min_speedup", limits.min_speedup
        if latency is None or latency.speedup is None:
            found.append(_absent(name, limit, "the speed-up"))
        else:
            found.append(_at_least(name, limit, latency.speedup, intervals["speedup"], _TIMES))
    return found


def _p99(evidence: Evidence, limit: float, interval: Interval | None) -> Check:
    """Check the 99th percentile: it requires enough samples, and all of them for its interval."""
    latency = evidence.report.latency
    pruned = latency.pruned if latency else None
    if pruned is None:
        return _absent("max_p99_ms", limit, "the pruned model's latency")
    if pruned.p99_ms is None:
        text = f"{n.count(pruned.samples)} samples are too few to claim a 99th percentile: measure more rounds"
        return Check("max_p99_ms", "inconclusive", text, limit)
    if interval is None:
        text = "rounds resemble their neighbors too much to tell an interval of the percentile: measure more rounds"
        if "pruned" not in evidence.rounds:
            text = f"{pruned.samples_path} is not beside the report: the percentile has no interval"
        return Check("max_p99_ms", "inconclusive", text, limit, pruned.p99_ms)
    return _at_most("max_p99_ms", limit, pruned.p99_ms, interval, _MS)


def _accuracy(evidence: Evidence, limits: Limits) -> list[Check]:
    accuracy, found = evidence.accuracy, []
    if limits.max_accuracy_drop is not None:
        name, limit = "max_accuracy_drop", limits.max_accuracy_drop
        if accuracy is None:
            found.append(_absent(name, limit, "accuracy"))
        else:
            found.append(_at_most(name, limit, accuracy.drop, accuracy.drop_ci95, _POINTS))
    rates = accuracy.pruned.at_snr() if accuracy else {}
    for snr, limit in (limits.min_accuracy_at_snr or {}).items():
        name = f"min_accuracy_at_snr.{snr}"
        rate = next((rate for at, rate in rates.items() if float(at) == float(snr)), None)
        if rate is None:
            found.append(_absent(name, limit, f"accuracy at {snr} dB"))
        else:
            found.append(_at_least(name, limit, rate.top1, rate.ci95, _PERCENT))
    return found


def _engine(evidence: Evidence, limits: Limits, intervals: dict[str, Interval]) -> list[Check]:
    """Check the size of the engine, the largest of several builds, and the energy of one inference."""
    report, found = evidence.report, []
    if limits.max_engine_mb is not None:
        name, limit, size = "max_engine_mb", limits.max_engine_mb, _engine_bytes(report)
        if size is None:
            found.append(_absent(name, limit, "the size of an engine"))
        else:
            found.append(_at_most(name, limit, size / _BYTES_PER_MB, None, FigureUnit("MB")))
    if limits.max_energy_mj is not None:
        name, limit, power = "max_energy_mj", limits.max_energy_mj, report.energy.pruned if report.energy else None
        if power is None:
            found.append(_absent(name, limit, "the pruned model's energy"))
        else:
            found.append(_at_most(name, limit, power.energy_mj, intervals.get("energy_mj"), FigureUnit("mJ")))
    return found


def _engine_bytes(report: Report) -> int | None:
    """Size of the file loaded on the device: the engine, or the ONNX file if that runs directly; None before a run."""
    if report.latency is not None and report.latency.runtime in _RUNNING_ONNX:
        return report.size.pruned_bytes
    return report.size.pruned_engine_bytes


def _at_most(name: str, limit: float, value: float, interval: Interval | None, unit: FigureUnit) -> Check:
    worst = interval[1] if interval else value
    check = Check(name, "pass" if worst <= limit else "fail", "at most", limit, value, interval)
    return _in_words(check, unit, value <= limit)


def _at_least(name: str, limit: float, value: float, interval: Interval, unit: FigureUnit) -> Check:
    check = Check(name, "pass" if interval[0] >= limit else "fail", "at least", limit, value, interval)
    return _in_words(check, unit, value >= limit)


def _in_words(check: Check, unit: FigureUnit, value_holds: bool) -> Check:
    """Add figures to the check; a failed one says so if the value itself would pass and its interval does not."""
    assert check.limit is not None
    assert check.value is not None
    value, *ends = unit.told(check.limit, check.value, *(check.interval or ()))
    interval = f" (95 % interval {ends[0]} to {ends[1]})" if ends else ""
    text = f"{value} {unit.name}{interval}; {check.text} {unit.scale * check.limit:g} {unit.name}"
    if check.outcome == "fail" and value_holds:
        text += ", and the interval reaches past it: measure more"
    return replace(check, text=text)


def _digits(one: float, other: float) -> int:
    """Number of significant digits, from 3 to 6, that distinguishes two numbers."""
    return next((d for d in range(3, 6) if one == other or n.significant(one, d) != n.significant(other, d)), 6)


def _absent(name: str, limit: float, what: str) -> Check:
    return Check(name, "inconclusive", f"{what} is not in the report", limit)
