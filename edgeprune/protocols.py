"""Interfaces of the replaceable parts: each has one to four methods, and a reason."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from edgeprune.errors import DeviceError
from edgeprune.records.device_run import Assignment, BuiltEngine, DeviceMeasurement, Plan
from edgeprune.records.frames import Frames, FrameTable, Reading
from edgeprune.records.pruning import InputSpec, LayerChain

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor, nn

    from edgeprune.targets import Target


class ModelFamily(Protocol):
    """Builder of untrained networks; a file in `models/` holds one as `family`."""

    names: tuple[str, ...]

    def build(self, name: str, channels: int, length: int, classes: int) -> "nn.Module":
        """Build the network `name` for frames (N, channels, length), with fresh weights."""
        ...


class DatasetFormat(Protocol):
    """File format; a file in `datasets/` holds one as `dataset`."""

    suffixes: tuple[str, ...]

    def read(self, path: Path) -> Frames:
        """Read every frame. Raises DataError for anything that violates the format."""
        ...


class FrameSource(Protocol):
    """Frames that are read on demand, since a file may be larger than memory."""

    @property
    def table(self) -> FrameTable:
        """Labels and everything else known of the frames, except samples."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Actions and assumptions in reading, one sentence each."""
        ...

    @property
    def skipped(self) -> tuple[str, ...]:
        """Files that were left out, each with the reason."""
        ...

    @property
    def forward_only(self) -> bool:
        """Whether reading backwards takes as long as reading everything before, as in a text file."""
        ...

    def read(self, start: int, stop: int) -> "npt.NDArray[np.float32]":
        """Read samples of the frames start to stop, (stop - start, channels, length); fastest in ascending order."""
        ...

    def sha256(self) -> str:
        """SHA-256 of the file, or of the names and hashes of several."""
        ...


@runtime_checkable
class StreamedFormat(DatasetFormat, Protocol):
    """File format that can also be read a few frames at a time.

    Several may share a suffix; '/' stands for a folder.
    """

    def recognises(self, path: Path) -> bool:
        """Whether a file with one of the suffixes is of this format."""
        ...

    def open(self, path: Path, reading: Reading) -> AbstractContextManager[FrameSource]:
        """Open the frames of a file for use within a `with` block."""
        ...


class SimilarityMetric(Protocol):
    """Metric of the similarity of units' outputs; a file in `similarity/` holds one as `metric`.

    A metric sees each unit's activations of one batch once and reduces them to a summary small enough to keep for all
    units at a time. It compares summaries, so that activations are never stored. It computes on their device.
    """

    def summarise(self, activations: "Tensor") -> "Tensor":
        """Turn activations (n, ...) of one unit on one batch into a summary."""
        ...

    def products(self, summaries: "Sequence[Tensor]") -> "Tensor":
        """Compute inner products of all pairs of summaries, (L, L) float64; averaged over batches before `finish`."""
        ...

    def finish(self, products: "Tensor") -> "Tensor":
        """Turn mean inner products (L, L) into similarities (L, L), 1 on the diagonal."""
        ...


@dataclass(frozen=True)
class Labelled:
    """Normalized frames (N, channels, length) float32 and their classes (N,) int64."""

    iq: "Tensor"
    labels: "Tensor"


@dataclass(frozen=True)
class Subject:
    """Network whose units are scored, with the data that scoring may use.

    Attributes:
        model: The network the chain was found in, in eval mode, on the device to compute on. It must be left unchanged.
        chain: Its units.
        shape: Shape of its frames.
        train: Training frames, in main memory: `network.compute.beside` moves a batch of them to the network.
        validation: Validation frames, in main memory; never the test split.
        seed: Random seed.
        progress: Updated during long work.
    """

    model: "nn.Module"
    chain: LayerChain
    shape: InputSpec
    train: Labelled
    validation: Labelled
    seed: int
    progress: "Progress"


class Criterion(Protocol):
    """Scores units; a file in `criteria/` holds one as `criterion`."""

    def scores(self, subject: Subject) -> dict[int, float]:
        """Score every droppable unit, more is better; the model is left unchanged."""
        ...


@runtime_checkable
class Search(Criterion, Protocol):
    """Criterion that judges whole sets of units, if the sum of single scores is not enough."""

    def choose(self, subject: Subject, segments: Sequence[Sequence[int]], counts: Sequence[int]) -> frozenset[int]:
        """Choose the units to keep: of the droppable units in each segment, as many as its count."""
        ...


