"""Records between runtimes, devices and the bench: work for a device, and its results.

The work of a device is a folder, the bundle, whose layout is defined here. Paths are relative to it and have forward
slashes; nothing in it depends on the transport.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgeprune.records.names import Role
from edgeprune.records.results import LayerTime

KNOWN_FRAMES = "frames/known.bin"
"""One batch of the timed model: frames whose outputs the host knows."""
RESULT = "result"
"""Folder of everything that is made on the device and brought back."""
OUT = f"{RESULT}/out"
"""Folder of the files that the commands of steps write."""
STEPS = f"{RESULT}/steps"
"""Files of each step NAME: its output `NAME.log`, its exit code `NAME.rc`, its seconds `NAME.s`, its tegrastats
lines `NAME.tegrastats`, and `NAME.cached` if its engine was built earlier."""
ENGINES = f"{RESULT}/engines.txt"
"""One line for each engine, which stays on the device: sha256, bytes, file."""


def model_file(role: Role) -> str:
    """Path of the timed model, at its timed batch."""
    return f"models/{role}.onnx"


def answering_file(role: Role) -> str:
    """Path of the same model for `answer_batch` frames at a time, for accuracy."""
    return f"models/{role}-answers.onnx"


def frames_file(chunk: int) -> str:
    """Path of one chunk of `answer_batch` frames, raw little-endian float32; the last is padded with zeros."""
    return f"frames/{chunk:04d}.bin"


@dataclass(frozen=True)
class Assignment:
    """Measurement to make on a device.

    Attributes:
        target: Name of the target.
        precision: Precision of weights and arithmetic; the model files are already typed for it.
        batch: Frames in one timed inference.
        threads: Threads of one inference, where that can be chosen.
        roles: The models, in the order they are measured.
        channels: Channels of a frame.
        length: Samples of a frame.
        classes: Number of outputs.
        rounds: Rounds of each model.
        round_ms: Length of one round.
        warmup_ms: Time that each model runs before anything counts.
        builds: Number of builds of each engine, for the spread between builds.
        answer_batch: Frames in one run for accuracy.
        answer_chunks: Number of such runs; 0 if accuracy is not requested.
        transfers: Whether the latency includes copies to and from the device's GPU.
        cuda_graph: Whether the engine is launched as one CUDA graph.
        spin_wait: Whether the host spins while it waits for the GPU.
        dla_core: Deep-learning accelerator to run on, with the GPU as fallback; None for the GPU.
        processes: Number of processes that share the rounds, where a process measures several.
    """

    target: str
    precision: str
    batch: int
    threads: int
    roles: tuple[Role, ...]
    channels: int
    length: int
    classes: int
    rounds: int
    round_ms: float
    warmup_ms: float
    builds: int = 2
    answer_batch: int = 256
    answer_chunks: int = 0
    transfers: bool = False
    cuda_graph: bool = True
    spin_wait: bool = True
    dla_core: int | None = None
    processes: int = 1


Tool = Literal["trtexec", "python3"]


@dataclass(frozen=True)
class Step:
    """Command to run on a device.

    Attributes:
        name: Unique name in the plan: lower case, digits, hyphens.
        tool: Program; the probe finds its path on the device.
        arguments: Arguments, unquoted; the command runs in the bundle's folder.
        limit_s: Time limit in seconds, after which the command is killed.
        makes: Files that must exist afterwards, or the step has failed.
        engine: File of the engine that the step builds. It is taken from the device's cache if the same model was built
            there before by the same TensorRT with the same arguments; otherwise it is added to the cache. None for
            other steps.
        telemetry: Whether clocks, temperatures and power are recorded during the step.
    """

    name: str
    tool: Tool
    arguments: tuple[str, ...]
    limit_s: int
    makes: tuple[str, ...] = ()
    engine: str | None = None
    telemetry: bool = False


@dataclass(frozen=True)
class Plan:
    """Steps for every version of a tool from `since` up to the next plan's `since`.

    Attributes:
        tool: Tool whose version decides.
        since: Lowest version, as major * 10000 + minor * 100 + patch; 0 for any. So 8.5.2, which trtexec's banner
            counts as v8502, is 80502, and 10.3.0 is 100300, as in the banner.
        steps: Steps, in order. A failed step ends the run.
    """

    tool: Tool
    since: int
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class DeviceFacts:
    """Facts of a device. An unknown fact is None.

    Attributes:
        hostname: Host name of the device.
        architecture: Architecture of the processor: 'aarch64', 'x86_64'.
        os: Name and version of the system.
        kernel: Release of the kernel.
        cpus: Usable processors.
        memory_bytes: Total memory.
        disk_free_bytes: Free space where the work is stored.
        clock_offset_s: Clock of the device minus this machine's.
        model: Model in the device tree.
        module: Name of the Jetson module.
        part: Part number of the module: 'p3767-0005'.
        soc: System on chip: 'tegra234'.
        l4t: Jetson Linux version: '36.4.3'.
        jetpack: JetPack version: '6.2'.
        compute_capability: Compute capability of its GPU: '8.7'.
        dla_cores: Number of deep-learning accelerators.
        cuda: CUDA version.
        tensorrt: Full version of the library: '10.3.0.30'.
        trtexec: Path of trtexec.
        trtexec_version: Version of trtexec, as `Plan.since`: 80502 where its banner says v8502, 100300 for v100300.
        power_mode: Name of the current power mode: '25W'.
        power_mode_id: Number of the current power mode.
        power_modes: Name of every power mode of the module, by number.
        clocks_locked: Whether the GPU's lowest and highest frequency are equal.
        gpu_hz: Lowest, current and highest frequency of the GPU.
        python: Version of python3.
        onnxruntime: Version of ONNX Runtime in that Python.
        numpy: Version of NumPy in that Python.
        sudo: Whether commands may be run as root without a password.
        replay: Name of the recorded board that stands in for a device, or None for a device.
    """

    hostname: str | None = None
    architecture: str | None = None
    os: str | None = None
    kernel: str | None = None
    cpus: int | None = None
    memory_bytes: int | None = None
    disk_free_bytes: int | None = None
    clock_offset_s: float | None = None
    model: str | None = None
    module: str | None = None
    part: str | None = None
    soc: str | None = None
    l4t: str | None = None
    jetpack: str | None = None
    compute_capability: str | None = None
    dla_cores: int | None = None
    cuda: str | None = None
    tensorrt: str | None = None
    trtexec: str | None = None
    trtexec_version: int | None = None
    power_mode: str | None = None
    power_mode_id: int | None = None
    power_modes: Mapping[int, str] = field(default_factory=dict)
    clocks_locked: bool | None = None
    gpu_hz: tuple[int, int, int] | None = None
    python: str | None = None
    onnxruntime: str | None = None
    numpy: str | None = None
    sudo: bool = False
    replay: str | None = None


@dataclass(frozen=True)
class TimedRound:
    """One round of one model.

    Attributes:
        role: Role of the model.
        build: Number of the engine's build, from 1.
        step: Step that timed it.
        ms: Milliseconds of each inference, float64 (n,).
        span_ms: Time from the first inference to the end of the last, if they overlap; otherwise None.
    """

    role: Role
    build: int
    step: str
    ms: npt.NDArray[np.float64]
    span_ms: float | None = None


@dataclass(frozen=True)
class EngineFile:
    """Engine built on the device.

    Attributes:
        role: Role of the model in the comparison.
        build: Number of the build, from 1.
        sha256: SHA-256 of the file.
        size_bytes: Size of the file.
        build_s: Seconds taken by the build; None if it came from the device's cache.
        dla_share: Share of its layers that run on the DLA, 0..1; None if none was requested.
    """

    role: Role
    build: int
    sha256: str
    size_bytes: int
    build_s: float | None = None
    dla_share: float | None = None


@dataclass(frozen=True)
class DeviceMeasurement:
    """Results of an assignment's steps.

    Attributes:
        mode: Measured quantity in words, identical for the same measurement in every version.
        rounds: Rounds, in the order of measurement.
        known: Logits of the timed engine for the known frames, (batch, classes) float32.
        answers: Logits for the frames of the accuracy runs, (answer_chunks * answer_batch, classes) float32.
        engines: Engines; empty if a runtime builds none.
        warnings: Warnings of the runtime that cast doubt on figures, in words.
        layers: Times of each model's layers, slowest first; without models whose runtime reports none.
    """

    mode: str
    rounds: tuple[TimedRound, ...]
    known: Mapping[Role, npt.NDArray[np.float32]]
    answers: Mapping[Role, npt.NDArray[np.float32]]
    engines: tuple[EngineFile, ...] = ()
    warnings: tuple[str, ...] = ()
    layers: Mapping[Role, tuple[LayerTime, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class BuiltEngine:
    """Engine built on this machine.

    Attributes:
        path: Name of the file.
        sha256: SHA-256 of the file.
        size_bytes: Size of the file.
        model_sha256: SHA-256 of the ONNX file it was built from.
        runtime: 'tensorrt' or 'tensorrt-rtx'.
        version: Version of that library; no other can load the engine.
        compute_capability: Compute capability of the GPUs it runs on; None for this machine's.
        batches: Smallest and largest batch it accepts.
        layers: Layers of the network that was parsed.
        build_s: Seconds taken by the build.
    """

    path: str
    sha256: str
    size_bytes: int
    model_sha256: str
    runtime: str
    version: str
    compute_capability: str | None
    batches: tuple[int, int]
    layers: int
    build_s: float
