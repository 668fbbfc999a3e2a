"""Sections of report.json, each from the records of its stages. Pure."""

from typing import Any

from edgeprune.files.store import to_plain
from edgeprune.records.constraints import AccuracyBound, LatencyPlan, Narrowing, Timing
from edgeprune.records.device_outcome import DeviceAccuracy
from edgeprune.records.pruning import LayerChain, OnnxModel, PrunePlan, Segmentation, Similarity
from edgeprune.records.results import Accuracy, AccuracyComparison, BenchReport, LatencySummary, Rate


def totals(chain: LayerChain) -> dict[str, int]:
    """Sizes of a network. The shortcut that remains of a dropped unit is not a unit of the pruned network."""
    return {"units": len(chain.units), "params": chain.params, "macs": chain.macs}


def plan(plan: PrunePlan, similarity: Similarity, found: Segmentation, before: LayerChain) -> dict[str, Any]:
    """Build the section `plan`."""
    units = {unit.index: to_plain(unit) for unit in before.units}
    about = ("kind", "in_shape", "out_shape", "params", "macs", "drop")
    return {
        "metric": plan.metric,
        "criterion": plan.criterion,
        "segments": [list(segment) for segment in plan.segments],
        "kept": list(plan.kept),
        "dropped": list(plan.dropped),
        "decisions": [
            {**to_plain(decision), **{key: units[decision.index].get(key) for key in about}}
            for decision in plan.decisions
        ],
        "similarity": {
            "frames": similarity.frames,
            "data_sha256": similarity.data_sha256,
            "matrix": [[round(value, 6) for value in row] for row in similarity.matrix],
        },
        "segmentation": {"profile": found.profile, "chosen": found.chosen, "losses": list(found.losses)},
    }


def accuracy(comparison: AccuracyComparison) -> dict[str, Any]:
    """Build the section `accuracy`."""
    return {
        "split": comparison.baseline.split,
        "frames": comparison.baseline.frames,
        **({} if comparison.baseline.groups is None else {"groups": comparison.baseline.groups}),
        "baseline": _accuracy_of(comparison.baseline),
        "pruned": _accuracy_of(comparison.pruned),
        "drop": comparison.drop,
        "drop_ci95": list(comparison.drop_ci95),
        "mcnemar_p": comparison.mcnemar_p,
    }


def device_accuracy(proven: DeviceAccuracy) -> dict[str, Any]:
    """Build the section `device_accuracy`."""
    return {
        **accuracy(proven.comparison),
        "agreement": {"baseline": to_plain(proven.baseline), "pruned": to_plain(proven.pruned)},
    }


def _accuracy_of(accuracy: Accuracy) -> dict[str, Any]:
    return {
        "top1": accuracy.top1,
        "ci95": list(accuracy.ci95),
        **({} if accuracy.design_effect is None else {"design_effect": accuracy.design_effect}),
        **(_rates("by_snr", accuracy.by_snr) if accuracy.by_snr else {}),
        **_rates("by_class", accuracy.by_class),
        "confusion": [list(row) for row in accuracy.confusion],
    }


def _rates(name: str, rates: dict[str, Rate]) -> dict[str, Any]:
    return {
        name: {key: rate.top1 for key, rate in rates.items()},
        f"{name}_ci95": {key: list(rate.ci95) for key, rate in rates.items()},
        f"{name}_frames": {key: rate.frames for key, rate in rates.items()},
    }


def latency(bench: BenchReport, plan: LatencyPlan | None) -> dict[str, Any]:
    """Build the section `latency`."""

    def of(summary: LatencySummary | None) -> dict[str, Any] | None:
        return to_plain(summary) if summary else None

    return {
        "runtime": bench.runtime,
        "precision": bench.precision,
        "batch": bench.batch,
        "threads": bench.threads,
        "mode": bench.mode,
        "rounds": bench.rounds,
        "builds": list(bench.builds) if bench.builds else None,
        "processes": bench.processes,
        "process_of_round": list(bench.process_of_round) if bench.process_of_round else None,
        "baseline": of(bench.baseline),
        "pruned": of(bench.pruned),
        "speedup": bench.speedup,
        "speedup_ci95": list(bench.speedup_ci95) if bench.speedup_ci95 else None,
        "budget_ms": plan.budget_ms if plan else None,
        "predicted_ms": plan.predicted_ms if plan else None,
    }


def latency_plan(plan: LatencyPlan) -> dict[str, Any]:
    """Build the section `latency_plan`."""

    def of(timing: Timing) -> dict[str, Any]:
        return {"units": len(timing.kept), **to_plain(timing)}

    return {
        "baseline_ms": plan.baseline_ms,
        "fixed_ms": plan.fixed_ms,
        "costs_ms": {str(unit): cost for unit, cost in sorted(plan.costs_ms.items())},
        "probes": [of(timing) for timing in plan.probes],
        "candidates": [of(timing) for timing in plan.candidates],
    }


def bound(bound: AccuracyBound) -> dict[str, Any]:
    """Build the section `accuracy_bound`."""
    return {
        "max_drop": bound.max_drop,
        "baseline_top1": bound.baseline_top1,
        "pruned_top1": bound.result.validation_top1,
        "drop": bound.result.drop,
        "trials": [to_plain(trial) for trial in bound.trials],
    }


def width(narrowing: Narrowing) -> dict[str, Any]:
    """Build the section `width`."""
    return {
        "method": narrowing.method,
        "channels": narrowing.channels,
        "macs_before": narrowing.macs_before,
        "modules": [
            {"path": path, "before": list(before), "after": list(after)}
            for path, (before, after) in narrowing.sizes.items()
        ],
    }


def onnx(model: OnnxModel) -> dict[str, Any]:
    """Build the part of one network in the section `onnx`."""
    filed_elsewhere = ("path", "sha256", "size_bytes")
    return {key: value for key, value in to_plain(model).items() if key not in filed_elsewhere}
