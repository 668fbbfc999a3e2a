"""From the records of a run to the plain dict of report.json."""

from dataclasses import dataclass
from typing import Any

from edgeprune.files.store import to_plain
from edgeprune.records.constraints import AccuracyBound, LatencyPlan, Narrowing
from edgeprune.records.device_outcome import DeviceOutcome
from edgeprune.records.device_run import BuiltEngine
from edgeprune.records.frames import DataRef
from edgeprune.records.pruning import InputSpec, LayerChain, OnnxModel, PrunePlan, Segmentation, Similarity
from edgeprune.records.results import AccuracyComparison, BenchReport, PrecisionChoice, TrainingResult
from edgeprune.report import sections
from edgeprune.report.pages.requirements import unmet
from edgeprune.report.schema.json import SCHEMA, parse
from edgeprune.text.printable import encodable

NOT_YET = (
    "nothing was measured on a device yet: run bundle.tar there (tar xf, sh run.sh), then: edgeprune device collect"
)
"""The warning of a report whose target is a device that was not reached."""


@dataclass(frozen=True)
class Origin:
    """Origin of a report: the facts that are in no stage's record.

    Attributes:
        model: Name of the model, as the budget file may name it.
        target: Name of the target.
        seed: Random seed of the run.
        classes: Names of the classes, in the order of the logits.
        baseline_sha256: SHA-256 of the input checkpoint.
        pruned_sha256: SHA-256 of the output checkpoint.
        pruned_path: Output checkpoint, relative to the report.
        created: Time of the run, UTC, ISO 8601.
        edgeprune_version: Version of edgeprune that made the run.
        commands: Commands that repeat the run, quoted for a shell.
        packages: Version of each package that the run used.
        git_commit: Git commit of the working directory, if it is in a repository.
        data: The frames, if they are known by name.
        bundle: (path relative to the report, sha256) of the bundle, if the target is a device.
        engines: Engines of both networks, if they are built on this machine.
        warnings: Warnings for the reader; those of the measurement are added.
        compute: Facts of the device on which the networks ran.
        input: Shape of a frame.
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
    bundle: tuple[str, str] | None = None
    engines: tuple[BuiltEngine, BuiltEngine] | None = None
    warnings: tuple[str, ...] = ()
    compute: dict[str, str | int] | None = None
    input: InputSpec | None = None


@dataclass(frozen=True)
class RunRecords:
    """The records of a run; `before` and `after` are the chains of units."""

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
    precision: PrecisionChoice | None = None


def build(evidence: RunRecords, origin: Origin) -> dict[str, Any]:
    """Make the plain dict of report.json; a figure that was not measured is absent.

    Raises:
        ConfigError: The records contradict each other, or a number is not finite; the message names the field.
    """
    bench = evidence.bench
    plain: dict[str, Any] = {
        "schema": SCHEMA,
        "target": origin.target,
        "device": bench.device if bench else None,
        "compute": origin.compute,
        "created": origin.created,
        "edgeprune_version": origin.edgeprune_version,
        "seed": origin.seed,
        "data": to_plain(origin.data) if origin.data else None,
        "classes": list(origin.classes),
        "input": {"channels": origin.input.channels, "length": origin.input.length} if origin.input else None,
        "baseline": {"name": origin.model, "sha256": origin.baseline_sha256, **sections.totals(evidence.before)},
        "pruned": {"sha256": origin.pruned_sha256, **sections.totals(evidence.after), "units": len(evidence.plan.kept)},
        "plan": sections.plan(evidence.plan, evidence.similarity, evidence.segmentation, evidence.before),
        "training": to_plain(evidence.training) if evidence.training else None,
        "accuracy": sections.accuracy(evidence.accuracy) if evidence.accuracy else None,
        "latency": sections.latency(bench, evidence.latency_plan) if bench else None,
        "latency_plan": sections.latency_plan(evidence.latency_plan) if evidence.latency_plan else None,
        "accuracy_bound": sections.bound(evidence.bound) if evidence.bound else None,
        "width": sections.width(evidence.narrowing) if evidence.narrowing else None,
        "precision_choice": to_plain(evidence.precision) if evidence.precision else None,
        "size": {
            "baseline_bytes": evidence.baseline_onnx.size_bytes,
            "pruned_bytes": evidence.pruned_onnx.size_bytes,
            **_engine_sizes(origin.engines),
        },
        "onnx": {"baseline": sections.onnx(evidence.baseline_onnx), "pruned": sections.onnx(evidence.pruned_onnx)},
        "artifacts": _artifacts(evidence, origin),
        "commands": list(origin.commands),
        "packages": dict(origin.packages),
        "git_commit": origin.git_commit,
        "warnings": list(dict.fromkeys((*origin.warnings, *(bench.warnings if bench else ())))),
    }
    if origin.bundle and bench is None:
        plain["warnings"].append(NOT_YET)
    return _checked(plain)


def with_outcome(document: dict[str, Any], outcome: DeviceOutcome) -> dict[str, Any]:
    """Add the measurement on a device to a report.

    Raises:
        ConfigError: The report is incomplete, or a number is not finite.
    """
    asked = document.get("latency", {})
    ours = (NOT_YET, *unmet(parse(document, "the report of this run")))
    said = [warning for warning in document["warnings"] if warning not in ours]
    latency = {
        **sections.latency(outcome.bench, None),
        **{key: asked.get(key) for key in ("budget_ms", "predicted_ms")},
    }
    engines = [to_plain(engine) for engine in outcome.engines]
    largest = {
        f"{role}_engine_bytes": max(engine.size_bytes for engine in outcome.engines if engine.role == role)
        for role in sorted({engine.role for engine in outcome.engines})
    }
    measured = {
        "size": {**document["size"], **largest},
        "device": {**outcome.bench.device, **({"engines": engines} if engines else {})},
        "latency": latency,
        "device_accuracy": sections.device_accuracy(outcome.accuracy) if outcome.accuracy else None,
        "energy": to_plain(outcome.energy) if outcome.energy else None,
        "layers": to_plain(outcome.layers) or None,
        "warnings": list(dict.fromkeys((*said, *outcome.bench.warnings))),
    }
    return _checked({**document, **measured})


def _checked(plain: dict[str, Any]) -> dict[str, Any]:
    measured: dict[str, Any] = _without_none(plain)
    report = parse(measured, "the report of this run")
    measured["warnings"] += unmet(report)
    return measured


def _artifacts(evidence: RunRecords, origin: Origin) -> dict[str, Any]:
    files = {
        "baseline_onnx": (evidence.baseline_onnx.path, evidence.baseline_onnx.sha256),
        "pruned_onnx": (evidence.pruned_onnx.path, evidence.pruned_onnx.sha256),
        "pruned_checkpoint": (origin.pruned_path, origin.pruned_sha256),
        **({"bundle": origin.bundle} if origin.bundle else {}),
        **({"engine": (origin.engines[1].path, origin.engines[1].sha256)} if origin.engines else {}),
    }
    return {name: {"path": path, "sha256": sha256} for name, (path, sha256) in files.items()}


def _engine_sizes(engines: tuple[BuiltEngine, BuiltEngine] | None) -> dict[str, int]:
    if engines is None:
        return {}
    return {"baseline_engine_bytes": engines[0].size_bytes, "pruned_engine_bytes": engines[1].size_bytes}


def _without_none(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {key: _without_none(value) for key, value in plain.items() if value is not None}
    if isinstance(plain, list | tuple):
        return [_without_none(value) for value in plain]
    return encodable(plain) if isinstance(plain, str) else plain
