"""The whole job, from a trained model to a report."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import edgeprune
from edgeprune import registry
from edgeprune.errors import ConfigError
from edgeprune.files.run_folder import refuse_foreign
from edgeprune.files.store import RunFolder, file_sha256, now, record_sha256, to_plain
from edgeprune.files.whole import append_text
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.pipeline.device_stages import STAGE
from edgeprune.pipeline.first_stages import BASELINE, FirstStages, identity_of
from edgeprune.pipeline.folder import TRIALS, computed_on, open_folder
from edgeprune.pipeline.measure_stages import Measurements, MeasureStages
from edgeprune.pipeline.prune_stages import PrunedResult, PruneStages, UnitAnalysis, Work
from edgeprune.pipeline.settings import TITLES, Settings
from edgeprune.protocols import Progress
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.constraints import Trials
from edgeprune.records.frames import DataRef, Frames
from edgeprune.records.names import Split
from edgeprune.records.pruning import LayerChain, Scores, Similarity
from edgeprune.records.results import Trial
from edgeprune.report import facts
from edgeprune.report.document import Origin, RunRecords, build, with_outcome
from edgeprune.report.folder import write
from edgeprune.tasks import evaluate, plan
from edgeprune.tasks.data import frames as sources
from edgeprune.tasks.data.reading import data_ref, handling_of
from edgeprune.tasks.device.run import check_device
from edgeprune.tasks.identify import Baseline, is_settled, require_answers
from edgeprune.tasks.stages import DryRunEnd, StageCache
from edgeprune.text.printable import line


def run_in(
    folder: Path, model: Checkpoint, settings: Settings, fresh: bool, progress: Progress, said: Callable[[], str]
) -> dict[str, Any]:
    """Run every unfinished stage of the job in its run folder; returns the content of report.json.

    Messages are kept in the folder's log even if a stage fails. If the job is refused, nothing is written.

    Args:
        folder: The run folder; created if needed.
        model: The unpruned network.
        settings: Settings of the job.
        fresh: Start over instead of reusing finished stages.
        progress: Reporter of every stage.
        said: Returns all messages so far, for the log.

    Raises:
        ConfigError: The settings cannot be met, or the folder holds something else.
        DataError: The frames cannot be read or do not fit the model.
        DeviceError: The device cannot be reached, or does not fit the target.
    """
    refuse_foreign(folder)
    job = Job(model, settings, RunFolder(folder), progress)
    job.prepare()
    with open_folder(folder, fresh):
        try:
            return job.run()
        finally:
            append_text(folder / "log.txt", f"{line(f'{now()} {settings.command}')}\n{said()}")


@dataclass
class Job:
    """One run of the job in its folder."""

    model: Checkpoint
    settings: Settings
    folder: RunFolder
    progress: Progress
    cache: StageCache = field(init=False)
    _first: FirstStages = field(init=False)
    _measured: Baseline | None = field(default=None, init=False)
    _scored: Scores | None = field(default=None, init=False)
    _continued: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.cache = self._cache_of(self.folder)
        self._first = FirstStages(self.model, self.settings, lambda: self.parts, self.progress)

    def prepare(self) -> None:
        """Check settings, data and device before anything is written.

        Raises:
            ConfigError: The settings cannot be met.
            DataError: The frames cannot be read or do not fit the model.
            DeviceError: The device cannot be reached, or does not fit the target.
            ModelError: The accuracy of the unpruned network is near chance.
        """
        self.settings.check()
        sources.tell_frames(self.parts, self.progress)
        self._check_device()
        if is_settled(self.model):
            plan.kept_units(self._found_chain, self.settings.planning)
        found = self.cache.found(BASELINE, Baseline, self._first.inputs)
        if found is None:
            self.progress.stage(TITLES[BASELINE])
            self.model, self._measured = self._first.measure()
        else:
            self.model = self._first.known(found)
        plan.kept_units(self._found_chain, self.settings.planning)

    def run(self) -> dict[str, Any]:
        """Run every unfinished stage; returns the content of report.json.

        Raises:
            ConfigError: The settings cannot be met; the message names the nearest result.
        """
        self.settings.check()
        self._note_compute()
        self._baseline()
        unpruned = self._first.export(self.model, self.cache)
        chain = self._chain()
        plan.kept_units(chain, self.settings.planning)
        similarity = self._similarity(chain)
        analysis = UnitAnalysis(chain, similarity, lambda: self._scores(chain))
        planned, trials = self.settings.planning, None
        if self.settings.fewest:
            trials = self._trials(analysis)
            planned = replace(planned, keep=trials.keep)
            self.cache.source = self._trial_folder(trials.keep)
        stages = PruneStages(self._work, self.cache, planned)
        pruning = stages.run(analysis)
        measured = MeasureStages(stages, pruning, unpruned, trials.trials if trials else ()).run()
        self.cache.begin("12-report", reused=False)
        document = build(self._evidence(analysis, pruning, measured), self._origin(measured))
        if measured.outcome is not None:
            document = with_outcome(document, measured.outcome)
        write(self.path, document)
        return document

    def _baseline(self) -> None:
        """Measure the unpruned network, unless that is done, and note its accuracy."""

        def make() -> Baseline:
            if self._measured is None:
                self.model, self._measured = self._first.measure()
            return self._measured

        baseline = self.cache.stage(BASELINE, Baseline, self._first.inputs, make)
        if self._measured is None:
            self.model = self._first.known(baseline)
        self.cache.note(f"top-1 {baseline.top1:.2%} of {baseline.frames} validation frames, unpruned")

    def _check_device(self) -> None:
        """Check before long work that the device fits the target, unless it has been measured on already."""
        host = self.settings.host
        if host is not None and not (self.path / f"{STAGE}.json").is_file():
            self.progress.stage(f"look at {host.name}")
            check_device(host, self.settings.target)
        built = self.path / "10-engine.json"
        if self.settings.builds_here and not built.is_file():
            registry.get("runtimes", self.settings.target.runtime).require(self.settings.target)

    def _note_compute(self) -> None:
        """Note on which devices a run was begun and continued; stages finished elsewhere are reused."""
        if self.cache.dry:
            return
        known = computed_on(self.path, self.settings.compute)
        if len(known) > 1:
            self._continued = f"the run was continued elsewhere: its networks ran on {', then on '.join(known)}"
            self.progress.note(self._continued)

    def plan_only(self) -> dict[str, Literal["reuse", "run"]]:
        """List which stages `run` would reuse and which it would run; writes nothing.

        Raises:
            ConfigError: The settings are not possible.
            DataError: The frames cannot be read or do not fit the model.
            ModelError: The outputs of the network depend on the number of frames at a time.
        """
        sources.tell_frames(self.parts, self.progress)
        require_answers(self.model)
        self.cache.dry = True
        with contextlib.suppress(DryRunEnd):
            self.run()
        for name, _ in self.settings.stages:
            self.cache.outcome.setdefault(name, "run")
        return self.cache.outcome

    def _cache_of(self, folder: RunFolder) -> StageCache:
        return StageCache(folder, {"model": identity_of(self.model)}, self.progress, TITLES.__getitem__)

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @cached_property
    def parts(self) -> dict[Split, Frames]:
        """The frames of each split."""
        handling = handling_of(self.model, self.settings.overrides)
        return sources.frames_for(self.model, self.settings.data, handling)

    @cached_property
    def _work(self) -> Work:
        return Work(self.model, self.settings, lambda: self.parts)

    @cached_property
    def _found_chain(self) -> LayerChain:
        found = self.cache.found("01-layers", LayerChain, {})
        return found or layers_of(self.model.model, self.model.input, self.model.sha256)

    def _chain(self) -> LayerChain:
        return self.cache.stage("01-layers", LayerChain, {}, lambda: self._found_chain)

    def _similarity(self, chain: LayerChain) -> Similarity:
        settings, data = self.settings.planning, self.parts["train"]
        inputs = {"layers": record_sha256(chain), "data": data.sha256, "metric": settings.metric}
        return self.cache.stage(
            "02-similarity",
            Similarity,
            inputs,
            lambda: plan.similarity(self.model, chain, data, settings, self.progress, self.settings.compute),
        )

    def _scores(self, chain: LayerChain) -> Scores:
        if self._scored is None:
            settings = self.settings.planning
            inputs = {
                "layers": record_sha256(chain),
                "criterion": settings.criterion,
                "data": self.parts["train"].sha256,
                "seed": settings.seed,
            }

            def make() -> Scores:
                subject = plan.subject(self.model, chain, self.parts, settings, self.progress)
                return plan.scores(subject, settings, self.settings.compute)

            self._scored = self.cache.stage("04-scores", Scores, inputs, make)
        return self._scored

    def _trials(self, analysis: UnitAnalysis) -> Trials:
        """Find the fewest units with which the fine-tuned network stays within the bound on accuracy.

        Raises:
            ConfigError: No number of units does; the message names the nearest.
        """
        most, settings = self.settings.max_accuracy_drop, self.settings
        assert most is not None
        inputs = {
            "layers": record_sha256(analysis.chain),
            "similarity": record_sha256(analysis.similarity),
            "planning": to_plain(settings.planning),
            "width": None if settings.width is None else to_plain(settings.width),
            "data": self.parts["train"].sha256,
            "frames": settings.frames,
            "recipe": to_plain(settings.recipe),
            "distill": settings.distill,
            "bound": most,
        }
        trials = self.cache.stage("02-trials", Trials, inputs, lambda: self._tried(analysis, most))
        self.cache.note(f"{trials.keep} units are the fewest that lose at most {100 * most:g} points on validation")
        return trials

    def _tried(self, analysis: UnitAnalysis, most: float) -> Trials:
        validation = self.parts["validation"]
        baseline = evaluate.top1(self.model, validation, self.progress, self.settings.compute)
        tried: dict[int, Trial] = {}

        def holds(keep: int) -> bool:
            cache = self._cache_of(self._trial_folder(keep))
            stages = PruneStages(self._work, cache, replace(self.settings.planning, keep=keep))
            stages.run(analysis)
            top1 = evaluate.top1(stages.tuned(), validation, self.progress, self.settings.compute)
            tried[keep] = Trial(keep, top1, baseline - top1)
            self.progress.note(f"{keep} units lose {100 * tried[keep].drop:.2f} points on validation")
            return tried[keep].drop <= most

        units = len(analysis.chain.units)
        keep = evaluate.fewest(units - len(analysis.chain.droppable), units - 1, holds)
        if keep is None:
            nearest = min(tried.values(), key=lambda trial: trial.drop)
            raise ConfigError(
                f"no pruned network holds `max_accuracy_drop={most:g}`: the nearest keeps {nearest.units} of {units} "
                f"units and loses {nearest.drop:.4f} of top-1 on the validation split",
                "Allow a larger drop, or fine-tune longer with `epochs`",
            )
        return Trials(baseline, tuple(tried.values()), keep)

    def _trial_folder(self, keep: int) -> RunFolder:
        return RunFolder(self.path / TRIALS / f"keep-{keep:02}")

    def _evidence(self, analysis: UnitAnalysis, pruning: PrunedResult, measured: Measurements) -> RunRecords:
        return RunRecords(
            before=analysis.chain,
            after=pruning.after,
            similarity=analysis.similarity,
            segmentation=pruning.segmentation,
            plan=pruning.plan,
            baseline_onnx=measured.onnx.baseline,
            pruned_onnx=measured.onnx.pruned,
            training=pruning.training,
            accuracy=measured.accuracy,
            bench=measured.bench,
            latency_plan=pruning.latency,
            bound=measured.bound,
            narrowing=pruning.narrowing,
            precision=measured.choice,
        )

    def _origin(self, measured: Measurements) -> Origin:
        bundle, engines = measured.bundle, measured.engines
        return Origin(
            model=self.model.name,
            target=self.settings.target.name,
            seed=self.settings.recipe.seed,
            classes=self.model.classes,
            baseline_sha256=self.model.sha256,
            pruned_sha256=file_sha256(self.path / measured.checkpoint),
            pruned_path=measured.checkpoint,
            created=now(),
            edgeprune_version=edgeprune.__version__,
            commands=(self.settings.command,),
            packages=facts.packages(),
            git_commit=facts.git_commit(Path.cwd()),
            data=self._data_ref(),
            bundle=None if bundle is None else (bundle.path, bundle.sha256),
            engines=None if engines is None else (engines.baseline, engines.pruned),
            warnings=tuple(filter(None, (self._continued, measured.unmeasured))),
            compute=self.settings.compute.facts,
            input=self.model.input,
        )

    def _data_ref(self) -> DataRef:
        test = self.parts["test"]
        return data_ref(test.source, test, handling_of(self.model, self.settings.overrides))
