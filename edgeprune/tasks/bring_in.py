"""`import`: a model file from a network of a user's own, its weights and labeled frames."""

from dataclasses import replace
from pathlib import Path

from edgeprune import datasets
from edgeprune.errors import ConfigError
from edgeprune.files.whole import writable
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.network.compute import CPU, Compute
from edgeprune.network.consent import remember
from edgeprune.network.model_file import ModelOptions
from edgeprune.network.user_code import bound_to_batch
from edgeprune.protocols import Progress
from edgeprune.records.frames import Reading
from edgeprune.tasks.data.frames import fitted, tell_frames, tell_skipped
from edgeprune.tasks.data.reading import ReadOptions, ReadOverrides, data_ref, reading_of
from edgeprune.tasks.identify import Baseline, baseline_of, refuse_low, settled, warn_low


def bring_in(
    weights: Path,
    options: ModelOptions,
    data: Path,
    asked: ReadOverrides,
    out: Path,
    progress: Progress,
    compute: Compute = CPU,
) -> tuple[Checkpoint, Baseline]:
    """Identify what weights do not record of their network, measure it on validation, and write it as a model file.

    Args:
        weights: The file of the weights.
        options: Options for the model file; they must at least say how to build the network.
        data: Labeled frames. They supply the classes and the input shape unless the options do.
        asked: Reading and splitting of the frames.
        out: The model file to write.
        progress: Reporter of what was found.
        compute: Device on which networks run.

    Raises:
        ConfigError: No option says how to build the network, the order of its classes differs from that of the labels,
            or `out` cannot be written.
        ModelError: The weights do not fit, or the accuracy is near chance with every normalization.
        DataError: The frames cannot be read or do not fit the network.
    """
    writable(out)
    shape = options.input_shape
    handling = ReadOptions(
        method=asked.split or ReadOptions.method,
        reading=reading_of(None, shape[1] if shape else Reading.length, asked),
        stream=asked.stream,
    )
    frames = datasets.read_or_keep(data, handling.reading, handling.stays)
    described = replace(
        options,
        class_names=options.class_names or frames.classes,
        input_shape=shape or (frames.iq.shape[1], frames.iq.shape[2]),
    )
    loaded = checkpoints.load(weights, described)
    if loaded.data is not None:
        raise ConfigError(f"{weights} is a model file already", "Use it as it is")
    parts = fitted(loaded, frames, handling)
    tell_frames(parts, progress)
    tell_skipped(frames, progress)
    if loaded.notes:
        progress.note(f"passed over in {weights.name}: {', '.join(loaded.notes)}")
    progress.stage(f"measure {loaded.name} on validation")
    found = settled(loaded, parts["validation"], progress, compute, strict=True)
    baseline = baseline_of(found, parts["validation"], progress, compute)
    if options.normalisation is None:
        refuse_low(found, baseline, parts["validation"], progress, compute)
    elif baseline.top1 < baseline.least_top1:
        warn_low(found.name, found.classes, baseline.top1, progress)
    if place := bound_to_batch(found.model, (found.input.channels, found.input.length)):
        what = "takes the number of frames as a plain number, which an exported file may keep"
        progress.note(f"warning: {place} {what}: then it is for a fixed batch alone")
    described_model = replace(
        found,
        data=data_ref(str(data), parts["train"], handling),
        metrics={"validation_top1": baseline.top1},
    )
    saved = checkpoints.save(out, described_model)
    if found.arch.source == "factory" and not remember(found.arch.name, found.arch.arguments):
        progress.note(f"other commands take {out.name} with `factory={found.arch.name}`")
    return saved, baseline
