"""From the records of a run to the plain dict of report.json."""

from dataclasses import dataclass
from typing import Any

from edgeprune.choices import AccuracyBound, LatencyPlan, Narrowing, Timing
from edgeprune.records import (
    Accuracy,
    AccuracyComparison,
    BenchReport,
    DataRef,
    LatencySummary,
    LayerChain,
    OnnxModel,
    PrunePlan,
    Rate,
    Segmentation,
    Similarity,
    TrainingResult,
)
from edgeprune.report.promises import broken
from edgeprune.report.report_json import SCHEMA, parse
from edgeprune.store import to_plain


@dataclass(frozen=True)
class Origin:
    """Where a report comes from: what is not in the record of any stage.

    Attributes:
        model: Name of the model, as the budget file may name it.
        target: Name of the target.
        seed: Of everything random in the run.
        classes: Names of the classes, in the order of the logits.
        baseline_sha256: Of the checkpoint that came in.
        pruned_sha256: Of the checkpoint that goes out.
        pruned_path: Its file, relative to the report.
        created: UTC, ISO 8601.
        edgeprune_version: Of the package that made the run.
        commands: What to type to run it again, quoted for a shell, one command each.
        packages: Version of each package that had a part in it.
        git_commit: Of the working directory, if it is in a repository.
        data: The frames, if they are known by name.
        engine: (path relative to the report, sha256) of the engine built for the target, if one was.
        energy: What the device's meters said, if it has any.
        warnings: What a reader must know; those of the measurement are added.
    """

    model: str
    target: str
    seed: int
    classes: tuple[str, ...]
    baseline_sha256: str
    pruned_sha256: str
    pruned_path: str
    created: str
    edgeprune_version: str
    commands: tuple[str, ...]
    packages: dict[str, str]
    git_commit: str | None = None
    data: DataRef | None = None
    engine: tuple[str, str] | None = None
    energy: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """The records of a run: `before` and `after` are the chains, the two ONNX models stand in the same order."""

    before: LayerChain
    after: LayerChain
    similarity: Similarity
    segmentation: Segmentation
    plan: PrunePlan
    baseline_onnx: OnnxModel
    pruned_onnx: OnnxModel
    training: TrainingResult | None = None
    accuracy: AccuracyComparison | None = None
    bench: BenchReport | None = None
    latency_plan: LatencyPlan | None = None
    bound: AccuracyBound | None = None
    narrowing: Narrowing | None = None


def build(evidence: Evidence, origin: Origin) -> dict[str, Any]:
    """The plain dict of report.json; a figure that was not measured is absent.

    Raises:
        ConfigError: The records do not fit one another, or a number is not finite; the first such field is named.
    """
    bench = evidence.bench
    plain: dict[str, Any] = {
        "schema": SCHEMA,
        "target": origin.target,
        "device": bench.device if bench else None,
        "created": origin.created,
        "edgeprune_version": origin.edgeprune_version,
        "seed": origin.seed,
        "data": to_plain(origin.data) if origin.data else None,
        "classes": list(origin.classes),
        "baseline": {"name": origin.model, "sha256": origin.baseline_sha256, **_totals(evidence.before)},
        "pruned": {"sha256": origin.pruned_sha256, **_totals(evidence.after), "units": len(evidence.plan.kept)},
        "plan": _plan(evidence),
        "training": to_plain(evidence.training) if evidence.training else None,
        "accuracy": _accuracy(evidence.accuracy) if evidence.accuracy else None,
        "latency": _latency(bench, evidence.latency_plan) if bench else None,
        "latency_plan": _latency_plan(evidence.latency_plan) if evidence.latency_plan else None,
        "accuracy_bound": _bound(evidence.bound) if evidence.bound else None,
        "width": _width(evidence.narrowing) if evidence.narrowing else None,
        "energy": origin.energy,
        "size": {
            "baseline_bytes": evidence.baseline_onnx.size_bytes,
            "pruned_bytes": evidence.pruned_onnx.size_bytes,
        },
        "onnx": {"baseline": _onnx(evidence.baseline_onnx), "pruned": _onnx(evidence.pruned_onnx)},
        "artifacts": _artifacts(evidence, origin),
        "commands": list(origin.commands),
        "packages": dict(origin.packages),
        "git_commit": origin.git_commit,
        "warnings": list(dict.fromkeys((*origin.warnings, *(bench.warnings if bench else ())))),
    }
    measured: dict[str, Any] = _without_none(plain)
    report = parse(measured, "the report of this run")
    measured["warnings"] += broken(report)
    return measured


