"""Planning: similarity, segments and scores of a model's layers, and the plan made from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import torch

from edgeprune import registry
from edgeprune.errors import ConfigError
from edgeprune.files.store import from_plain, read_json, to_plain, write_json
from edgeprune.files.whole import writable
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.network.compute import CPU, Compute
from edgeprune.network.normalisation import normalise
from edgeprune.network.unfold import unfolded
from edgeprune.protocols import Labelled, Progress, Search, Subject
from edgeprune.prune import segmentation as segments
from edgeprune.prune import surgery
from edgeprune.prune.bridge import bridge
from edgeprune.prune.planning import allotment, plan, units_to_keep
from edgeprune.prune.similarity import similarity_of
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.constraints import LatencyPlan
from edgeprune.records.frames import Frames
from edgeprune.records.names import CRITERION, Bridge, Split
from edgeprune.records.pruning import LayerChain, PrunePlan, Scores, Segmentation, Similarity
from edgeprune.tasks.data.frames import batches, frames_for, in_memory, spread, tell_frames
from edgeprune.tasks.data.reading import SPLIT_SEED
from edgeprune.tasks.identify import looked_at

PLAN_SCHEMA = "edgeprune-plan/1"
SIMILARITY_FRAMES = 640
SIMILARITY_BATCH = 64
BATCH_NORM_FRAMES = 4096
BATCH_NORM_BATCH = 256
STORED_FRAMES = 1 << 14  # most frames from a file for a criterion; none uses more than a few thousand
MOST_SEGMENTS = 7
"""Number of segments for 'auto', chosen on validation against 1 and 3: see docs/method.md."""
KEEP_RATIO = 0.33

Record = TypeVar("Record")


@dataclass(frozen=True)
class PlanSettings:
    """Settings for choosing the units to keep.

    Attributes:
        keep: Number of units to keep in total, or None to use the ratio.
        keep_ratio: Share of the droppable units to keep, or None for `KEEP_RATIO`.
        segments: Number of segments, or 'auto' for `MOST_SEGMENTS` or the number of kept units, if that is smaller.
        metric: Similarity metric of the layers.
        criterion: Criterion that scores the layers.
        profile: Profile to segment: 'rows' of the similarity matrix or its 'column-sums'.
        bridge: Start of the layers rebuilt for another width (`prune.bridge`).
        seed: Random seed of the criterion.
    """

    keep: int | None = None
    keep_ratio: float | None = None
    segments: int | Literal["auto"] = "auto"
    metric: str = "cka-unbiased"
    criterion: str = CRITERION
    profile: Literal["rows", "column-sums"] = "rows"
    bridge: Bridge = "least-squares"
    seed: int = 0

    @property
    def says_how_many(self) -> bool:
        """Whether a number or share of units was given."""
        return self.keep is not None or self.keep_ratio is not None

    def check(self) -> None:
        """Check the names before any work.

        Raises:
            ConfigError: The metric or criterion is unknown.
        """
        registry.get("similarity", self.metric)
        registry.get("criteria", self.criterion)


def require_one(amounts: Mapping[str, float | None]) -> None:
    """Check that the number of units to keep is given only once.

    Args:
        amounts: Given values by the parameter's name; None for those not given.

    Raises:
        ConfigError: More than one is given.
    """
    given = [f"`{parameter}`" for parameter, value in amounts.items() if value is not None]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} were both given", "Give only one of them")


def kept_units(chain: LayerChain, settings: PlanSettings) -> int:
    """Compute the number of droppable units to keep."""
    ratio = KEEP_RATIO if settings.keep_ratio is None else settings.keep_ratio
    return units_to_keep(chain, settings.keep, ratio)


def similarity(
    model: Checkpoint,
    chain: LayerChain,
    train: Frames,
    settings: PlanSettings,
    progress: Progress,
    compute: Compute = CPU,
) -> Similarity:
    """Compare a model's units on frames of its train split."""
    frames = spread(train, SIMILARITY_FRAMES, SPLIT_SEED)
    metric = registry.get("similarity", settings.metric)
    parts = list(batches(frames, model.input, SIMILARITY_BATCH))
    network = unfolded(model.model)
    with compute.lent(network):
        return similarity_of(network, chain, parts, metric, settings.metric, train.sha256, progress)


def segmentation(similar: Similarity, chain: LayerChain, settings: PlanSettings) -> Segmentation:
    """Cut the chain; 'auto' makes `MOST_SEGMENTS`, or fewer if fewer units are kept, so that each segment keeps one."""
    limit = max(1, min(MOST_SEGMENTS, kept_units(chain, settings)))
    return segments.segment(similar, chain, settings.segments, settings.profile, limit)


def subject(
    model: Checkpoint, chain: LayerChain, parts: dict[Split, Frames], settings: PlanSettings, progress: Progress
) -> Subject:
    """Make the subject that a criterion scores."""
    train, validation = (
        Labelled(normalise(torch.from_numpy(part.iq), model.input.normalisation), torch.from_numpy(part.labels))
        for part in (in_memory(parts[name], STORED_FRAMES, SPLIT_SEED) for name in ("train", "validation"))
    )
    return Subject(unfolded(model.model), chain, model.input, train, validation, settings.seed, progress)


def scores(judged: Subject, settings: PlanSettings, compute: Compute = CPU) -> Scores:
    """Score a model's droppable units."""
    with compute.lent(judged.model):
        values = registry.get("criteria", settings.criterion).scores(judged)
    return Scores(judged.chain.model_sha256, settings.criterion, values)


