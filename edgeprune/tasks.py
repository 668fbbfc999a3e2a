"""What each command does, as one function: read, call a stage, write. The whole job is in `pipeline.py`."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from edgeprune import checkpoint as checkpoints
from edgeprune import datasets
from edgeprune.checkpoint import Checkpoint
from edgeprune.errors import ConfigError, DataError
from edgeprune.frames import fit_to, split_frames, take
from edgeprune.normalisation import normalise
from edgeprune.protocols import Progress
from edgeprune.records import Arch, DataRef, Frames, InputSpec, Split, TrainingResult
from edgeprune.registry import family_of
from edgeprune.resources import shipped
from edgeprune.store import file_sha256, to_plain
from edgeprune.train.finetune import Recipe, TrainingData, train

SPLIT_SEED = 2016


def find_data(model: Checkpoint, given: Path | None) -> Path:
    """The file of frames to use: the one given, the one the model was trained on, or the shipped set that matches.

    Raises:
        ConfigError: None of them exists.
    """
    if given is not None:
        return given
    if model.data is not None:
        named = Path(model.data.source)
        if named.is_file() and file_sha256(named) == model.data.sha256:
            return named
    for manifest in sorted(shipped("calib_data").glob("*/manifest.json")):
        described = json.loads(manifest.read_text(encoding="utf-8"))
        if described["classes"] == list(model.classes) and described["length"] == model.input.length:
            return manifest.parent / described["file"]
    raise ConfigError("no data were given, and no shipped set has this model's classes and length", "Use --data PATH")


def frames_for(model: Checkpoint, path: Path) -> dict[Split, Frames]:
    """The frames of a file, fitted to a model and split as when it was trained.

    Raises:
        DataError: The frames do not fit the model, or a split is empty.
    """
    frames = fit_to(datasets.read(path), model.classes, model.input)
    return splits_of(frames, model.data.split_seed if model.data else SPLIT_SEED)


def splits_of(frames: Frames, seed: int) -> dict[Split, Frames]:
    """The frames of each split.

    Raises:
        DataError: A split is empty.
    """
    parts = {name: take(frames, indices) for name, indices in split_frames(frames, seed).items()}
    empty = [name for name, part in parts.items() if not len(part)]
    if empty:
        raise DataError(f"{frames.source} holds no frames for {' and '.join(empty)}")
    return parts


def training_data(parts: dict[Split, Frames], shape: InputSpec) -> TrainingData:
    """The train and validation frames as normalised tensors."""
    train_iq, validation_iq = (
        normalise(torch.from_numpy(parts[name].iq), shape.normalisation) for name in ("train", "validation")
    )
    labels = [torch.from_numpy(parts[name].labels) for name in ("train", "validation")]
    return TrainingData(train_iq, labels[0], validation_iq, labels[1])


def train_new(
    name: str, data: Path, out: Path, recipe: Recipe, split_seed: int, progress: Progress
) -> tuple[Checkpoint, TrainingResult]:
    """Train a registered network from scratch and write it.

    Raises:
        ConfigError: No such network or file, or `out` cannot be written.
        DataError: The frames cannot be used.
    """
    family_of(name)
    writable(out)
    frames = datasets.read(data)
    shape = InputSpec(channels=frames.iq.shape[1], length=frames.iq.shape[2])
    parts = splits_of(frames, split_seed)
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
    return _trained(fresh, parts, out, recipe, None, f"{name} {frames.sha256} {split_seed}", progress)


def finetune_model(
    model: Checkpoint, data: Path, out: Path, recipe: Recipe, teacher: Checkpoint | None, progress: Progress
) -> tuple[Checkpoint, TrainingResult]:
    """Train a model on, distilling from a teacher if there is one, and write it.

    Raises:
        ConfigError: `out` cannot be written, or the teacher does not answer the same question.
        DataError: The frames cannot be used.
    """
    if teacher is not None and (teacher.classes, teacher.input) != (model.classes, model.input):
        raise ConfigError(f"the teacher {teacher.name} has other classes or another input than {model.name}")
    writable(out)
    parts = frames_for(model, data)
    progress.stage(f"fine-tune {model.name} on {len(parts['train'])} frames of {parts['train'].source}")
    key = f"{model.sha256} {parts['train'].sha256} {teacher.sha256 if teacher else None}"
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
    result = train(
        model.model,
        training_data(parts, model.input),
        recipe,
        progress,
        teacher=teacher.model if teacher else None,
        state_path=state,
        state_key=f"{key} {recipe}",
    )
    metrics = {"training": to_plain(result), "recipe": to_plain(recipe)}
    saved = checkpoints.save(out, replace(model, metrics=metrics))
    state.unlink(missing_ok=True)
    return saved, result


def writable(path: Path) -> None:
    """Find out before long work that its result can be written.

    Raises:
        ConfigError: It cannot.
    """
    from edgeprune.store import replacing

    probe = path.with_name(f".{path.name}.probe")
    with replacing(probe):
        pass
    probe.unlink()
