"""The whole job: from a trained model to a report. The only module that knows the order of the stages.

Each stage makes one record from earlier ones and leaves it in the run folder under the hash of all it was made from;
run again, a stage whose inputs are the same is reused.
"""

import contextlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import edgeprune
from edgeprune import checkpoint as checkpoints
from edgeprune import registry
from edgeprune.bench import protocol
from edgeprune.checkpoint import Checkpoint
from edgeprune.export import export
from edgeprune.protocols import Progress
from edgeprune.prune.layers import layers_of
from edgeprune.prune.surgery import apply
from edgeprune.records import (
    AccuracyComparison,
    BenchReport,
    DataRef,
    Frames,
    LayerChain,
    OnnxModel,
    PrunePlan,
    Scores,
    Segmentation,
    Similarity,
    Split,
    TrainingResult,
)
from edgeprune.report import facts
from edgeprune.report.document import Evidence, Origin, build
from edgeprune.report.folder import write
from edgeprune.store import RunFolder, canonical_sha256, file_sha256, now, record_sha256, to_plain
from edgeprune.targets import Precision, Target
from edgeprune.tasks import inputs as sources
from edgeprune.tasks import measuring, planning, training
from edgeprune.tasks.measuring import BenchChoices
from edgeprune.tasks.planning import PlanSettings
from edgeprune.train.accuracy import compare
from edgeprune.train.evaluate import predict
from edgeprune.train.finetune import Recipe

Record = TypeVar("Record")

STAGES = (
    ("01-layers", "find the layers"),
    ("02-similarity", "compare the layers"),
    ("03-segments", "cut the chain into segments"),
    ("04-scores", "score the layers"),
    ("05-plan", "choose the layers that stay"),
    ("06-prune", "drop the others"),
    ("07-finetune", "fine-tune"),
    ("08-accuracy", "measure accuracy on the test split"),
    ("09-export", "export to ONNX"),
    ("10-bench", "measure latency"),
    ("11-report", "write the report"),
)

TRAINING_STATE = "finetune.state"
UNFINISHED = ".*.*.????????"  # a hidden name with the random end that tempfile gives


@dataclass(frozen=True)
class Settings:
    """What the job is asked to do.

    Attributes:
        target: The kind of device.
        data: The file of frames.
        planning: How to choose units.
        recipe: How to fine-tune.
        distill: From the unpruned model.
        precision: One of the target's.
        batch: Frames in one inference.
        command: What was typed, for the report.
    """

    target: Target
    data: Path
    planning: PlanSettings
    recipe: Recipe
    distill: bool
    precision: Precision
    batch: int
    command: str


@dataclass(frozen=True)
class ExportPair:
    """Both networks as ONNX."""

    baseline: OnnxModel
    pruned: OnnxModel


class _DryRunEnd(Exception):  # noqa: N818 (not an error)
    """A dry run reached a stage that would be run."""


