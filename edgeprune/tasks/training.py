"""Training a network from scratch, and training one on."""

from dataclasses import replace
from pathlib import Path

import torch

from edgeprune import checkpoint as checkpoints
from edgeprune import datasets
from edgeprune.checkpoint import Checkpoint
from edgeprune.errors import ConfigError
from edgeprune.normalisation import normalise
from edgeprune.protocols import Progress
from edgeprune.records import Arch, DataRef, Frames, InputSpec, Split, TrainingResult
from edgeprune.registry import family_of
from edgeprune.store import to_plain
from edgeprune.tasks.inputs import at_most, frames_for, splits_of, writable
from edgeprune.train.finetune import Recipe, TrainingData, train


def train_new(
    name: str, data: Path, out: Path, recipe: Recipe, split_seed: int, most: int | None, progress: Progress
) -> tuple[Checkpoint, TrainingResult]:
    """Train a registered network from scratch, on at most `most` frames, and write it.

    Raises:
        ConfigError: No such network or file, or `out` cannot be written.
        DataError: The frames cannot be used.
    """
    family_of(name)
    writable(out)
    frames = datasets.read(data)
    shape = InputSpec(channels=frames.iq.shape[1], length=frames.iq.shape[2])
    parts = at_most(splits_of(frames, split_seed), most)
    progress.stage(f"train {name} on {len(parts['train'])} frames of {frames.source}")
    arguments = {"channels": shape.channels, "length": shape.length, "classes": len(frames.classes)}
    torch.manual_seed(recipe.seed)
    fresh = Checkpoint(
        model=checkpoints.build(Arch(name, arguments)),
        arch=Arch(name, arguments),
        classes=frames.classes,
        input=shape,
        data=DataRef(str(data), frames.sha256, split_seed),
        plan=None,
        metrics={},
    )
    return _trained(fresh, parts, out, recipe, None, f"{name} {frames.sha256} {split_seed} {most}", progress)


def finetune_model(
    model: Checkpoint,
    data: Path,
    out: Path,
    recipe: Recipe,
    teacher: Checkpoint | None,
    most: int | None,
    progress: Progress,
) -> tuple[Checkpoint, TrainingResult]:
    """Train a model on, on at most `most` frames, distilling from a teacher if there is one, and write it.

    Raises:
        ConfigError: `out` cannot be written, or the teacher does not answer the same question.
        DataError: The frames cannot be used.
    """
    if teacher is not None and (teacher.classes, teacher.input) != (model.classes, model.input):
        raise ConfigError(f"the teacher {teacher.name} has other classes or another input than {model.name}")
    writable(out)
    parts = at_most(frames_for(model, data), most)
    progress.stage(f"fine-tune {model.name} on {len(parts['train'])} frames of {parts['train'].source}")
    key = f"{model.sha256} {parts['train'].sha256} {teacher.sha256 if teacher else None} {most}"
    return _trained(model, parts, out, recipe, teacher, key, progress)


def _trained(
    model: Checkpoint,
    parts: dict[Split, Frames],
    out: Path,
    recipe: Recipe,
    teacher: Checkpoint | None,
    key: str,
    progress: Progress,
) -> tuple[Checkpoint, TrainingResult]:
    state = out.with_name(f"{out.name}.state")
    fitted, result = fit(model, parts, recipe, teacher, state, key, progress)
    saved = checkpoints.save(out, fitted)
    state.unlink(missing_ok=True)
    return saved, result


def fit(
    model: Checkpoint,
    parts: dict[Split, Frames],
    recipe: Recipe,
    teacher: Checkpoint | None,
    state: Path,
    key: str,
    progress: Progress,
) -> tuple[Checkpoint, TrainingResult]:
    """Train a model in memory; its metrics say how.

    Args:
        model: Trained in place.
        parts: The frames of each split.
        recipe: How.
        teacher: Distil from it, or None.
        state: Where the training is kept after each epoch, to be continued from.
        key: Names model and data; a state of another key or recipe is not continued.
        progress: Told of every epoch.
    """
    result = train(
        model.model,
        training_data(parts, model.input),
        recipe,
        progress,
        teacher=teacher.model if teacher else None,
        state_path=state,
        state_key=f"{key} {recipe}",
    )
    return replace(model, metrics={"training": to_plain(result), "recipe": to_plain(recipe)}), result


def training_data(parts: dict[Split, Frames], shape: InputSpec) -> TrainingData:
    """The train and validation frames as normalised tensors."""
    train_iq, validation_iq = (
        normalise(torch.from_numpy(parts[name].iq), shape.normalisation) for name in ("train", "validation")
    )
    labels = [torch.from_numpy(parts[name].labels) for name in ("train", "validation")]
    return TrainingData(train_iq, labels[0], validation_iq, labels[1])
