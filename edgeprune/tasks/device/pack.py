"""Packing of a measurement for a device: models, frames, and the host's outputs for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeprune import registry
from edgeprune.bench.stats import MIN_ROUNDS
from edgeprune.device.bundle import Manifest, pack
from edgeprune.device.probe import needs_of
from edgeprune.errors import ConfigError, DataError, DeviceError
from edgeprune.files.whole import replacing
from edgeprune.protocols import Progress
from edgeprune.records.device_run import KNOWN_FRAMES, Assignment, answering_file, frames_file, model_file
from edgeprune.records.frames import Frames
from edgeprune.records.names import Role
from edgeprune.runtimes.tensorrt import parse_if_installed
from edgeprune.targets import Precision, Target
from edgeprune.tasks.data.frames import in_memory, stored
from edgeprune.tasks.data.reading import SPLIT_SEED

ANSWER_BATCH = 512
"""Frames in one run for accuracy: enough that starting the program costs little."""
STORED_FRAMES = 1 << 14
"""Maximum number of frames to send if they are still in a file: they must fit in memory and in the bundle."""
HOST = "host-answers.npz"
"""File in the run folder with the host's outputs for the same frames; `device collect` needs no other."""


@dataclass(frozen=True)
class ModelFiles:
    """The files of one model in a bundle.

    Attributes:
        timed: File with the batch of the timing.
        answering: File for `ANSWER_BATCH` frames at a time, for the accuracy; the same file if the batch is dynamic,
            None if accuracy is not measured.
    """

    timed: Path
    answering: Path | None = None


@dataclass(frozen=True)
class DeviceOptions:
    """Options of the user for a measurement on a device; None keeps the target's value.

    Attributes:
        batch: Frames in one inference.
        threads: Threads of one inference.
        rounds: Rounds of each model.
        round_ms: Length of a round, in ms.
        processes: Processes that share the rounds, for runtimes that measure several rounds in a process.
        dla_core: Deep-learning accelerator to use, or None for the GPU.
        power_mode: Name or number of the power mode to measure in.
        lock_clocks: Whether to lock the clocks during the measurement.
    """

    batch: int = 1
    threads: int | None = None
    rounds: int | None = None
    round_ms: float | None = None
    processes: int | None = None
    dla_core: int | None = None
    power_mode: str | None = None
    lock_clocks: bool = False


def assign(
    target: Target,
    precision: Precision,
    models: Mapping[Role, ModelFiles],
    frames: Frames,
    options: DeviceOptions,
    folder: Path,
    progress: Progress,
) -> Manifest:
    """Pack a measurement for a device as `bundle.tar`, and write the host's outputs for the same frames beside it.

    Args:
        target: The target.
        precision: Precision of the model files.
        models: The models to measure.
        frames: Frames of the test split; the first ones are the known frames. If they are still in a file, only
            `STORED_FRAMES` of them, spread evenly, are read and sent.
        options: Options of the measurement.
        folder: Folder for both files.
        progress: Reporter of the progress on the host.

    Raises:
        ConfigError: `folder` cannot be written, the target does not allow an option, or there are too few rounds.
        DataError: There are fewer frames than a batch holds.
        ModelError: A model cannot be run on this machine.
        DeviceError: The target is not a device.
    """
    if not target.on_device:
        raise DeviceError(f"{target.name} is not measured on a device but on this machine")
    if len(frames) < options.batch:
        raise DataError(f"{len(frames)} frames cannot fill a batch of {options.batch}", "Use a smaller `batch`")
    require_rounds(target, options, len(models))
    if target.runtime == "trtexec":
        _parse(models, progress)
    if stored(frames):
        progress.note(f"{min(STORED_FRAMES, len(frames))} of {len(frames)} frames are sent, spread over the file")
    frames = in_memory(frames, STORED_FRAMES, SPLIT_SEED)
    known = np.ascontiguousarray(frames.iq[: options.batch])
    answering = all(files.answering for files in models.values())
    chunks = _chunks(frames.iq) if answering else []
    host = _host_outputs(models, known, chunks, len(frames), progress)
    with replacing(folder / HOST) as file:
        arrays: dict[str, Any] = {"labels": frames.labels, "classes": np.array(frames.classes), **host}
        if frames.snrs is not None:
            arrays["snrs"] = frames.snrs
        np.savez_compressed(file, **arrays)
    work = _assignment(target, precision, models, frames, options, len(chunks), host)
    runtime = registry.get("runtimes", target.runtime)
    content: dict[str, Path | str | bytes] = dict(runtime.files())
    content[KNOWN_FRAMES] = known.tobytes()
    for role, files in models.items():
        content[model_file(role)] = files.timed
        if chunks and files.answering is not None:
            content[answering_file(role)] = files.answering
    content.update({frames_file(number): chunk.tobytes() for number, chunk in enumerate(chunks)})
    return pack(
        folder / "bundle.tar",
        needs_of(target),
        work,
        target.runtime,
        runtime.plans(work),
        content,
        power_mode=options.power_mode,
        lock_clocks=options.lock_clocks,
    )


