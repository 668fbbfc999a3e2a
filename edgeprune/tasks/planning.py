"""Planning: similarity, segments and scores of a model's layers, and the plan that follows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgeprune import checkpoint as checkpoints
from edgeprune import registry
from edgeprune.checkpoint import Checkpoint
from edgeprune.errors import ConfigError
from edgeprune.protocols import Progress
from edgeprune.prune import segmentation as segments
from edgeprune.prune import surgery
from edgeprune.prune.layers import layers_of
from edgeprune.prune.planning import plan, units_to_keep
from edgeprune.prune.similarity import similarity_of
from edgeprune.records import Frames, LayerChain, PrunePlan, Scores, Segmentation, Similarity
from edgeprune.store import from_plain, read_json, to_plain, write_json
from edgeprune.tasks.inputs import SPLIT_SEED, batches, frames_for, spread, writable

PLAN_SCHEMA = "edgeprune-plan/1"
SIMILARITY_FRAMES = 640
SIMILARITY_BATCH = 64
BATCH_NORM_FRAMES = 4096
BATCH_NORM_BATCH = 256
MOST_SEGMENTS = 7


@dataclass(frozen=True)
class PlanSettings:
    """How to choose the units that stay.

    Attributes:
        keep: Units to keep in all, or None to go by the ratio.
        keep_ratio: Share of the droppable units to keep.
        segments: How many, or 'auto' for the paper's rule.
        metric: Compares layers.
        criterion: Scores layers.
        profile: What is segmented: 'rows' of the similarity matrix or its 'column-sums'.
    """

    keep: int | None = None
    keep_ratio: float = 0.33
    segments: int | Literal["auto"] = "auto"
    metric: str = "cka-unbiased"
    criterion: str = "synflow"
    profile: Literal["rows", "column-sums"] = "rows"

    def check(self) -> None:
        """Find unknown names before any work.

        Raises:
            ConfigError: No such metric or criterion.
        """
        registry.get("similarity", self.metric)
        registry.get("criteria", self.criterion)


def kept_units(chain: LayerChain, settings: PlanSettings) -> int:
    """How many droppable units stay."""
    return units_to_keep(chain, settings.keep, settings.keep_ratio)


def similarity(
    model: Checkpoint, chain: LayerChain, train: Frames, settings: PlanSettings, progress: Progress
) -> Similarity:
    """Compare a model's units on frames of its train split."""
    frames = spread(train, SIMILARITY_FRAMES, SPLIT_SEED)
    metric = registry.get("similarity", settings.metric)
    parts = list(batches(frames, model.input, SIMILARITY_BATCH))
    return similarity_of(model.model, chain, parts, metric, settings.metric, train.sha256, progress)


def segmentation(similar: Similarity, chain: LayerChain, settings: PlanSettings) -> Segmentation:
    """Cut the chain; 'auto' makes no more segments than units are kept, so that each keeps one."""
    limit = max(1, min(MOST_SEGMENTS, kept_units(chain, settings)))
    return segments.segment(similar, chain, settings.segments, settings.profile, limit)


def scores(model: Checkpoint, chain: LayerChain, settings: PlanSettings) -> Scores:
    """Score a model's droppable units."""
    criterion = registry.get("criteria", settings.criterion)
    values = criterion.scores(model.model, chain, (model.input.channels, model.input.length))
    return Scores(chain.model_sha256, settings.criterion, values)


def choose(chain: LayerChain, cut: Segmentation, scored: Scores, settings: PlanSettings) -> PrunePlan:
    """The plan that follows from segments and scores."""
    return plan(chain, cut, scored, settings.metric, kept_units(chain, settings))


def write_plan(
    model: Checkpoint, data: Path, settings: PlanSettings, out: Path, progress: Progress
) -> tuple[LayerChain, PrunePlan]:
    """Plan, and write plan.json: the plan with all it was made from.

    Raises:
        ConfigError: A name is unknown, a number impossible, or `out` cannot be written.
        DataError: The frames do not fit the model.
    """
    settings.check()
    writable(out)
    parts = frames_for(model, data)
    progress.stage(f"find and compare the layers of {model.name}")
    chain = layers_of(model.model, model.input, model.sha256)
    kept_units(chain, settings)
    similar = similarity(model, chain, parts["train"], settings, progress)
    cut = segmentation(similar, chain, settings)
    progress.stage(f"score them by {settings.criterion}")
    scored = scores(model, chain, settings)
    decided = choose(chain, cut, scored, settings)
    evidence: dict[str, Any] = {
        "layers": to_plain(chain),
        "similarity": to_plain(similar),
        "segmentation": to_plain(cut),
        "scores": to_plain(scored),
    }
    write_json(out, {"schema": PLAN_SCHEMA, **to_plain(decided), "evidence": evidence})
    return chain, decided


def read_plan(path: Path) -> PrunePlan:
    """Read plan.json.

    Raises:
        ConfigError: Not a plan of this version.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != PLAN_SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise ConfigError(f"{path} is not a plan: its schema is {found!r}, not {PLAN_SCHEMA!r}")
    return from_plain(PrunePlan, content, str(path))


def prune(model: Checkpoint, plan_path: Path, out: Path, data: Path | None) -> Checkpoint:
    """Apply a plan and write the pruned model, batch norm re-estimated on the train split if data are given.

    Raises:
        ConfigError: The plan is of another model, or `out` cannot be written.
    """
    writable(out)
    pruned = surgery.apply(model, read_plan(plan_path))
    if data is not None:
        settle_batch_norm(pruned, frames_for(model, data)["train"])
    return checkpoints.save(out, pruned)


def settle_batch_norm(pruned: Checkpoint, train: Frames) -> None:
    """Re-estimate a pruned model's batch norm on frames of its train split."""
    calibration = spread(train, BATCH_NORM_FRAMES, SPLIT_SEED)
    surgery.reestimate_batch_norm(pruned.model, batches(calibration, pruned.input, BATCH_NORM_BATCH))
