"""What a device is to measure, packed with all it takes: models, frames, and what the host answers to them."""

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
"""Number of frames that are sent where the frames are still in a file: they are held in memory and in the bundle."""
HOST = "host-answers.npz"
"""What the host answers to the same frames, in the folder of a run; `device collect` needs nothing else."""


@dataclass(frozen=True)
class ModelFiles:
    """One model as it is sent.

    Attributes:
        timed: At the batch it is timed with.
        answering: For `ANSWER_BATCH` frames at a time; the same file where the batch is dynamic. None where accuracy is
            not asked for.
    """

    timed: Path
    answering: Path | None = None


@dataclass(frozen=True)
class DeviceOptions:
    """How to measure on a device, where the command line says otherwise than the target; None leaves it.

    Attributes:
        batch: Frames in one inference.
        threads: Threads of one inference.
        rounds: Rounds of each model.
        round_ms: Length of one.
        processes: That share the rounds, where the runtime measures several rounds in a process.
        dla_core: Which deep-learning accelerator to use, or None for the GPU.
        power_mode: Name or number of the power mode to measure in.
        lock_clocks: Whether to lock the clocks meanwhile.
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
    """Pack a measurement for a device as `bundle.tar`, and keep beside it what the host answers to the same frames.

    Args:
        target: The kind of device.
        precision: That the model files are in.
        models: What is measured.
        frames: Frames of the test split; the first ones are the frames of known answer. Frames that are still in a file
            are not all read: `STORED_FRAMES` of them, spread evenly, are sent.
        options: How to measure.
        folder: Where both files go.
        progress: Told while the host answers.

    Raises:
        ConfigError: `folder` cannot be written, the target does not allow what is wished, or too few rounds are.
        DataError: There are fewer frames than a batch holds.
        ModelError: A model cannot be run here.
        DeviceError: The target is no device.
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
    host = _host_answers(models, known, chunks, len(frames), progress)
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
    """Let NVIDIA's parser read every file before it is sent, where one is installed.

    Raises:
        ModelError: It does not read one.
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
    """The frames in chunks of `ANSWER_BATCH`, the last one filled up with zeros."""
    missing = -len(iq) % ANSWER_BATCH
    filled = np.concatenate([iq, np.zeros((missing, *iq.shape[1:]), np.float32)])
    return list(filled.reshape(-1, ANSWER_BATCH, *iq.shape[1:]))


def _host_answers(
    models: Mapping[Role, ModelFiles],
    known: npt.NDArray[np.float32],
    chunks: list[npt.NDArray[np.float32]],
    count: int,
    progress: Progress,
) -> dict[str, npt.NDArray[np.float32]]:
    """Logits of both models on this machine: `known_ROLE` and, for accuracy, `answers_ROLE`."""
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
