"""Settings of the stages of a cell, from the grid. Pure."""

from typing import Any

from edgeprune.compare.grid.grid import Data, Method, Training
from edgeprune.compare.records import Cell, CellJob
from edgeprune.files.store import to_plain
from edgeprune.tasks.data.reading import ReadOverrides
from edgeprune.tasks.plan import PlanSettings
from edgeprune.train.finetune import Recipe

_PLAN_KEYS = {"criterion", "metric", "segments", "profile", "bridge"}


def plan_settings(cell: Cell) -> PlanSettings:
    """Settings for choosing the layers of a cell; those that its method leaves out are the defaults of a plan."""
    assert cell.method is not None
    assert cell.ratio is not None
    said = cell.method.model_dump(include=_PLAN_KEYS, exclude_none=True)
    return PlanSettings(keep_ratio=round(1 - cell.ratio, 9), seed=cell.seed, **said)


def with_defaults(method: Method) -> dict[str, Any]:
    """Write a method as plain values, with the defaults of a plan filled in."""
    said = method.model_dump(mode="json", exclude_none=True)
    if method.kind != "layers":
        return said
    return {key: value for key, value in to_plain(PlanSettings()).items() if key in _PLAN_KEYS} | said


def overrides_of(data: Data) -> ReadOverrides:
    """Reading and splitting of a grid's frames where they differ from those of a model's training."""
    said = data.model_dump(include={"length", "hop", "sample_rate_hz", "skip_bad_files"}, exclude_defaults=True)
    return ReadOverrides(data.split, said, data.stream)


def changed_reading(job: CellJob) -> list[Any]:
    """List the settings of a grid that change the frames or the split, as plain values; empty if there are none."""
    overrides = job.overrides
    otherwise: list[Any] = [overrides.split, dict(overrides.reading)] if overrides.split or overrides.reading else []
    return otherwise if job.test_frames is None else [*otherwise, {"test": job.test_frames}]


def frame_limits(training: Training) -> Any:
    """Numbers of frames for training and validation, as a plain value."""
    few = training.validation_frames
    return training.frames if few is None else [training.frames, few]


def recipe_of(job: CellJob) -> Recipe:
    """Training recipe of a cell."""
    given, method, network = job.training, job.cell.method, job.cell.network
    mix = given.mix if method is None or method.mix is None else method.mix
    peak = network.learning_rate if network is not None and network.learning_rate is not None else given.learning_rate
    return Recipe(given.epochs, given.batch_size, peak, given.weight_decay, mix=mix, seed=job.cell.seed)


def distills(job: CellJob) -> bool:
    """Return whether a cell learns from the unpruned model; a network trained from scratch has none."""
    method = job.cell.method
    if method is None or job.cell.model is None:
        return False
    return job.training.distill if method.distill is None else method.distill


def selects_on_test(cell: Cell) -> bool:
    """Return whether the epoch to keep is chosen on the test split, as in the released code."""
    return cell.method is not None and "choice" in cell.method.released


def is_soft(cell: Cell) -> bool:
    """Return whether channels are zeroed in training and dropped after it (soft filter pruning)."""
    return cell.method is not None and cell.method.kind == "channels" and cell.method.criterion == "sfp"


def soft_epochs(recipe: Recipe) -> int:
    """Number of epochs that soft filter pruning trains before it drops channels."""
    return recipe.epochs // 2
