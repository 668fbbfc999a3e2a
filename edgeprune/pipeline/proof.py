"""What the fine-tuned network is worth: the stages that measure it beside the unpruned one."""

from dataclasses import dataclass

from edgeprune import registry
from edgeprune.bench import protocol
from edgeprune.choices import AccuracyBound, Trial
from edgeprune.export import export
from edgeprune.pipeline.branch import Branch, Grown
from edgeprune.records import AccuracyComparison, BenchReport, OnnxModel
from edgeprune.store import record_sha256
from edgeprune.tasks import bounded, measuring
from edgeprune.tasks import inputs as sources
from edgeprune.tasks.measuring import BenchChoices
from edgeprune.train.accuracy import compare
from edgeprune.train.evaluate import predict


@dataclass(frozen=True)
class ExportPair:
    """Both networks as ONNX."""

    baseline: OnnxModel
    pruned: OnnxModel


@dataclass(frozen=True)
class Proven:
    """What was measured."""

    accuracy: AccuracyComparison
    bound: AccuracyBound | None
    onnx: ExportPair
    bench: BenchReport


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
        accuracy, bound = self._accuracy(), self._bound()
        pair = self._export()
        return Proven(accuracy, bound, pair, self._bench(pair))

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
            frames = sources.spread(work.split("validation"), measuring.CHECKED_FRAMES, sources.SPLIT_SEED).iq
            pair = [
                export(
                    checkpoint.model,
                    checkpoint.input,
                    frames,
                    target,
                    ledger.path / f"{name}.onnx",
                    measuring.onnx_metadata(checkpoint),
                    ledger.progress,
                    batch_size=work.settings.batch,
                )
                for name, checkpoint in (("baseline", work.model), ("pruned", self.branch.tuned()))
            ]
            return ExportPair(*pair)

        return ledger.stage("09-export", ExportPair, inputs, make, ("baseline.onnx", "pruned.onnx"))

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
