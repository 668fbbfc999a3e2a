"""What the fine-tuned network is worth: the stages that measure it beside the unpruned one."""

from dataclasses import dataclass

from edgeprune import registry
from edgeprune.bench import protocol
from edgeprune.choices import AccuracyBound, Trial
from edgeprune.errors import DeviceError
from edgeprune.measurement import BuiltEngine
from edgeprune.outcome import DeviceOutcome
from edgeprune.pipeline.branch import Branch, Grown
from edgeprune.pipeline.on_device import OnDevice, Packed
from edgeprune.records import AccuracyComparison, BenchReport, OnnxModel
from edgeprune.store import record_sha256
from edgeprune.tasks import bounded, measuring
from edgeprune.tasks.measuring import BenchChoices
from edgeprune.train.accuracy import compare
from edgeprune.train.evaluate import predict


@dataclass(frozen=True)
class ExportPair:
    """Both networks as ONNX."""

    baseline: OnnxModel
    pruned: OnnxModel


@dataclass(frozen=True)
class EnginePair:
    """Both networks as engines built on this machine."""

    baseline: BuiltEngine
    pruned: BuiltEngine


@dataclass(frozen=True)
class Proven:
    """What was measured; `unmeasured` says why latency was not, where it could not be."""

    accuracy: AccuracyComparison
    bound: AccuracyBound | None
    onnx: ExportPair
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
        trials: The networks that were tried to find its number of units.
    """

    branch: Branch
    grown: Grown
    trials: tuple[Trial, ...] = ()

    def prove(self) -> Proven:
        """Do every stage that is not done yet."""
        settings = self.branch.work.settings
        accuracy, bound = self._accuracy(), self._bound()
        pair = self._export()
        if settings.builds_here:
            engines = self._engines(pair)
            try:
                return Proven(accuracy, bound, pair, self._bench(pair), engines)
            except DeviceError as error:
                return Proven(
                    accuracy, bound, pair, engines=engines, unmeasured=f"latency was not measured: {error.message}"
                )
        if not settings.target.on_device:
            return Proven(accuracy, bound, pair, self._bench(pair))
        there = OnDevice(self.branch, pair.baseline, pair.pruned)
        bundle = there.pack()
        return Proven(accuracy, bound, pair, bundle=bundle, outcome=there.measure(settings.host, bundle))

    def _accuracy(self) -> AccuracyComparison:
        work, ledger = self.branch.work, self.branch.ledger
        test = work.split("test")

        def make() -> AccuracyComparison:
            pruned = self.branch.tuned()
            before = predict(work.model.model, test.iq, work.model.input, ledger.progress, "unpruned")
            after = predict(pruned.model, test.iq, pruned.input, ledger.progress, "pruned")
            return compare(before, after, test, "test")

        inputs = {"finetune": record_sha256(self.grown.training), "data": test.sha256}
        comparison = ledger.stage("08-accuracy", AccuracyComparison, inputs, make)
        ledger.note(f"top-1 {comparison.baseline.top1:.2%} before, {comparison.pruned.top1:.2%} after")
        return comparison

    def _bound(self) -> AccuracyBound | None:
        work, ledger = self.branch.work, self.branch.ledger
        most, validation = work.settings.max_accuracy_drop, work.split("validation")
        if most is None:
            return None

        def make() -> AccuracyBound:
            before = bounded.top1(work.model, validation, ledger.progress)
            after = bounded.top1(self.branch.tuned(), validation, ledger.progress)
            return AccuracyBound(most, before, Trial(len(self.grown.plan.kept), after, before - after), self.trials)

        inputs = {
            "finetune": record_sha256(self.grown.training),
            "data": validation.sha256,
            "bound": most,
            "trials": [record_sha256(trial) for trial in self.trials],
        }
        bound = ledger.stage("08-bound", AccuracyBound, inputs, make)
        ledger.note(f"loses {100 * bound.result.drop:.2f} points on validation, {100 * most:g} are allowed")
        return bound

    def _export(self) -> ExportPair:
        work, ledger = self.branch.work, self.branch.ledger
        target = work.settings.target
        inputs = {
            "finetune": record_sha256(self.grown.training),
            "plan": record_sha256(self.grown.plan),
            "opset": target.opset,
            "batch": [target.batch, work.settings.batch],
            "precision": work.settings.precision,
            "data": work.split("test").sha256,
        }

        def make() -> ExportPair:
            pair = [
                measuring.export_checked(
                    checkpoint,
                    work.parts(),
                    target,
                    ledger.path / f"{name}.onnx",
                    work.settings.precision,
                    work.settings.batch,
                    ledger.progress,
                )
                for name, checkpoint in (("baseline", work.model), ("pruned", self.branch.tuned()))
            ]
            return ExportPair(*pair)

        return ledger.stage("09-export", ExportPair, inputs, make, ("baseline.onnx", "pruned.onnx"))

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
            lambda: protocol.measure(
                ledger.path / "baseline.onnx",
                ledger.path / "pruned.onnx",
                work.split("test").iq,
                registry.get("runtimes", target.runtime),
                measuring.bench_settings(target, settings.precision, BenchChoices(settings.batch)),
                ledger.path,
                ledger.progress,
            ),
            ("samples-baseline.npz", "samples-pruned.npz"),
        )