def _parse(models: Mapping[Role, ModelFiles], progress: Progress) -> None:
    """Check that NVIDIA's parser reads every file, if it is installed, before they are sent.

    Raises:
        ModelError: It cannot read a file.
    """
    files = [path for each in models.values() for path in (each.timed, each.answering) if path is not None]
    parsers = {parse_if_installed(path) for path in files}
    for parser in parsers - {None}:
        progress.note(f"{parser} reads the {len(files)} files")


def require_rounds(target: Target, options: DeviceOptions, models: int = 2) -> None:
    """Find out before any work whether the rounds are enough to compare models on a device.

    Raises:
        ConfigError: They are too few.
    """
    rounds = options.rounds or target.bench.rounds
    builds = target.builds if target.runtime == "trtexec" else 1
    if models > 1 and rounds < MIN_ROUNDS * builds:
        each = f", each engine built {builds} times," if builds > 1 else ""
        raise ConfigError(
            f"rounds is {rounds}; comparing two models{each} takes at least {MIN_ROUNDS * builds}",
            "Give more with `rounds`, or in the target's [bench]",
        )


def _assignment(
    target: Target,
    precision: Precision,
    models: Mapping[Role, ModelFiles],
    frames: Frames,
    options: DeviceOptions,
    chunks: int,
    host: Mapping[str, npt.NDArray[np.float32]],
) -> Assignment:
    _, channels, length = frames.iq.shape
    return Assignment(
        target=target.name,
        precision=precision,
        batch=options.batch,
        threads=options.threads or target.threads,
        roles=tuple(models),
        channels=channels,
        length=length,
        classes=host["known_baseline"].shape[1],
        rounds=options.rounds or target.bench.rounds,
        round_ms=options.round_ms or target.bench.round_ms,
        warmup_ms=target.bench.warmup_ms,
        builds=target.builds,
        answer_batch=ANSWER_BATCH,
        answer_chunks=chunks,
        dla_core=options.dla_core,
        processes=options.processes or target.bench.processes,
    )


def _chunks(iq: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """Yield the frames in chunks of `ANSWER_BATCH`, the last one padded with zeros."""
    missing = -len(iq) % ANSWER_BATCH
    filled = np.concatenate([iq, np.zeros((missing, *iq.shape[1:]), np.float32)])
    return list(filled.reshape(-1, ANSWER_BATCH, *iq.shape[1:]))


def _host_outputs(
    models: Mapping[Role, ModelFiles],
    known: npt.NDArray[np.float32],
    chunks: list[npt.NDArray[np.float32]],
    count: int,
    progress: Progress,
) -> dict[str, npt.NDArray[np.float32]]:
    """Compute the logits of both models on this machine: `known_ROLE` and, for accuracy, `answers_ROLE`."""
    runtime = registry.get("runtimes", "onnxruntime")
    found: dict[str, npt.NDArray[np.float32]] = {}
    with progress.track("reference outputs on the host", len(models) * len(chunks)) as advance:
        for role, files in models.items():
            with runtime.open(files.timed, 1) as session:
                found[f"known_{role}"] = session.run(known)
            if files.answering is None or not chunks:
                continue
            with runtime.open(files.answering, 1) as session:
                parts = []
                for chunk in chunks:
                    parts.append(session.run(chunk))
                    advance(1, role)
            found[f"answers_{role}"] = np.concatenate(parts)[:count]
    return found
