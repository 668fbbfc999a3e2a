"""Training from scratch, and fine-tuning."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from edgeprune import datasets
from edgeprune.errors import ConfigError
from edgeprune.files.store import to_plain
from edgeprune.files.whole import writable
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.network.compute import CPU, Compute
from edgeprune.network.normalisation import normalise
from edgeprune.network.running import seeded
from edgeprune.protocols import Progress
from edgeprune.records.frames import Frames
from edgeprune.records.names import Split
from edgeprune.records.pruning import Arch, InputSpec
from edgeprune.records.results import TrainingResult
from edgeprune.registry import family_of
from edgeprune.tasks.data.frames import at_most, frames_for, splits_of, stored, tell_frames, tell_skipped
from edgeprune.tasks.data.reading import ReadOptions, ReadOverrides, data_ref, handling_of
from edgeprune.tasks.identify import looked_at, settled
from edgeprune.train.feed import Feed, Stored, StreamedData, TrainingData
from edgeprune.train.finetune import Recipe, train


def train_new(
    name: str,
    data: Path,
    out: Path,
    recipe: Recipe,
    handling: ReadOptions,
    most: int | None,
    progress: Progress,
    compute: Compute = CPU,
) -> tuple[Checkpoint, TrainingResult]:
    """Train a registered network from scratch on at most `most` frames, and write it.

    Raises:
        ConfigError: The network or file does not exist, or `out` cannot be written.
        DataError: The frames cannot be used.
    """
    family_of(name)
    writable(out)
    frames = datasets.read_or_keep(data, handling.reading, handling.stays)
    tell_skipped(frames, progress)
    shape = InputSpec(channels=frames.iq.shape[1], length=frames.iq.shape[2])
    parts = at_most(splits_of(frames, handling.seed, handling.method), most)
    tell_frames(parts, progress)
    progress.stage(f"train {name} on {len(parts['train'])} frames of {frames.source}{_how(parts)}")
    arguments = {"channels": shape.channels, "length": shape.length, "classes": len(frames.classes)}
    with seeded(recipe.seed):
        network = checkpoints.build(Arch(name, arguments))
    fresh = Checkpoint(
        model=network,
        arch=Arch(name, arguments),
        classes=frames.classes,
        input=shape,
        data=data_ref(str(data), parts["train"], handling),
        plan=None,
        metrics={},
    )
    return _trained(fresh, parts, out, recipe, None, f"{name} {_key(parts)}", progress, compute)


def finetune_model(
    model: Checkpoint,
    data: Path,
    out: Path,
    recipe: Recipe,
    teacher: Checkpoint | None,
    asked: ReadOverrides,
    most: int | None,
    progress: Progress,
    compute: Compute = CPU,
) -> tuple[Checkpoint, TrainingResult]:
    """Fine-tune a model on at most `most` frames, with distillation from a teacher if there is one, and write it.

    Raises:
        ConfigError: `out` cannot be written, or the teacher has other classes or another input.
        DataError: The frames cannot be used.
    """
    require_teacher(recipe.mix, teacher is not None)
    writable(out)
    handling = handling_of(model, asked)
    parts = at_most(frames_for(model, data, handling), most)
    tell_frames(parts, progress)
    tell_skipped(parts["train"], progress)
    look = settled if model.plan or model.widths else looked_at  # it may be near chance until it is fine-tuned
    model = look(model, parts["validation"], progress, compute)
    if teacher is not None:
        teacher = looked_at(teacher, parts["validation"], progress, compute)
    require_fitting(model, teacher)
    progress.stage(f"fine-tune {model.name} on {len(parts['train'])} frames of {parts['train'].source}{_how(parts)}")
    key = f"{model.sha256} {_key(parts)} {teacher.sha256 if teacher else None}"
    model = replace(model, data=data_ref(str(data), parts["train"], handling))
    return _trained(model, parts, out, recipe, teacher, key, progress, compute)


def require_teacher(mix: float, taught: bool) -> None:
    """Refuse mixtures of frames without a teacher, since only a teacher can label a mixture.

    Raises:
        ConfigError: `mix` is above 0, and there is no teacher.
    """
    if mix and not taught:
        raise ConfigError(
            f"`mix={mix:g}` makes frames without labels, and there is no teacher to label them",
            "Leave out `mix`, or distill from a teacher",
        )


def require_fitting(model: Checkpoint, teacher: Checkpoint | None) -> None:
    """Refuse a teacher that does not match the model.

    Raises:
        ConfigError: The teacher has other classes or another input.
    """
    if teacher is not None and (teacher.classes, teacher.input) != (model.classes, model.input):
        raise ConfigError(f"the teacher {teacher.name} has other classes or another input than {model.name}")


def _how(parts: dict[Split, Frames]) -> str:
    return ", streamed" if stored(parts["train"]) else ""


def _key(parts: dict[Split, Frames]) -> str:
    """Name the frames, their split and their order."""
    train = parts["train"]
    return f"{train.sha256} {train.split_sha256}{_how(parts)}"


def _trained(
    model: Checkpoint,
    parts: dict[Split, Frames],
    out: Path,
    recipe: Recipe,
    teacher: Checkpoint | None,
    key: str,
    progress: Progress,
    compute: Compute,
) -> tuple[Checkpoint, TrainingResult]:
    state = out.with_name(f"{out.name}.state")
    fitted, result = fit(model, parts, recipe, teacher, state, key, progress, compute)
    saved = checkpoints.save(out, fitted)
    state.unlink(missing_ok=True)
    return saved, result


def fit(
    model: Checkpoint,
    parts: dict[Split, Frames],
    recipe: Recipe,
    teacher: Checkpoint | None,
    state: Path | None,
    key: str,
    progress: Progress,
    compute: Compute = CPU,
) -> tuple[Checkpoint, TrainingResult]:
    """Train a model in place, and record the training in its metrics.

    Args:
        model: The model; trained in place.
        parts: The frames of each split.
        recipe: Training recipe.
        teacher: Teacher to distill from, or None. It sees frames in memory once, in every rotation of the augmentation,
            and streamed frames in every epoch.
        state: File that keeps the training after each epoch, to continue from; None to keep nothing.
        key: Identifies model and data; a state with another key, number of train frames or recipe is not continued.
        progress: Reporter of every epoch.
        compute: Device on which networks run.
    """
    tutor = None if teacher is None else teacher.model
    with compute.lent(model.model, tutor):
        result = train(
            model.model,
            training_data(parts, model.input),
            recipe,
            progress,
            teacher=tutor,
            state_path=state,
            state_key=f"{key} {len(parts['train'])} {recipe}",
        )
    model.model.eval()
    return replace(model, metrics={"training": to_plain(result), "recipe": to_plain(recipe)}), result


def training_data(parts: dict[Split, Frames], shape: InputSpec) -> Feed:
    """Make normalized tensors of the train and validation frames, or a stream if they stay in a file."""
    if stored(parts["train"]) or stored(parts["validation"]):
        return StreamedData(_kept(parts["train"]), _kept(parts["validation"]), shape.normalisation)
    train_iq, validation_iq = (
        normalise(torch.from_numpy(parts[name].iq), shape.normalisation) for name in ("train", "validation")
    )
    labels = [torch.from_numpy(parts[name].labels) for name in ("train", "validation")]
    return TrainingData(train_iq, labels[0], validation_iq, labels[1])


def _kept(frames: Frames) -> Stored:
    _, channels, length = frames.iq.shape
    return Stored(partial(_rows, frames.iq), torch.from_numpy(frames.labels), 4 * channels * length)


def _rows(iq: npt.NDArray[np.float32], places: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Read the frames at places (n,) from their file; picklable, so that other training processes can do the same."""
    return iq[places][:]