def choose(
    judged: Subject, cut: Segmentation, scored: Scores, settings: PlanSettings, compute: Compute = CPU
) -> PrunePlan:
    """Make the plan from segments and scores, or from a criterion's own search for the best set."""
    criterion = registry.get("criteria", settings.criterion)
    keep = kept_units(judged.chain, settings)
    stay = None
    if isinstance(criterion, Search):
        members, counts = allotment(judged.chain, cut, keep)
        with compute.lent(judged.model):
            stay = criterion.choose(judged, members, counts)
    return plan(judged.chain, cut, scored, settings.metric, keep, stay)


@dataclass(frozen=True)
class Planned:
    """A plan with all its inputs."""

    chain: LayerChain
    similarity: Similarity
    segmentation: Segmentation
    scores: Scores
    plan: PrunePlan


class Remember(Protocol):
    """Cache of records that plans of the same model and frames share."""

    def __call__(self, name: str, kind: type[Record], make: Callable[[], Record], /) -> Record:
        """Return the record of that name, reused or made."""
        ...


def made_anew(_name: str, _kind: type[Record], make: Callable[[], Record]) -> Record:
    """Make the record, without a cache."""
    return make()


def decide(
    model: Checkpoint,
    parts: dict[Split, Frames],
    settings: PlanSettings,
    progress: Progress,
    judged: Remember = made_anew,
    compute: Compute = CPU,
) -> Planned:
    """Find, compare, segment and score the units of a model, and choose those to keep.

    Args:
        model: The network.
        parts: The frames of each split.
        settings: Settings for the choice.
        progress: Reporter of long work.
        judged: Cache of similarity and scores, which do not depend on the number of units to keep.
        compute: Device on which networks run.

    Raises:
        ConfigError: A name is unknown or a number is impossible.
        ModelError: The network has no chain of layers.
    """
    settings.check()
    progress.stage(f"compare the layers of {model.name}")
    chain = layers_of(model.model, model.input, model.sha256)
    kept_units(chain, settings)
    similar = judged(
        f"similarity-{settings.metric}",
        Similarity,
        lambda: similarity(model, chain, parts["train"], settings, progress, compute),
    )
    cut = segmentation(similar, chain, settings)
    progress.stage(f"score the units with {settings.criterion}")
    given = subject(model, chain, parts, settings, progress)
    scored = judged(f"scores-{settings.criterion}-s{settings.seed}", Scores, lambda: scores(given, settings, compute))
    return Planned(chain, similar, cut, scored, choose(given, cut, scored, settings, compute))


def write_plan(
    model: Checkpoint, data: Path, settings: PlanSettings, out: Path, progress: Progress, compute: Compute = CPU
) -> tuple[LayerChain, PrunePlan]:
    """Plan, and write plan.json: the plan with all its inputs.

    Raises:
        ConfigError: A name is unknown, a number is impossible, or `out` cannot be written.
        DataError: The frames do not fit the model.
    """
    settings.check()
    writable(out)
    parts = frames_for(model, data)
    tell_frames(parts, progress)
    model = looked_at(model, parts["validation"], progress, compute)
    planned = decide(model, parts, settings, progress, compute=compute)
    save_plan(out, planned)
    return planned.chain, planned.plan


def save_plan(out: Path, planned: Planned, latency: LatencyPlan | None = None) -> None:
    """Write plan.json: the plan with all its inputs.

    Raises:
        ConfigError: `out` cannot be written.
    """
    evidence = {name: to_plain(getattr(planned, name)) for name in ("similarity", "segmentation", "scores")}
    evidence["layers"] = to_plain(planned.chain)
    if latency is not None:
        evidence["latency"] = to_plain(latency)
    write_json(out, {"schema": PLAN_SCHEMA, **to_plain(planned.plan), "evidence": evidence})


def read_plan(path: Path) -> PrunePlan:
    """Read plan.json.

    Raises:
        ConfigError: The file is not a plan of this version.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != PLAN_SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise ConfigError(f"{path} is not a plan: its schema is {found!r}, not {PLAN_SCHEMA!r}")
    return from_plain(PrunePlan, content, str(path))


def prune(
    model: Checkpoint,
    plan_path: Path,
    out: Path,
    data: Path | None,
    settings: PlanSettings,
    progress: Progress,
    compute: Compute = CPU,
) -> Checkpoint:
    """Apply a plan and write the pruned model.

    With data, layers rebuilt for another width are bridged and batch norm is re-estimated on the train split.

    Raises:
        ConfigError: The plan was made for another model, or `out` cannot be written.
    """
    writable(out)
    decided = read_plan(plan_path)
    if data is None:
        return checkpoints.save(out, surgery.apply(model, decided))
    parts = frames_for(model, data)
    tell_frames(parts, progress)
    model = looked_at(model, parts["validation"], progress, compute)
    return checkpoints.save(out, reassemble(model, decided, parts, settings, compute))


def calibration(model: Checkpoint, parts: dict[Split, Frames]) -> list[torch.Tensor]:
    """Make batches of normalized frames of the train split, for bridges and batch norm."""
    frames = spread(parts["train"], BATCH_NORM_FRAMES, SPLIT_SEED)
    return list(batches(frames, model.input, BATCH_NORM_BATCH))


def reassemble(
    model: Checkpoint,
    decided: PrunePlan,
    parts: dict[Split, Frames],
    settings: PlanSettings,
    compute: Compute = CPU,
) -> Checkpoint:
    """Drop a plan's units, bridge the layers rebuilt for another width, and re-estimate batch norm.

    Raises:
        ConfigError: The plan was made for another model.
        ModelError: The network cannot run without those units together.
    """
    pruned = surgery.apply(model, decided)
    frames = calibration(model, parts)
    unpruned = unfolded(model.model)
    with compute.lent(unpruned, pruned.model):
        bridge(unpruned, pruned.model, frames, settings.bridge, settings.seed)
    return pruned
