"""From scores to a fine-tuned network: the stages of the job, and of every trial of a number of units."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeprune.files.store import record_sha256, to_plain
from edgeprune.files.whole import remove
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.pipeline.folder import LATENCY, TRAINING_STATE
from edgeprune.pipeline.settings import Settings
from edgeprune.protocols import Subject
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.constraints import LatencyPlan, Narrowing
from edgeprune.records.frames import Frames
from edgeprune.records.names import Split
from edgeprune.records.pruning import LayerChain, PrunePlan, Scores, Segmentation, Similarity
from edgeprune.records.results import TrainingResult
from edgeprune.tasks import plan as planning
from edgeprune.tasks import train as training
from edgeprune.tasks.data.frames import at_most
from edgeprune.tasks.latency.budget import choose_within, every_unit, plan_within
from edgeprune.tasks.plan import PlanSettings
from edgeprune.tasks.stages import StageCache
from edgeprune.tasks.width import narrow_model

REASSEMBLED, NARROWED, PRUNED = "reassembled.pt", "narrowed.pt", "pruned.pt"


@dataclass(frozen=True)
class Work:
    """The network, settings and frames that all stages share."""

    model: Checkpoint
    settings: Settings
    parts: Callable[[], dict[Split, Frames]]

    def split(self, name: Split) -> Frames:
        """Return the frames of one split."""
        return self.parts()[name]

    def training_parts(self) -> dict[Split, Frames]:
        """Return the frames of each split, with the train split cut down to the number in the settings."""
        return at_most(self.parts(), self.settings.frames)


@dataclass(frozen=True)
class UnitAnalysis:
    """Analysis of the units, made before selection; scores are computed on first use."""

    chain: LayerChain
    similarity: Similarity
    scores: Callable[[], Scores]


@dataclass(frozen=True)
class PrunedResult:
    """Results of the pruning stages.

    `after` is the chain of the fine-tuned network.
    """

    segmentation: Segmentation
    latency: LatencyPlan | None
    plan: PrunePlan
    after: LayerChain
    narrowing: Narrowing | None
    training: TrainingResult


@dataclass(frozen=True)
class PruneStages:
    """The stages from the analysis to a fine-tuned network, in one folder."""

    work: Work
    cache: StageCache
    planning: PlanSettings

    def run(self, analysis: UnitAnalysis) -> PrunedResult:
        """Run every unfinished stage."""
        chain, segmentation = analysis.chain, self._segmentation(analysis)
        scores = analysis.scores()
        latency = self._latency(chain, segmentation, scores)
        plan = self._plan(chain, segmentation, scores, latency)
        after = self._prune(plan)
        narrowing = self._narrow(after)
        after = after if narrowing is None else narrowing.chain
        start = REASSEMBLED if narrowing is None else NARROWED
        return PrunedResult(segmentation, latency, plan, after, narrowing, self._finetune(after, start))

    def tuned(self) -> Checkpoint:
        """Load the fine-tuned network."""
        return checkpoints.load(self.cache.path / PRUNED, self.work.model.trusted)

    def _segmentation(self, analysis: UnitAnalysis) -> Segmentation:
        settings = self.planning if self.work.settings.budget is None else every_unit(self.planning)
        inputs = {
            "similarity": record_sha256(analysis.similarity),
            "segments": settings.segments,
            "profile": settings.profile,
            "keep": planning.kept_units(analysis.chain, settings),
        }
        return self.cache.stage(
            "03-segments",
            Segmentation,
            inputs,
            lambda: planning.segmentation(analysis.similarity, analysis.chain, settings),
        )

    def _latency(self, chain: LayerChain, segmentation: Segmentation, scores: Scores) -> LatencyPlan | None:
        budget = self.work.settings.budget
        if budget is None:
            return None
        inputs = {
            "segments": record_sha256(segmentation),
            "scores": record_sha256(scores),
            "target": budget.target.model_dump(),
            "budget": [budget.latency_ms, budget.precision, budget.batch],
        }

        def make() -> LatencyPlan:
            return choose_within(
                self.work.model,
                chain,
                segmentation,
                scores,
                self.work.split("validation"),
                budget,
                self.cache.path / LATENCY,
                self.cache.progress,
            )

        return self.cache.stage("05-latency", LatencyPlan, inputs, make)

    def _subject(self, chain: LayerChain) -> Subject:
        work = self.work
        return planning.subject(work.model, chain, work.parts(), self.planning, self.cache.progress)

    def _plan(
        self, chain: LayerChain, segmentation: Segmentation, scores: Scores, latency: LatencyPlan | None
    ) -> PrunePlan:
        inputs = {
            "segments": record_sha256(segmentation),
            "scores": record_sha256(scores),
            "keep": planning.kept_units(chain, self.planning) if latency is None else latency.kept,
        }

        def make() -> PrunePlan:
            if latency is not None:
                return plan_within(chain, segmentation, scores, self.planning.metric, latency)
            return planning.choose(
                self._subject(chain), segmentation, scores, self.planning, self.work.settings.compute
            )

        plan = self.cache.stage("05-plan", PrunePlan, inputs, make)
        cuts = " | ".join(f"{first}-{last}" for first, last in plan.segments)
        self.cache.note(f"keeps {len(plan.kept)} of {len(chain.units)} units; segments {cuts}")
        return plan

    def _prune(self, plan: PrunePlan) -> LayerChain:
        """Write the kept units with their trained weights, before fine-tuning."""
        settings = self.planning
        inputs = {
            "plan": record_sha256(plan),
            "data": self.work.split("train").sha256,
            "bridge": settings.bridge,
            "seed": settings.seed,
        }

        def make() -> LayerChain:
            pruned = planning.reassemble(self.work.model, plan, self.work.parts(), settings, self.work.settings.compute)
            saved = checkpoints.save(self.cache.path / REASSEMBLED, pruned)
            return layers_of(saved.model, saved.input, saved.sha256)

        return self.cache.stage("06-prune", LayerChain, inputs, make, (REASSEMBLED,))

    def _narrow(self, after: LayerChain) -> Narrowing | None:
        width = self.work.settings.width
        if width is None:
            return None
        inputs = {"layers": record_sha256(after), "width": to_plain(width), "seed": self.planning.seed}

        def make() -> Narrowing:
            pruned = checkpoints.load(self.cache.path / REASSEMBLED, self.work.model.trusted)
            out = self.cache.path / NARROWED
            return narrow_model(
                pruned, after, width, self.work.parts(), self.planning.seed, out, self.work.settings.compute
            )

        narrowing = self.cache.stage("06-width", Narrowing, inputs, make, (NARROWED,))
        share = narrowing.chain.macs / narrowing.macs_before
        self.cache.note(f"{len(narrowing.sizes)} modules narrower; {share:.1%} of the MACs are left")
        return narrowing

    def _finetune(self, after: LayerChain, start: str) -> TrainingResult:
        settings, path = self.work.settings, self.cache.path
        inputs = {
            "reassembled": after.model_sha256,
            "data": self.work.split("train").sha256,
            "frames": settings.frames,
            "recipe": to_plain(settings.recipe),
            "distill": settings.distill,
        }
        state: Path = path / TRAINING_STATE

        def make() -> TrainingResult:
            pruned = checkpoints.load(path / start, self.work.model.trusted)
            teacher = self.work.model if settings.distill else None
            key = f"{pruned.sha256} {self.work.split('train').sha256} {teacher is not None}"
            parts = self.work.training_parts()
            fitted, result = training.fit(
                pruned, parts, settings.recipe, teacher, state, key, self.cache.progress, settings.compute
            )
            checkpoints.save(path / PRUNED, fitted)
            return result

        result = self.cache.stage("07-finetune", TrainingResult, inputs, make, (PRUNED,))
        if not self.cache.dry:
            remove(state)
        self.cache.note(f"best on validation: {result.best_validation_top1:.2%}, epoch {result.best_epoch}")
        return result
