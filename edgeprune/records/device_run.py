"""What a device is asked to do, and what came back: the records between runtimes, devices and the bench.

The work of a device is a folder, the bundle, whose layout is fixed here. Paths are relative to it and have forward
slashes; nothing in it depends on how it got to the device.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgeprune.records.names import Role

KNOWN_FRAMES = "frames/known.bin"
"""One batch of the timed model: frames whose answers the host knows."""
RESULT = "result"
"""Everything that is made on the device and brought back."""
OUT = f"{RESULT}/out"
"""What the commands of steps write."""
STEPS = f"{RESULT}/steps"
"""What each step NAME leaves: its output `NAME.log`, its exit code `NAME.rc`, its seconds `NAME.s`, its tegrastats
lines `NAME.tegrastats`; `NAME.cached` is there if its engine was built earlier."""
ENGINES = f"{RESULT}/engines.txt"
"""A line for each engine, which stays on the device: sha256, bytes, file."""


def model_file(role: Role) -> str:
    """The model that is timed, at the batch it is timed with."""
    return f"models/{role}.onnx"


def answering_file(role: Role) -> str:
    """The same model for `answer_batch` frames at a time, for accuracy."""
    return f"models/{role}-answers.onnx"


def frames_file(chunk: int) -> str:
    """One chunk of `answer_batch` frames, raw little-endian float32; the last is filled up with zeros."""
    return f"frames/{chunk:04d}.bin"


@dataclass(frozen=True)
class Assignment:
    """What is to be measured on a device.

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
        warmup_ms: Running before anything counts.
        builds: How often each engine is built, for the spread between builds.
        answer_batch: Frames in one run for accuracy.
        answer_chunks: Number of such runs; 0 when accuracy is not asked for.
        transfers: Whether copies to and from the device's GPU are in the latency.
        cuda_graph: Whether the engine is launched as one CUDA graph.
        spin_wait: Whether the host spins while it waits for the GPU.
        dla_core: Run on this deep-learning accelerator with the GPU as fallback, or None for the GPU.
        processes: How many processes share the rounds, where a process measures several.
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
    """One command on a device.

    Attributes:
        name: Lower case, digits, hyphens; unique in its plan.
        tool: The program; where it lies on the device is found by the probe there.
        arguments: Given to it, unquoted; run in the bundle's folder.
        limit_s: Killed after so many seconds.
        makes: Files that must be there afterwards, or the step failed.
        engine: When it builds an engine, that engine's file: it is taken from the device's cache if the same model was
            built there before by the same TensorRT with the same arguments, and put there otherwise. None for other
            steps.
        telemetry: Whether clocks, temperatures and power are read meanwhile.
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
    """Steps for every version of a tool from `since` on, up to the next plan's `since`.

    Attributes:
        tool: Whose version decides.
        since: Lowest version, as major * 10000 + minor * 100 + patch; 0 for any. So 8.5.2, which trtexec's banner
            counts as v8502, is 80502, and 10.3.0 is 100300, as in the banner.
        steps: In their order. A failed step ends the run.
    """

    tool: Tool
    since: int
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class DeviceFacts:
    """What a device is. A fact that could not be found out is None.

    Attributes:
        hostname: As it calls itself.
        architecture: Architecture of the processor: 'aarch64', 'x86_64'.
        os: Name and version of the system.
        kernel: Its release.
        cpus: Usable processors.
        memory_bytes: In all.
        disk_free_bytes: Where the work is kept.
        clock_offset_s: Its clock less this machine's.
        model: What the device tree says.
        module: Name of the Jetson module, in words.
        part: Number of the module: 'p3767-0005'.
        soc: 'tegra234'.
        l4t: Jetson Linux version: '36.4.3'.
        jetpack: '6.2'.
        compute_capability: Compute capability of its GPU: '8.7'.
        dla_cores: Deep-learning accelerators.
        cuda: Version.
        tensorrt: Full version of the library: '10.3.0.30'.
        trtexec: Path of the program.
        trtexec_version: Counted like `Plan.since`: 80502 where its banner says v8502, 100300 where it says v100300.
        power_mode: Name in force: '25W'.
        power_mode_id: Its number.
        power_modes: Number to name of every mode that the module has.
        clocks_locked: Whether the GPU's least and greatest frequency are the same.
        gpu_hz: Least, current and greatest frequency of the GPU.
        python: Version of python3.
        onnxruntime: Version of ONNX Runtime in it.
        numpy: Version of NumPy in it.
        sudo: Whether commands may be run as root without a password.
        replay: Name of the recorded board that answers in place of a device, or None for a device.
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
        role: Which model.
        build: Which build of its engine, from 1.
        step: The step that timed it.
        ms: Milliseconds of each inference, float64 (n,).
        span_ms: From the first inference to the end of the last, which overlap; None where they do not.
    """

    role: Role
    build: int
    step: str
    ms: npt.NDArray[np.float64]
    span_ms: float | None = None


@dataclass(frozen=True)
class EngineFile:
    """An engine as it was built on the device.

    Attributes:
        role: Role of the model in the comparison.
        build: Which build, from 1.
        sha256: SHA-256 of the file.
        size_bytes: Size of the file.
        build_s: Seconds that building took; None when it came from the device's cache.
        dla_share: Share of its layers that run on the DLA, 0..1; None where none was asked for.
    """

    role: Role
    build: int
    sha256: str
    size_bytes: int
    build_s: float | None = None
    dla_share: float | None = None


@dataclass(frozen=True)
class LayerTime:
    """One layer of an engine, which may be several operators of the model.

    Attributes:
        name: As the runtime calls it.
        mean_ms: Mean time in one inference, timed layer by layer.
        share: Share of the times of all layers, 0..1.
    """

    name: str
    mean_ms: float
    share: float


@dataclass(frozen=True)
class DeviceMeasurement:
    """What the steps of an assignment made.

    Attributes:
        mode: What was timed, in words, the same for the same measurement on every version.
        rounds: In the order they were measured.
        known: Logits of the engine that was timed for the known frames, (batch, classes) float32.
        answers: Logits for the frames of the accuracy runs, (answer_chunks * answer_batch, classes) float32.
        engines: The engines; empty where a runtime builds none.
        warnings: What the runtime said that makes figures doubtful, in words.
        layers: Times of each model's layers, slowest first; a model whose runtime tells none is not in it.
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
    """An engine that was built on this machine.

    Attributes:
        path: Name of the file.
        sha256: SHA-256 of the file.
        size_bytes: Size of the file.
        model_sha256: SHA-256 of the ONNX file it was built from.
        runtime: 'tensorrt' or 'tensorrt-rtx'.
        version: Version of that library; no other can load the engine.
        compute_capability: Compute capability of the GPUs it runs on; None for this machine's.
        batches: The least and the most frames it takes at once.
        layers: Layers of the network that was parsed.
        build_s: Seconds that building took.
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
