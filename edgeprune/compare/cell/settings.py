"""What a grid says of a cell, in the terms of the stages. Pure."""

from typing import Any

from edgeprune.compare.grid.grid import Data, Method, Training
from edgeprune.compare.records import Cell, CellJob
from edgeprune.files.store import to_plain
from edgeprune.tasks.data.reading import ReadOverrides
from edgeprune.tasks.plan import PlanSettings
from edgeprune.train.finetune import Recipe

_OF_A_PLAN = {"criterion", "metric", "segments", "profile", "bridge"}


def plan_settings(cell: Cell) -> PlanSettings:
    """How a cell's layers are chosen; what its method does not say is as `edgeprune plan` has it."""
    assert cell.method is not None
    assert cell.ratio is not None
    said = cell.method.model_dump(include=_OF_A_PLAN, exclude_none=True)
    return PlanSettings(keep_ratio=round(1 - cell.ratio, 9), seed=cell.seed, **said)


def in_full(method: Method) -> dict[str, Any]:
    """A method as plain values, with all that it leaves to the defaults of a plan."""
    said = method.model_dump(mode="json", exclude_none=True)
    if method.kind != "layers":
        return said
    return {key: value for key, value in to_plain(PlanSettings()).items() if key in _OF_A_PLAN} | said


def asked_of(data: Data) -> ReadOverrides:
    """How a grid's frames are read and split otherwise than when a model was trained."""
    said = data.model_dump(include={"length", "hop", "sample_rate_hz", "skip_bad_files"}, exclude_defaults=True)
    return ReadOverrides(data.split, said, data.stream)


def read_otherwise(job: CellJob) -> list[Any]:
    """What a grid asks for that makes other frames or another split, as plain values; nothing where it asks nothing."""
    asked = job.asked
    otherwise: list[Any] = [asked.split, dict(asked.reading)] if asked.split or asked.reading else []
    return otherwise if job.test_frames is None else [*otherwise, {"test": job.test_frames}]


def taught_with(training: Training) -> Any:
    """How many frames train and choose, as a plain value."""
    few = training.validation_frames
    return training.frames if few is None else [training.frames, few]


def recipe_of(job: CellJob) -> Recipe:
    """How a cell is trained."""
    given, method, network = job.training, job.cell.method, job.cell.network
    mix = given.mix if method is None or method.mix is None else method.mix
    peak = network.learning_rate if network is not None and network.learning_rate is not None else given.learning_rate
    return Recipe(given.epochs, given.batch_size, peak, given.weight_decay, mix=mix, seed=job.cell.seed)


def distills(job: CellJob) -> bool:
    """Whether a cell learns from the unpruned model; a network trained from scratch has none."""
    method = job.cell.method
    if method is None or job.cell.model is None:
        return False
    return job.training.distill if method.distill is None else method.distill


def chooses_on_test(cell: Cell) -> bool:
    """Whether the epoch that is kept is the best on the test split, as in the released code."""
    return cell.method is not None and "choice" in cell.method.released


def softens(cell: Cell) -> bool:
    """Whether the channels are zeroed in training and dropped after it (soft filter pruning)."""
    return cell.method is not None and cell.method.kind == "channels" and cell.method.criterion == "sfp"


def soft_epochs(recipe: Recipe) -> int:
    """How many of its epochs soft filter pruning trains before it drops channels."""
    return recipe.epochs // 2
