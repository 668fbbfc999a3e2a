"""The few interfaces that let a part be replaced: each is one to four methods, and a reason."""

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
    """A way to build untrained networks; a file in `models/` holds one as `family`."""

    names: tuple[str, ...]

    def build(self, name: str, channels: int, length: int, classes: int) -> "nn.Module":
        """Build the network `name` for frames (N, channels, length), with fresh weights."""
        ...


class DatasetFormat(Protocol):
    """A file format; a file in `datasets/` holds one as `dataset`."""

    suffixes: tuple[str, ...]

    def read(self, path: Path) -> Frames:
        """Read every frame. Raises DataError for anything that is not what the format promises."""
        ...


class FrameSource(Protocol):
    """Frames that are read when asked for, since a file may be larger than memory."""

    @property
    def table(self) -> FrameTable:
        """Labels and all else that is known of the frames."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done or assumed in reading, one sentence each."""
        ...

    @property
    def skipped(self) -> tuple[str, ...]:
        """Files that were left out, each with the reason."""
        ...

    @property
    def forward_only(self) -> bool:
        """Whether reading back takes as long as reading all before it, as in a text file."""
        ...

    def read(self, start: int, stop: int) -> "npt.NDArray[np.float32]":
        """Samples of the frames start to stop, (stop - start, channels, length); reading onwards is the fastest."""
        ...

    def sha256(self) -> str:
        """SHA-256 of the file, or of the names and hashes of several."""
        ...


@runtime_checkable
class StreamedFormat(DatasetFormat, Protocol):
    """A file format that can also be read a few frames at a time.

    Several may share a suffix; '/' stands for a folder.
    """

    def recognises(self, path: Path) -> bool:
        """Whether a file with one of the suffixes is of this format."""
        ...

    def open(self, path: Path, reading: Reading) -> AbstractContextManager[FrameSource]:
        """The frames of a file for use within a `with` block."""
        ...


class SimilarityMetric(Protocol):
    """Compares what units make of the same frames; a file in `similarity/` holds one as `metric`.

    A metric sees each unit's activations of one batch once, turns them into a summary small enough to keep for all
    units at a time, and compares summaries, so that activations are never stored. It computes where they are.
    """

    def summarise(self, activations: "Tensor") -> "Tensor":
        """Turn activations (n, ...) of one unit on one batch into a summary."""
        ...

    def products(self, summaries: "Sequence[Tensor]") -> "Tensor":
        """Inner products of all pairs of summaries, (L, L) float64; averaged over batches before `finish`."""
        ...

    def finish(self, products: "Tensor") -> "Tensor":
        """Turn mean inner products (L, L) into similarities (L, L), 1 on the diagonal."""
        ...


@dataclass(frozen=True)
class Labelled:
    """Normalised frames (N, channels, length) float32 and their classes (N,) int64."""

    iq: "Tensor"
    labels: "Tensor"


@dataclass(frozen=True)
class Subject:
    """The network whose units are judged, and what a judgement may use.

    Attributes:
        model: The network the chain was found in, in eval mode, where it is to be computed. To be left as it was.
        chain: Its units.
        shape: Shape of its frames.
        train: Frames to learn from, in main memory: `network.compute.beside` brings a batch of them to the network.
        validation: Frames to choose by, in main memory; never the test split.
        seed: Random seed.
        progress: Told of long work.
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
        """Score every droppable unit, more is better; leaves the model as it was."""
        ...


@runtime_checkable
class Search(Criterion, Protocol):
    """A criterion that judges whole sets of units where the sum of single scores would not do."""

    def choose(self, subject: Subject, segments: Sequence[Sequence[int]], counts: Sequence[int]) -> frozenset[int]:
        """The units that stay: of the droppable units in each segment, as many as its count."""
        ...


class Session(Protocol):
    """A loaded model that can be run; a runtime makes them.

    `metadata` is what the model file says of itself.
    """

    metadata: dict[str, str]

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Channels and length of a frame."""
        ...

    def run(self, iq: "npt.NDArray[np.float32]") -> "npt.NDArray[np.float32]":
        """Logits (N, classes) of raw frames (N, channels, length)."""
        ...

    def time(self, iq: "npt.NDArray[np.float32]", count: int) -> "npt.NDArray[np.float64]":
        """Run one batch (N, channels, length) `count` times; milliseconds of each, (count,)."""
        ...


