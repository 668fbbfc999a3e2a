"""The stages that measure the fine-tuned network against the unpruned one."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeprune import registry
from edgeprune.errors import DeviceError
from edgeprune.export import onnx_logits
from edgeprune.files.store import record_sha256
from edgeprune.pipeline.device_stages import DeviceStages, Packed
from edgeprune.pipeline.export_stages import ExportPair, ExportStages
from edgeprune.pipeline.prune_stages import PrunedResult, PruneStages
from edgeprune.records.constraints import AccuracyBound
from edgeprune.records.device_outcome import DeviceOutcome
from edgeprune.records.device_run import BuiltEngine
from edgeprune.records.frames import Frames
from edgeprune.records.pruning import OnnxModel
from edgeprune.records.results import AccuracyComparison, BenchReport, PrecisionChoice, Trial
from edgeprune.tasks import evaluate, export
from edgeprune.tasks.bench.files import BenchChoices, bench_here, bench_settings
from edgeprune.train.accuracy import accuracy, compare
from edgeprune.train.evaluate import predict


@dataclass(frozen=True)
class EnginePair:
    """Both networks as engines built on this machine."""

    baseline: BuiltEngine
    pruned: BuiltEngine


@dataclass(frozen=True)
class Measurements:
    """Results of the measurements.

    `unmeasured` is the reason why latency could not be measured, else ''. `checkpoint` is the file of the exported
    network.
    """

    accuracy: AccuracyComparison
    bound: AccuracyBound | None
    onnx: ExportPair
    checkpoint: str
    choice: PrecisionChoice | None = None
    bench: BenchReport | None = None
    engines: EnginePair | None = None
    unmeasured: str = ""
    bundle: Packed | None = None
    outcome: DeviceOutcome | None = None


@dataclass(frozen=True)
class MeasureStages:
    """The stages that measure a pruned network against the unpruned one.

    Attributes:
        stages: The stages that made the pruned network.
        pruning: Results of those stages.
        unpruned: The float32 export of the unpruned network, made at the start of the job.
        trials: The networks that were tried to find the number of units.
    """

    stages: PruneStages
    pruning: PrunedResult
    unpruned: OnnxModel
    trials: tuple[Trial, ...] = ()

    def run(self) -> Measurements:
        """Run every unfinished stage."""
        exports = ExportStages(self.stages, self.pruning, self.unpruned)
        exports.train()
        if not self.stages.work.settings.choose_precision:
            return self._measure(exports)
        choice = exports.choose()
        work = self.stages.work
        chosen = export.precision_of(work.settings.target, choice.chosen)
        settings = replace(work.settings, precision_options=work.settings.precision_options.of(chosen))
        stages = replace(self.stages, work=replace(work, settings=settings))
        measured = replace(self, stages=stages)._measure(ExportStages(stages, self.pruning, self.unpruned))
        return replace(measured, choice=choice)

    def _measure(self, exports: ExportStages) -> Measurements:
        settings = self.stages.work.settings
        lower = None if settings.precision == "fp32" else exports.export()
        compared, bound = self._accuracy(lower, exports), self._bound(lower, exports)
        pair = lower or exports.export()
        measured = Measurements(compared, bound, pair, exports.checkpoint)
        if settings.builds_here:
            measured = replace(measured, engines=self._engines(pair))
            try:
                return replace(measured, bench=self._bench(pair))
            except DeviceError as error:
                return replace(measured, unmeasured=f"latency was not measured: {error.message}")
        if not settings.target.on_device:
            return replace(measured, bench=self._bench(pair))
        there = DeviceStages(self.stages, exports.pruned, pair.baseline, pair.pruned)
        bundle = there.pack()
        return replace(measured, bundle=bundle, outcome=there.measure(settings.host, bundle))

    def _accuracy(self, pair: ExportPair | None, exports: ExportStages) -> AccuracyComparison:
        """Compare the accuracy of the networks in PyTorch, or of their files in a lower precision."""
        work, cache = self.stages.work, self.stages.cache
        test = work.split("test")

        def make() -> AccuracyComparison:
            return compare(*self._logits(exports, test), test, "test")

        inputs = {"data": test.sha256, **self._logits_inputs(pair)}
        comparison = cache.stage("08-accuracy", AccuracyComparison, inputs, make)
        cache.note(f"top-1 {comparison.baseline.top1:.2%} before, {comparison.pruned.top1:.2%} after")
        return comparison

    def _bound(self, pair: ExportPair | None, exports: ExportStages) -> AccuracyBound | None:
        work, cache = self.stages.work, self.stages.cache
        most, validation = work.settings.max_accuracy_drop, work.split("validation")
        if most is None:
            return None

        def make() -> AccuracyBound:
            before = evaluate.top1(work.model, validation, cache.progress, work.settings.compute)
            if work.settings.precision == "fp32":
                after = evaluate.top1(exports.pruned, validation, cache.progress, work.settings.compute)
            else:
                after = accuracy(self._logits(exports, validation)[1], validation, "validation").top1
            return AccuracyBound(most, before, Trial(len(self.pruning.plan.kept), after, before - after), self.trials)

        inputs = {
            "data": validation.sha256,
            "bound": most,
            "trials": [record_sha256(trial) for trial in self.trials],
            **self._logits_inputs(pair),
        }
        bound = cache.stage("08-bound", AccuracyBound, inputs, make)
        cache.note(f"loses {100 * bound.result.drop:.2f} points on validation, {100 * most:g} are allowed")
        return bound

    def _logits_inputs(self, pair: ExportPair | None) -> dict[str, Any]:
        if pair is None:
            return {"finetune": record_sha256(self.pruning.training)}
        return {"files": [pair.baseline.sha256, pair.pruned.sha256]}

    def _logits(self, exports: ExportStages, frames: Frames) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Compute the logits of both networks, each (N, classes)."""
        work, cache = self.stages.work, self.stages.cache
        if work.settings.precision != "fp32":
            before, after = (onnx_logits(cache.path / f"{name}.onnx", frames.iq) for name in ("baseline", "pruned"))
            return before, after
        tuned = exports.pruned
        with work.settings.compute.lent(work.model.model, tuned.model):
            before = predict(work.model.model, frames.iq, work.model.input, cache.progress, "unpruned")
            return before, predict(tuned.model, frames.iq, tuned.input, cache.progress, "pruned")

    def _engines(self, pair: ExportPair) -> EnginePair:
        work, cache = self.stages.work, self.stages.cache
        target = work.settings.target
        builder = registry.get("runtimes", target.runtime)
        inputs = {"export": record_sha256(pair), "target": target.model_dump(), "builder": builder.facts()}

        def make() -> EnginePair:
            built = (
                builder.build(cache.path / f"{name}.onnx", target, cache.path / f"{name}.engine", cache.progress)
                for name in ("baseline", "pruned")
            )
            return EnginePair(*built)

        return cache.stage("10-engine", EnginePair, inputs, make, ("baseline.engine", "pruned.engine"))

    def _bench(self, pair: ExportPair) -> BenchReport:
        work, cache = self.stages.work, self.stages.cache
        target, settings = work.settings.target, work.settings
        inputs = {
            "export": record_sha256(pair),
            "bench": target.bench.model_dump(),
            "threads": target.threads,
            "batch": settings.batch,
            "runtime": target.runtime,
        }
        return cache.stage(
            "10-bench",
            BenchReport,
            inputs,
            lambda: bench_here(
                cache.path / "baseline.onnx",
                cache.path / "pruned.onnx",
                work.split("test").iq,
                target,
                bench_settings(target, settings.precision, BenchChoices(settings.batch)),
                cache.path,
                cache.progress,
            ),
            ("samples-baseline.npz", "samples-pruned.npz"),
        )
