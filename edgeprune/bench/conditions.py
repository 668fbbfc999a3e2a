"""Warnings about conditions that can spoil a measurement or its conclusion, worded for the report. Pure."""

from typing import Any

from edgeprune.bench import stats
from edgeprune.records.results import LatencySummary

_MAX_OTHERS_CORES = 0.2
_MAX_STOLEN_CORES = 0.02
_MAX_VARIATION = 0.05


def of_machine(device: dict[str, Any], threads: int, others_cores: float, stolen_cores: float) -> list[str]:
    """Warn about the state of the machine during the measurement.

    Args:
        device: Facts of the machine.
        threads: Threads the model ran on.
        others_cores: Cores that other processes kept busy during the measurement, on average.
        stolen_cores: Cores that the hypervisor gave to other machines during the measurement, on average.
    """
    warnings = []
    usable = device.get("usable_cores")
    if usable is not None and threads > usable:
        warnings.append(f"{threads} threads shared {usable:g} usable cores: fewer threads may be faster")
    if others_cores > _MAX_OTHERS_CORES:
        warnings.append(f"the machine was not quiet: other processes kept {others_cores:.1f} cores busy meanwhile")
    if stolen_cores > _MAX_STOLEN_CORES:
        warnings.append(f"the hypervisor took {stolen_cores:.2f} cores away meanwhile")
    governor = device.get("governor", "performance")
    if governor != "performance":
        warnings.append(
            f"the CPU frequency governor is {governor!r}, not 'performance': the clock may have changed meanwhile"
        )
    return warnings


def of_samples(role: str, summary: LatencySummary) -> list[str]:
    """Warn about one model's times; `role` is 'baseline' or 'pruned'."""
    warnings = []
    spread = stats.variation(summary.round_medians_ms)
    if spread > _MAX_VARIATION:
        warnings.append(
            f"the {role}'s round medians vary by {spread:.0%} (standard deviation), more than {_MAX_VARIATION:.0%}"
        )
    for percent, value in ((90, summary.p90_ms), (99, summary.p99_ms)):
        if value is None:
            needed = stats.MIN_SAMPLES[percent]
            warnings.append(f"the {role}'s p{percent} is not claimed: {summary.samples} samples, {needed} needed")
    return warnings


def of_speedup(speedup: stats.Speedup) -> list[str]:
    """Warn when the pruned model is not shown to be faster."""
    low, high = speedup.ci95
    if stats.is_faster(speedup.ci95):
        return []
    outcome = "the pruned model is slower" if high < 1 else "no speed-up was shown"
    return [f"{outcome}: {speedup.ratio:.3f} times, 95 % interval {low:.3f} to {high:.3f}"]
