"""What the fine-tuned network is worth: the stages that measure it beside the unpruned one."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeprune import registry
from edgeprune.errors import DeviceError
from edgeprune.export import onnx_logits
from edgeprune.files.store import record_sha256
from edgeprune.pipeline.device_stages import OnDevice, Packed
from edgeprune.pipeline.export_stages import Delivery, ExportPair
from edgeprune.pipeline.prune_stages import Branch, Grown
from edgeprune.records.constraints import AccuracyBound
from edgeprune.records.device_outcome import DeviceOutcome
from edgeprune.records.device_run import BuiltEngine
from edgeprune.records.frames import Frames
from edgeprune.records.pruning import OnnxModel
from edgeprune.records.results import AccuracyComparison, BenchReport, PrecisionChoice, Trial
from edgeprune.tasks import bounded, export
from edgeprune.tasks.bench.files import BenchChoices, bench_here, bench_settings
from edgeprune.train.accuracy import accuracy, compare
from edgeprune.train.evaluate import predict


@dataclass(frozen=True)
class EnginePair:
    """Both networks as engines built on this machine."""

    baseline: BuiltEngine
    pruned: BuiltEngine


@dataclass(frozen=True)
class Proven:
    """What was measured; `unmeasured` says why latency was not, where it could not be.

    `checkpoint` is the file of the network that was exported.
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
class Proof:
    """The measurements of one branch, in its folder.

    Attributes:
        branch: What is measured.
        grown: What it came to.
        unpruned: The unpruned network as it was exported before anything else, in float32.
        trials: The networks that were tried to find its number of units.
    """

    branch: Branch
    grown: Grown
    unpruned: OnnxModel
    trials: tuple[Trial, ...] = ()

    def prove(self) -> Proven:
        """Do every stage that is not done yet."""
        delivery = Delivery(self.branch, self.grown, self.unpruned)
        delivery.train()
        if not self.branch.work.settings.choose_precision:
            return self._proven(delivery)
        choice = delivery.choose()
        work = self.branch.work
        chosen = export.precision_of(work.settings.target, choice.chosen)
        settings = replace(work.settings, lowered=work.settings.lowered.of(chosen))
        branch = replace(self.branch, work=replace(work, settings=settings))
        proven = replace(self, branch=branch)._proven(Delivery(branch, self.grown, self.unpruned))
        return replace(proven, choice=choice)

    def _proven(self, delivery: Delivery) -> Proven:
        settings = self.branch.work.settings
        lower = None if settings.precision == "fp32" else delivery.export()
        compared, bound = self._accuracy(lower, delivery), self._bound(lower, delivery)
        pair = lower or delivery.export()
        proven = Proven(compared, bound, pair, delivery.checkpoint)
        if settings.builds_here:
            proven = replace(proven, engines=self._engines(pair))
            try:
                return replace(proven, bench=self._bench(pair))
            except DeviceError as error:
                return replace(proven, unmeasured=f"latency was not measured: {error.message}")
        if not settings.target.on_device:
            return replace(proven, bench=self._bench(pair))
        there = OnDevice(self.branch, delivery.pruned, pair.baseline, pair.pruned)
        bundle = there.pack()
        return replace(proven, bundle=bundle, outcome=there.measure(settings.host, bundle))

    def _accuracy(self, pair: ExportPair | None, delivery: Delivery) -> AccuracyComparison:
        """Accuracy of the networks in PyTorch, or of their files in a lower precision."""
        work, ledger = self.branch.work, self.branch.ledger
        test = work.split("test")

        def make() -> AccuracyComparison:
            return compare(*self._answers(delivery, test), test, "test")

        inputs = {"data": test.sha256, **self._answered_by(pair)}
        comparison = ledger.stage("08-accuracy", AccuracyComparison, inputs, make)
        ledger.note(f"top-1 {comparison.baseline.top1:.2%} before, {comparison.pruned.top1:.2%} after")
        return comparison

    def _bound(self, pair: ExportPair | None, delivery: Delivery) -> AccuracyBound | None:
        work, ledger = self.branch.work, self.branch.ledger
        most, validation = work.settings.max_accuracy_drop, work.split("validation")
        if most is None:
            return None

        def make() -> AccuracyBound:
            before = bounded.top1(work.model, validation, ledger.progress, work.settings.compute)
            if work.settings.precision == "fp32":
                after = bounded.top1(delivery.pruned, validation, ledger.progress, work.settings.compute)
            else:
                after = accuracy(self._answers(delivery, validation)[1], validation, "validation").top1
            return AccuracyBound(most, before, Trial(len(self.grown.plan.kept), after, before - after), self.trials)

        inputs = {
            "data": validation.sha256,
            "bound": most,
            "trials": [record_sha256(trial) for trial in self.trials],
            **self._answered_by(pair),
        }
        bound = ledger.stage("08-bound", AccuracyBound, inputs, make)
        ledger.note(f"loses {100 * bound.result.drop:.2f} points on validation, {100 * most:g} are allowed")
        return bound

    def _answered_by(self, pair: ExportPair | None) -> dict[str, Any]:
        if pair is None:
            return {"finetune": record_sha256(self.grown.training)}
        return {"files": [pair.baseline.sha256, pair.pruned.sha256]}

    def _answers(self, delivery: Delivery, frames: Frames) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Logits of both networks."""
        work, ledger = self.branch.work, self.branch.ledger
        if work.settings.precision != "fp32":
            before, after = (onnx_logits(ledger.path / f"{name}.onnx", frames.iq) for name in ("baseline", "pruned"))
            return before, after
        tuned = delivery.pruned
        with work.settings.compute.lent(work.model.model, tuned.model):
            before = predict(work.model.model, frames.iq, work.model.input, ledger.progress, "unpruned")
            return before, predict(tuned.model, frames.iq, tuned.input, ledger.progress, "pruned")

    def _engines(self, pair: ExportPair) -> EnginePair:
        work, ledger = self.branch.work, self.branch.ledger
        target = work.settings.target
        builder = registry.get("runtimes", target.runtime)
        inputs = {"export": record_sha256(pair), "target": target.model_dump(), "builder": builder.facts()}

        def make() -> EnginePair:
            built = (
                builder.build(ledger.path / f"{name}.onnx", target, ledger.path / f"{name}.engine", ledger.progress)
                for name in ("baseline", "pruned")
            )
            return EnginePair(*built)

        return ledger.stage("10-engine", EnginePair, inputs, make, ("baseline.engine", "pruned.engine"))

    def _bench(self, pair: ExportPair) -> BenchReport:
        work, ledger = self.branch.work, self.branch.ledger
        target, settings = work.settings.target, work.settings
        inputs = {
            "export": record_sha256(pair),
            "bench": target.bench.model_dump(),
            "threads": target.threads,
            "batch": settings.batch,
            "runtime": target.runtime,
        }
        return ledger.stage(
            "10-bench",
            BenchReport,
            inputs,
            lambda: bench_here(
                ledger.path / "baseline.onnx",
                ledger.path / "pruned.onnx",
                work.split("test").iq,
                target,
                bench_settings(target, settings.precision, BenchChoices(settings.batch)),
                ledger.path,
                ledger.progress,
            ),
            ("samples-baseline.npz", "samples-pruned.npz"),
        )