class Session(Protocol):
    """Loaded model that can be run; runtimes create them.

    `metadata` is that of the model file.
    """

    metadata: dict[str, str]

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Channels and length of a frame."""
        ...

    def run(self, iq: "npt.NDArray[np.float32]") -> "npt.NDArray[np.float32]":
        """Compute logits (N, classes) of raw frames (N, channels, length)."""
        ...

    def time(self, iq: "npt.NDArray[np.float32]", count: int) -> "npt.NDArray[np.float64]":
        """Run one batch (N, channels, length) `count` times; returns the milliseconds of each, (count,)."""
        ...


class Runtime(Protocol):
    """Executor of exported models; a file in `runtimes/` holds one as `runtime`.

    `mode` says in words what a session measures: 'sync, session.run, host memory'.
    """

    name: str
    mode: str

    def open(self, model: Path, threads: int) -> AbstractContextManager[Session]:
        """Load a model for use within a `with` block."""
        ...

    def facts(self) -> dict[str, Any]:
        """Version and build of the runtime."""
        ...


@runtime_checkable
class DeviceRuntime(Protocol):
    """Executor of models on a device; a file in `runtimes/` holds one as `runtime`.

    It defines what is run there and reads the results; a `Transport` gets them there and back.
    """

    name: str

    def facts(self) -> dict[str, Any]:
        """Facts known without a device: its name, and the versions it supports."""
        ...

    def files(self) -> "dict[str, str]":
        """Text files that its steps need on the device, by their path in the bundle."""
        ...

    def plans(self, work: Assignment) -> tuple[Plan, ...]:
        """Make the plans of steps to run, for each supported version of its tool, lowest first."""
        ...

    def read(self, work: Assignment, bundle: Path, version: int) -> DeviceMeasurement:
        """Read the results of the steps in a bundle's folder, made by the tool of that version.

        Raises:
            DeviceError: A step failed, or its results are not as expected.
        """
        ...


@runtime_checkable
class EngineBuilder(Protocol):
    """Builder of engines on this machine; the `runtime` of some files in `runtimes/` is one."""

    name: str

    def require(self, target: "Target") -> None:
        """Check, before long work, that an engine for a target can be built here.

        Raises:
            ConfigError: The builder is not installed, or does not build for the target.
            DeviceError: Building requires a GPU, and there is none that it supports.
        """
        ...

    def build(
        self,
        model: Path,
        target: "Target",
        out: Path,
        progress: "Progress",
        timing_cache: Path | None = None,
        largest_batch: int = 256,
    ) -> BuiltEngine:
        """Build an engine of a model that is typed for its precision; the file appears whole or not at all.

        Raises:
            ConfigError: The builder is not installed, or does not build for the target.
            ModelError: The model cannot be read or built.
            DeviceError: Building requires a GPU, and there is none.
        """
        ...


@dataclass(frozen=True)
class Completed:
    """Result of a command on a device: its exit code and its output."""

    code: int
    stdout: bytes
    stderr: bytes


class LinkLost(DeviceError):  # noqa: N818 (what happened to the link)
    """A device that answered before no longer does; a retry may help, and work begun there may continue."""


class Transport(Protocol):
    """Connection to a device.

    `name` is the name the user gave; `replay` names the recorded board that stands in for it, None for a device.
    """

    name: str
    replay: str | None

    def run(self, script: str, timeout_s: float = 60.0) -> Completed:
        """Run a POSIX shell script on the device, in the home folder.

        Raises:
            LinkLost: The link dropped, or the device stopped answering.
            DeviceError: It cannot be reached. Any exit code of the script itself is a result.
        """
        ...

    def put(self, source: Path, path: str) -> None:
        """Copy a file to the device, resuming a partial copy; verified by its hash.

        Args:
            source: Local path.
            path: Path on the device, absolute or below the home folder.

        Raises:
            DeviceError: It cannot be reached, or its disk is full.
        """
        ...

    def get(self, path: str, target: Path) -> None:
        """Copy a file from the device, whole or not at all; verified by its hash.

        Raises:
            DeviceError: It cannot be reached, or the file does not exist.
        """
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


Advance = Callable[[int, str], None]


class Progress(Protocol):
    """Receiver of progress reports: a terminal, a log, or nothing."""

    def stage(self, title: str, reused: bool = False) -> None:
        """Report that a stage begins, or was already finished."""
        ...

    def note(self, text: str) -> None:
        """Report a remark in one line."""
        ...

    def track(self, label: str, total: int) -> AbstractContextManager[Advance]:
        """Report work of `total` steps; call the result with (steps done now, short text)."""
        ...


class NullProgress:
    """Progress that discards every report."""

    def stage(self, title: str, reused: bool = False) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""

    @contextmanager
    def track(self, label: str, total: int) -> Iterator[Advance]:
        """Do nothing."""
        del label, total
        yield lambda _steps, _text: None