def _totals(chain: LayerChain) -> dict[str, int]:
    """Sizes of a network. What is left of a dropped unit, its shortcut, is no unit of the pruned network."""
    return {"units": len(chain.units), "params": chain.params, "macs": chain.macs}


def _plan(evidence: Evidence) -> dict[str, Any]:
    plan, similarity, found = evidence.plan, evidence.similarity, evidence.segmentation
    units = {unit.index: to_plain(unit) for unit in evidence.before.units}
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


def _accuracy(comparison: AccuracyComparison) -> dict[str, Any]:
    return {
        "split": comparison.baseline.split,
        "frames": comparison.baseline.frames,
        "baseline": _accuracy_of(comparison.baseline),
        "pruned": _accuracy_of(comparison.pruned),
        "drop": comparison.drop,
        "drop_ci95": list(comparison.drop_ci95),
        "mcnemar_p": comparison.mcnemar_p,
    }


def _accuracy_of(accuracy: Accuracy) -> dict[str, Any]:
    return {
        "top1": accuracy.top1,
        "ci95": list(accuracy.ci95),
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


def _latency(bench: BenchReport, plan: LatencyPlan | None) -> dict[str, Any]:
    def of(summary: LatencySummary | None) -> dict[str, Any] | None:
        return to_plain(summary) if summary else None

    return {
        "runtime": bench.runtime,
        "precision": bench.precision,
        "batch": bench.batch,
        "threads": bench.threads,
        "mode": bench.mode,
        "rounds": bench.rounds,
        "baseline": of(bench.baseline),
        "pruned": of(bench.pruned),
        "speedup": bench.speedup,
        "speedup_ci95": list(bench.speedup_ci95) if bench.speedup_ci95 else None,
        "budget_ms": plan.budget_ms if plan else None,
        "predicted_ms": plan.predicted_ms if plan else None,
    }


def _latency_plan(plan: LatencyPlan) -> dict[str, Any]:
    def of(timing: Timing) -> dict[str, Any]:
        return {"units": len(timing.kept), **to_plain(timing)}

    return {
        "baseline_ms": plan.baseline_ms,
        "fixed_ms": plan.fixed_ms,
        "costs_ms": {str(unit): cost for unit, cost in sorted(plan.costs_ms.items())},
        "probes": [of(timing) for timing in plan.probes],
        "candidates": [of(timing) for timing in plan.candidates],
    }


def _bound(bound: AccuracyBound) -> dict[str, Any]:
    return {
        "max_drop": bound.max_drop,
        "baseline_top1": bound.baseline_top1,
        "pruned_top1": bound.result.validation_top1,
        "drop": bound.result.drop,
        "trials": [to_plain(trial) for trial in bound.trials],
    }


def _width(narrowing: Narrowing) -> dict[str, Any]:
    return {
        "method": narrowing.method,
        "channels": narrowing.channels,
        "macs_before": narrowing.macs_before,
        "modules": [
            {"path": path, "before": list(before), "after": list(after)}
            for path, (before, after) in narrowing.sizes.items()
        ],
    }


def _onnx(model: OnnxModel) -> dict[str, Any]:
    filed_elsewhere = ("path", "sha256", "size_bytes")
    return {key: value for key, value in to_plain(model).items() if key not in filed_elsewhere}


def _artifacts(evidence: Evidence, origin: Origin) -> dict[str, Any]:
    files = {
        "baseline_onnx": (evidence.baseline_onnx.path, evidence.baseline_onnx.sha256),
        "pruned_onnx": (evidence.pruned_onnx.path, evidence.pruned_onnx.sha256),
        "pruned_checkpoint": (origin.pruned_path, origin.pruned_sha256),
        **({"engine": origin.engine} if origin.engine else {}),
    }
    return {name: {"path": path, "sha256": sha256} for name, (path, sha256) in files.items()}


def _without_none(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {key: _without_none(value) for key, value in plain.items() if value is not None}
    if isinstance(plain, list | tuple):
        return [_without_none(value) for value in plain]
    return plain