class Runtime(Protocol):
    """What executes an exported model; a file in `runtimes/` holds one as `runtime`.

    `mode` says in words what a session times: 'sync, session.run, host memory'.
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
    """What executes a model on a device; a file in `runtimes/` holds one as `runtime`.

    It says what is to be run there and reads what came back; getting there is a `Transport`'s.
    """

    name: str

    def facts(self) -> dict[str, Any]:
        """What can be said of it without a device: its name, and which versions it knows."""
        ...

    def files(self) -> "dict[str, str]":
        """Text files that its steps need on the device, by their path in the bundle."""
        ...

    def plans(self, work: Assignment) -> tuple[Plan, ...]:
        """What to run, for each version of its tool that it knows, lowest first."""
        ...

    def read(self, work: Assignment, bundle: Path, version: int) -> DeviceMeasurement:
        """Read what the steps left in a bundle's folder, by the tool of that version.

        Raises:
            DeviceError: A step failed, or what it left is not what it should be.
        """
        ...


@runtime_checkable
class EngineBuilder(Protocol):
    """What builds engines on this machine; the `runtime` of some files in `runtimes/` is one."""

    name: str

    def require(self, target: "Target") -> None:
        """Find out before long work whether an engine for a target can be built here.

        Raises:
            ConfigError: What builds is not installed, or does not build for the target.
            DeviceError: Building asks for a GPU, and there is none that it takes.
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
            ConfigError: What builds is not installed, or does not build for the target.
            ModelError: The model cannot be read or built.
            DeviceError: Building asks for a GPU, and there is none.
        """
        ...


@dataclass(frozen=True)
class Completed:
    """How a command on a device ended: its exit code and what it printed."""

    code: int
    stdout: bytes
    stderr: bytes


class LinkLost(DeviceError):  # noqa: N818 (what happened to the link)
    """A device that answered before does not now; asking again may help, and what was begun there may go on."""


class Transport(Protocol):
    """A way to a device.

    `name` is what the user called it; `replay` names the recorded board that plays it, None for a device.
    """

    name: str
    replay: str | None

    def run(self, script: str, timeout_s: float = 60.0) -> Completed:
        """Run a POSIX shell script there, in the home folder.

        Raises:
            LinkLost: The link dropped, or the device stopped answering.
            DeviceError: It cannot be reached. Any exit code of the script itself is an answer.
        """
        ...

    def put(self, source: Path, path: str) -> None:
        """Copy a file there, continuing one that was begun; checked by its hash.

        Args:
            source: Here.
            path: There, absolute or below the home folder.

        Raises:
            DeviceError: It cannot be reached, or there is no room.
        """
        ...

    def get(self, path: str, target: Path) -> None:
        """Copy a file from there, whole or not at all; checked by its hash.

        Raises:
            DeviceError: It cannot be reached, or the file is not there.
        """
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


Advance = Callable[[int, str], None]


class Progress(Protocol):
    """Where long work says how far it is: a terminal, a log, or nowhere."""

    def stage(self, title: str, reused: bool = False) -> None:
        """A new stage begins, or was found finished."""
        ...

    def note(self, text: str) -> None:
        """One line worth keeping."""
        ...

    def track(self, label: str, total: int) -> AbstractContextManager[Advance]:
        """Work of `total` steps; call the result with (steps done now, short text)."""
        ...


class NullProgress:
    """Progress that nobody watches."""

    def stage(self, title: str, reused: bool = False) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    @contextmanager
    def track(self, label: str, total: int) -> Iterator[Advance]:
        """Say nothing."""
        del label, total
        yield lambda _steps, _text: None