@dataclass
class Job:
    """One run of the job in its folder."""

    model: Checkpoint
    settings: Settings
    folder: RunFolder
    progress: Progress
    dry: bool = False
    outcome: dict[str, Literal["reuse", "run"]] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """Do every stage that is not done yet; returns the content of report.json."""
        chain = self._chain()
        planning.kept_units(chain, self.settings.planning)
        similarity = self._similarity(chain)
        segmentation = self._segmentation(chain, similarity)
        scores = self._scores(chain)
        plan = self._plan(chain, segmentation, scores)
        after = self._prune(plan)
        tuning = self._finetune(after)
        accuracy = self._accuracy(tuning)
        pair = self._export(tuning, plan)
        bench = self._bench(pair)
        self._begin("11-report", reused=False)
        evidence = Evidence(
            before=chain,
            after=after,
            similarity=similarity,
            segmentation=segmentation,
            plan=plan,
            baseline_onnx=pair.baseline,
            pruned_onnx=pair.pruned,
            training=tuning,
            accuracy=accuracy,
            bench=bench,
        )
        document = build(evidence, self._origin())
        write(self.path, document)
        return document

    def plan_only(self) -> dict[str, Literal["reuse", "run"]]:
        """What `run` would reuse and what it would do; writes nothing."""
        self.dry = True
        with contextlib.suppress(_DryRunEnd):
            self.run()
        for name, _ in STAGES:
            self.outcome.setdefault(name, "run")
        return self.outcome

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @cached_property
    def parts(self) -> dict[Split, Frames]:
        """The frames of each split."""
        return sources.frames_for(self.model, self.settings.data)

    def _begin(self, stage: str, reused: bool) -> None:
        self.outcome[stage] = "reuse" if reused else "run"
        if self.dry and not reused:
            raise _DryRunEnd
        if not self.dry:
            self.progress.stage(dict(STAGES)[stage], reused)

    def _stage(
        self,
        stage: str,
        kind: type[Record],
        inputs: Mapping[str, Any],
        make: Callable[[], Record],
        artifacts: tuple[str, ...] = (),
    ) -> Record:
        """The record of a stage, reused or made. `inputs` are plain values; records count by their hash."""
        hashes = {name: canonical_sha256(value) for name, value in inputs.items()}
        hashes["model"] = self.model.sha256
        record = self.folder.reusable(stage, kind, hashes)
        self._begin(stage, reused=record is not None)
        if record is None:
            record = make()
            self.folder.save(stage, record, hashes, artifacts)
        return record

    def _chain(self) -> LayerChain:
        def make() -> LayerChain:
            return layers_of(self.model.model, self.model.input, self.model.sha256)

        return self._stage("01-layers", LayerChain, {}, make)

    def _similarity(self, chain: LayerChain) -> Similarity:
        settings, data = self.settings.planning, self.parts["train"]
        inputs = {"layers": record_sha256(chain), "data": data.sha256, "metric": settings.metric}
        return self._stage(
            "02-similarity",
            Similarity,
            inputs,
            lambda: planning.similarity(self.model, chain, data, settings, self.progress),
        )

    def _segmentation(self, chain: LayerChain, similarity: Similarity) -> Segmentation:
        settings = self.settings.planning
        keep = planning.kept_units(chain, settings)
        inputs = {
            "similarity": record_sha256(similarity),
            "segments": settings.segments,
            "profile": settings.profile,
            "keep": keep,
        }
        return self._stage(
            "03-segments", Segmentation, inputs, lambda: planning.segmentation(similarity, chain, settings)
        )

    def _scores(self, chain: LayerChain) -> Scores:
        settings = self.settings.planning
        inputs = {"layers": record_sha256(chain), "criterion": settings.criterion}
        return self._stage("04-scores", Scores, inputs, lambda: planning.scores(self.model, chain, settings))

    def _plan(self, chain: LayerChain, segmentation: Segmentation, scores: Scores) -> PrunePlan:
        settings = self.settings.planning
        keep = planning.kept_units(chain, settings)
        inputs = {"segments": record_sha256(segmentation), "scores": record_sha256(scores), "keep": keep}
        plan = self._stage("05-plan", PrunePlan, inputs, lambda: planning.choose(chain, segmentation, scores, settings))
        if not self.dry:
            cuts = " | ".join(f"{first}-{last}" for first, last in plan.segments)
            self.progress.note(f"keeps {len(plan.kept)} of {len(chain.units)} units; segments {cuts}")
        return plan

    def _prune(self, plan: PrunePlan) -> LayerChain:
        """Writes reassembled.pt: the kept units with their trained weights, before fine-tuning."""
        inputs = {"plan": record_sha256(plan), "data": self.parts["train"].sha256}

        def make() -> LayerChain:
            pruned = apply(self.model, plan)
            planning.settle_batch_norm(pruned, self.parts["train"])
            saved = checkpoints.save(self.path / "reassembled.pt", pruned)
            return layers_of(saved.model, saved.input, saved.sha256)

        return self._stage("06-prune", LayerChain, inputs, make, ("reassembled.pt",))

    def _finetune(self, after: LayerChain) -> TrainingResult:
        inputs = {
            "reassembled": after.model_sha256,
            "data": self.parts["train"].sha256,
            "recipe": to_plain(self.settings.recipe),
            "distill": self.settings.distill,
        }
        state = self.path / TRAINING_STATE

        def make() -> TrainingResult:
            pruned = checkpoints.load(self.path / "reassembled.pt")
            teacher = self.model if self.settings.distill else None
            key = f"{pruned.sha256} {self.parts['train'].sha256} {teacher is not None}"
            fitted, result = training.fit(pruned, self.parts, self.settings.recipe, teacher, state, key, self.progress)
            checkpoints.save(self.path / "pruned.pt", fitted)
            return result

        result = self._stage("07-finetune", TrainingResult, inputs, make, ("pruned.pt",))
        if not self.dry:
            state.unlink(missing_ok=True)
            self.progress.note(f"best on validation: {result.best_validation_top1:.2%}, epoch {result.best_epoch}")
        return result

    def _accuracy(self, tuning: TrainingResult) -> AccuracyComparison:
        inputs = {"finetune": record_sha256(tuning), "data": self.parts["test"].sha256}

        def make() -> AccuracyComparison:
            test = self.parts["test"]
            pruned = checkpoints.load(self.path / "pruned.pt")
            before = predict(self.model.model, test.iq, self.model.input, self.progress, "unpruned")
            after = predict(pruned.model, test.iq, pruned.input, self.progress, "pruned")
            return compare(before, after, test, "test")

        comparison = self._stage("08-accuracy", AccuracyComparison, inputs, make)
        if not self.dry:
            self.progress.note(f"top-1 {comparison.baseline.top1:.2%} before, {comparison.pruned.top1:.2%} after")
        return comparison

    def _export(self, tuning: TrainingResult, plan: PrunePlan) -> ExportPair:
        target = self.settings.target
        inputs = {
            "finetune": record_sha256(tuning),
            "plan": record_sha256(plan),
            "opset": target.opset,
            "batch": [target.batch, self.settings.batch],
            "precision": self.settings.precision,
            "data": self.parts["test"].sha256,
        }

        def make() -> ExportPair:
            frames = sources.spread(self.parts["validation"], measuring.CHECKED_FRAMES, sources.SPLIT_SEED).iq
            pruned = checkpoints.load(self.path / "pruned.pt")
            pair = [
                export(
                    checkpoint.model,
                    checkpoint.input,
                    frames,
                    target,
                    self.path / f"{name}.onnx",
                    measuring.onnx_metadata(checkpoint),
                    self.progress,
                    batch_size=self.settings.batch,
                )
                for name, checkpoint in (("baseline", self.model), ("pruned", pruned))
            ]
            return ExportPair(*pair)

        return self._stage("09-export", ExportPair, inputs, make, ("baseline.onnx", "pruned.onnx"))

    def _bench(self, pair: ExportPair) -> BenchReport:
        target = self.settings.target
        inputs = {
            "export": record_sha256(pair),
            "bench": target.bench.model_dump(),
            "threads": target.threads,
            "batch": self.settings.batch,
            "runtime": target.runtime,
        }
        return self._stage(
            "10-bench",
            BenchReport,
            inputs,
            lambda: protocol.measure(
                self.path / "baseline.onnx",
                self.path / "pruned.onnx",
                self.parts["test"].iq,
                registry.get("runtimes", target.runtime),
                measuring.bench_settings(target, self.settings.precision, BenchChoices(self.settings.batch)),
                self.path,
                self.progress,
            ),
            ("samples-baseline.npz", "samples-pruned.npz"),
        )

    def _origin(self) -> Origin:
        return Origin(
            model=self.model.name,
            target=self.settings.target.name,
            seed=self.settings.recipe.seed,
            classes=self.model.classes,
            baseline_sha256=self.model.sha256,
            pruned_sha256=file_sha256(self.path / "pruned.pt"),
            pruned_path="pruned.pt",
            created=now(),
            edgeprune_version=edgeprune.__version__,
            commands=(self.settings.command,),
            packages=facts.packages(),
            git_commit=facts.git_commit(Path.cwd()),
            data=self._data_ref(),
        )

    def _data_ref(self) -> DataRef:
        test = self.parts["test"]
        return DataRef(test.source, test.sha256, sources.split_seed_of(self.model))


def open_folder(path: Path, fresh: bool) -> RunFolder:
    """The run folder, made if it is not there, without what a killed run left unfinished.

    A fresh one forgets its finished stages and its training, nothing else.

    Raises:
        ConfigError: It cannot be written.
    """
    sources.writable(path / "run")
    for leftover in path.glob(UNFINISHED):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
    if fresh:
        for record in (*(path / f"{stage}.json" for stage, _ in STAGES), path / TRAINING_STATE):
            record.unlink(missing_ok=True)
    return RunFolder(path)
