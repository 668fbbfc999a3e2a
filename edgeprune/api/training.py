"""Fine-tuning, with the unpruned network as the teacher or without."""

import copy
from dataclasses import replace

from edgeprune.api.model import Data, Model, in_memory, parts_of
from edgeprune.api.running import Progress, computed_on, told
from edgeprune.tasks import train as training
from edgeprune.tasks.data.frames import at_most
from edgeprune.tasks.data.reading import data_ref, handling_of
from edgeprune.train.finetune import Recipe


def finetune(
    model: Model,
    data: Data | None = None,
    *,
    teacher: Model | None = None,
    epochs: int = 20,
    batch_size: int = 256,
    learning_rate: float = 0.1,
    mix: float = 0.0,
    frames: int | None = None,
    seed: int = 0,
    compute: str | None = None,
    progress: Progress | None = None,
) -> Model:
    """Fine-tune a model and keep the best epoch on the validation split.

    The loop is that of `edgeprune finetune`: SGD with momentum under a one-cycle schedule, with frames rotated by
    random multiples of 90 degrees. For your own loop, train `model.module` in place with `model.tensors(data)`.

    Args:
        model: The network to train; not changed.
        data: Labeled frames or their file; by default those the model was pruned or trained with.
        teacher: Model to distill from, usually the unpruned one.
        epochs: Passes over the train split.
        batch_size: Frames in one step.
        learning_rate: Peak of the schedule.
        mix: Fraction of each batch mixed with a second signal, 0 to 1; the teacher labels the mixture.
        frames: Maximum number of frames to train on, spread over the train split; by default all.
        seed: Random seed.
        compute: Device on which networks run: 'auto', 'cpu', 'cuda' or 'cuda:N'; by default EDGEPRUNE_COMPUTE, else
            'auto'.
        progress: Reporter of every epoch; by default the logger `edgeprune`.

    Returns:
        The trained model; `record.metrics` has its curve.

    Raises:
        ConfigError: The teacher has other classes or another input, or frames are mixed without a teacher.
        DataError: The frames do not fit the model.
        ModelError: The loss became NaN or infinite.

    Example:
        >>> small = ep.finetune(small, data, teacher=model, epochs=20)
    """
    recipe = Recipe(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, mix=mix, seed=seed)
    record, tutor = model.checkpoint, None if teacher is None else teacher.checkpoint
    training.require_teacher(mix, teacher is not None)
    training.require_fitting(record, tutor)
    parts, source = parts_of(model, data)
    parts = at_most(parts, frames)
    handling = handling_of(record)
    named = parts["train"].source if not isinstance(source, str) else source
    learner = replace(
        record, model=copy.deepcopy(record.model), data=data_ref(named, parts["train"], handling), sha256=""
    )
    told(progress).stage(f"fine-tune {record.name} on {len(parts['train'])} frames of {parts['train'].source}")
    fitted, _ = training.fit(learner, parts, recipe, tutor, None, "", told(progress), computed_on(compute))
    return in_memory(fitted, model.unpruned, source)
