"""Export of both networks to ONNX in the chosen precision, after training for int8 if requested."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from edgeprune.files.store import file_sha256, record_sha256, to_plain
from edgeprune.files.whole import remove, replacing
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.pipeline.prune_stages import PRUNED, PrunedResult, PruneStages
from edgeprune.records.pruning import OnnxModel
from edgeprune.records.results import PrecisionChoice, PrecisionTrial, TrainingResult
from edgeprune.targets import Precision
from edgeprune.tasks import evaluate
from edgeprune.tasks import export as measuring
from edgeprune.tasks import precision as lowering
from edgeprune.tasks.bench.files import BenchChoices, bench_here, bench_settings
from edgeprune.tasks.device.run import bench_on_device
from edgeprune.tasks.precision import PrecisionOptions

TRAINED_FOR_INT8 = "pruned-qat.pt"
CANDIDATES = "precision"
_STATE = "qat.state"


@dataclass(frozen=True)
class ExportPair:
    """Both networks as ONNX."""

    baseline: OnnxModel
    pruned: OnnxModel


@dataclass(frozen=True)
class ExportStages:
    """The stages from a fine-tuned network to its ONNX file.

    Attributes:
        stages: The stages that made the pruned network.
        pruning: Results of those stages.
        unpruned: The float32 export of the unpruned network, made at the start of the job.
    """

    stages: PruneStages
    pruning: PrunedResult
    unpruned: OnnxModel

    @property
    def checkpoint(self) -> str:
        """File name of the network to export."""
        return PRUNED if self._options.qat_epochs is None else TRAINED_FOR_INT8

    @cached_property
    def pruned(self) -> Checkpoint:
        """The network to export."""
        return checkpoints.load(self.stages.cache.path / self.checkpoint, self.stages.work.model.trusted)

    def train(self) -> None:
        """Fine-tune the pruned network with simulated int8, if requested."""
        work, cache, epochs = self.stages.work, self.stages.cache, self._options.qat_epochs
        if epochs is None:
            return
        seed, state = work.settings.recipe.seed, cache.path / _STATE
        data, most = work.split("train").sha256, work.settings.frames
        inputs = {"finetune": self._made_from, "data": data, "frames": most, "epochs": epochs, "seed": seed}

        def make() -> TrainingResult:
            tuned = self.stages.tuned()
            trained, result = lowering.train_for_int8(
                tuned, work.training_parts(), epochs, seed, state, cache.progress, work.settings.compute
            )
            checkpoints.save(cache.path / TRAINED_FOR_INT8, trained)
            return result

        result = cache.stage("09-qat", TrainingResult, inputs, make, (TRAINED_FOR_INT8,))
        if not cache.dry:
            remove(state)
        cache.note(f"best on validation: {result.best_validation_top1:.2%}, epoch {result.best_epoch}")

    def choose(self) -> PrecisionChoice:
        """Measure the pruned network in each of the target's precisions, and choose the fastest accurate enough."""
        work, cache = self.stages.work, self.stages.cache
        settings, most = work.settings, self._options.max_drop
        assert most is not None
        inputs = {
            "finetune": self._made_from,
            "precision_options": self._plain(),
            "bound": settings.max_accuracy_drop,
            "target": settings.target.model_dump(),
            "device_options": to_plain(settings.device_options),
            "host": settings.host.name if settings.host else "",
            "data": work.split("train").sha256,
        }

        def make() -> PrecisionChoice:
            allowed = self._allowed(most)
            trials = tuple(self._trial(precision, allowed) for precision in settings.target.precisions)
            holding = [trial for trial in trials if trial.validation_drop <= allowed]
            fastest, nearest = (lambda trial: trial.median_ms), (lambda trial: trial.validation_drop)
            best = min(holding, key=fastest) if holding else min(trials, key=nearest)
            return PrecisionChoice(allowed, trials, best.precision)

        choice = cache.stage("09-precision", PrecisionChoice, inputs, make)
        cache.note(f"{choice.chosen} is the fastest that loses at most {100 * choice.max_drop:.2f} points")
        return choice

    def export(self) -> ExportPair:
        """Export both networks in the precision."""
        work, cache = self.stages.work, self.stages.cache
        target = work.settings.target
        inputs = {
            "finetune": self._made_from,
            "qat": self._options.qat_epochs,
            "plan": record_sha256(self.pruning.plan),
            "opset": target.opset,
            "batch": [target.batch, work.settings.batch],
            "precision_options": self._plain(),
            "bound": work.settings.max_accuracy_drop,
            "data": work.split("test").sha256,
        }

        def make() -> ExportPair:
            most = self._options.max_drop
            allowed = None if most is None or self._options.precision == "fp32" else self._allowed(most)
            pruned = self._exported(self.pruned, cache.path / "pruned.onnx", replace(self._options, max_drop=allowed))
            return ExportPair(self._baseline(most), pruned)

        return cache.stage("09-export", ExportPair, inputs, make, ("baseline.onnx", "pruned.onnx"))

    def _baseline(self, most: float | None) -> OnnxModel:
        """Export the unpruned network in the precision; for float32, copy the first export."""
        work, out = self.stages.work, self.stages.cache.path / "baseline.onnx"
        if self._options.precision != "fp32":
            return self._exported(work.model, out, replace(self._options, max_drop=most))
        with replacing(out) as file:
            file.write((out.parent / self.unpruned.path).read_bytes())
        return replace(self.unpruned, path=out.name)

    @property
    def _options(self) -> PrecisionOptions:
        return self.stages.work.settings.precision_options

    @property
    def _made_from(self) -> str:
        return record_sha256(self.pruning.training)

    def _plain(self) -> dict[str, object]:
        """Write the precision options as plain values, with the hash of the calibration set instead of its path."""
        plain = to_plain(self._options)
        folder = self._options.calibration
        stored = None if folder is None else folder / lowering.CALIBRATION_FILE
        file = stored if stored is not None and stored.is_file() else folder
        return {**plain, "calibration": file_sha256(file) if file is not None and file.is_file() else str(file)}

    def _allowed(self, most: float) -> float:
        """Top-1 that the precision may lose, 0..1: with a bound on the whole, what pruning left of it."""
        work = self.stages.work
        if work.settings.max_accuracy_drop is None:
            return most
        validation, progress = work.split("validation"), self.stages.cache.progress
        before, after = (
            evaluate.top1(model, validation, progress, work.settings.compute) for model in (work.model, self.pruned)
        )
        return max(0.0, most - (before - after))

    def _exported(self, model: Checkpoint, out: Path, options: PrecisionOptions) -> OnnxModel:
        work = self.stages.work
        target, batch = work.settings.target, work.settings.batch
        return measuring.export_checked(model, work.parts(), target, out, options, batch, self.stages.cache.progress)

    def _trial(self, precision: Precision, allowed: float) -> PrecisionTrial:
        """Measure the pruned network alone in one precision."""
        work, progress = self.stages.work, self.stages.cache.progress
        settings, folder = work.settings, self.stages.cache.path / CANDIDATES / precision
        file = folder / "pruned.onnx"
        options = replace(self._options.of(precision), max_drop=allowed)
        model = self._exported(self.pruned, file, options)
        if settings.host is not None:
            bench = bench_on_device(
                settings.host, {"baseline": file}, settings.target, precision, settings.device_options, folder, progress
            ).bench
        else:
            target, iq = settings.target, work.split("test").iq
            how = bench_settings(target, precision, BenchChoices(settings.batch))
            bench = bench_here(file, None, iq, target, how, folder, progress)
        trial = PrecisionTrial(precision, bench.baseline.median_ms, model.validation_drop or 0.0, model.size_bytes)
        progress.note(f"{precision}: {trial.median_ms:.4g} ms, loses {100 * trial.validation_drop:.2f} points")
        return trial
