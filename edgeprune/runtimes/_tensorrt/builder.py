"""Settings of one build with NVIDIA's packages, and the messages of their parser."""

import logging
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from edgeprune.errors import ConfigError, EdgepruneError, ModelError
from edgeprune.network.cards import Card
from edgeprune.protocols import Advance, Progress
from edgeprune.targets import Target


def parser_error(error: Any) -> str:
    """Message of the parser, with the node if it names one."""
    name, operator, number = error.node_name(), error.node_operator(), error.node()
    place = f"node {number} ({' '.join(part for part in (operator, name) if part)}): " if operator else ""
    said = str(error.desc())
    detail = f": {said.rstrip('. ')}" if " " in said else ""  # of an operator it does not know it says 'false'
    return f"{place}{error.code().name.lower().replace('_', ' ')}{detail}"


def add_profile(builder: Any, config: Any, network: Any, largest_batch: int, model: Path) -> tuple[int, int]:
    """Set how many frames an engine accepts at once, if the model leaves it open.

    Returns:
        The smallest and the largest batch.

    Raises:
        ModelError: A dimension other than the batch is left open.
    """
    profile, open_batch, least, most = builder.create_optimization_profile(), False, 1, largest_batch
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        batch, *rest = tuple(tensor.shape)
        if min(rest, default=1) < 1:
            raise ModelError(
                f"{model.name} leaves the shape {tuple(tensor.shape)} of {tensor.name} open; only the batch may be"
            )
        if batch < 0:
            open_batch = True
            profile.set_shape(tensor.name, (least, *rest), (least, *rest), (most, *rest))
        else:
            least = most = batch
    if open_batch:
        config.add_optimization_profile(profile)
    return least, most


def capability_of(library: Any, target: Target) -> Any:
    """GPUs of a target in the package's terms, independent of this machine's.

    Raises:
        ConfigError: The package does not support them.
    """
    members = library.ComputeCapability.__members__
    wanted = f"SM{str(target.compute_capability).replace('.', '')}"
    if wanted not in members:
        raise ConfigError(
            f"compute capability {target.compute_capability} cannot be built for here",
            f"Allowed: {', '.join(_capabilities(library))}",
        )
    return members[wanted]


def _capabilities(library: Any) -> list[str]:
    """Compute capabilities that TensorRT-RTX supports."""
    return [f"{name[2:-1]}.{name[-1]}" for name in library.ComputeCapability.__members__ if name.startswith("SM")]


def refused(name: str, library: Any, card: Card) -> str | None:
    """Reason why a package does not support a card, in one line; None if it does, as far as it tells.

    TensorRT-RTX lists the compute capabilities that it supports. TensorRT lists none: its release notes say that 10.5
    dropped those below 7.5, and 10.0 those below 7.0.
    """
    version = str(library.__version__)
    about = f"{card.name} has compute capability {card.capability}"
    if name == "tensorrt-rtx":
        known = _capabilities(library)
        return None if card.capability in known else f"{about}, and TensorRT-RTX {version} takes {', '.join(known)}"
    lowest = (7, 5) if _numbers(version)[:2] >= (10, 5) else (7, 0)
    if _numbers(card.capability) >= lowest:
        return None
    return f"{about}, and TensorRT {version} takes {lowest[0]}.{lowest[1]} and higher"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def read_timing_cache(config: Any, path: Path | None, progress: Progress) -> Any:
    """Use the tactics in a file, if they are for this GPU and version; without a file there is no cache."""
    if path is None:
        return None
    content = b""
    with suppress(FileNotFoundError):
        content = path.read_bytes()
    cache = config.create_timing_cache(content)
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        progress.note(f"{path.name} is of another GPU or version; measuring anew")
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


_START = struct.Struct("<4sIQQ4B")
_MAGIC = {"tensorrt": b"ftrt", "tensorrt-rtx": b"vtrt"}


def check_header(engine: bytes, runtime: str, version: str) -> None:
    """Check that an engine begins as its library's engines do; for TensorRT-RTX also its length and version.

    Args:
        engine: The bytes to write.
        runtime: 'tensorrt' or 'tensorrt-rtx'.
        version: Version of the library that built it.

    Raises:
        EdgepruneError: It does not begin like that.
    """
    if len(engine) < _START.size:
        raise EdgepruneError(f"the engine has {len(engine)} bytes, fewer than its header", "Build it again")
    magic, _, _, length, *built_with = _START.unpack_from(engine)
    if magic != _MAGIC[runtime]:
        raise EdgepruneError(f"the engine begins with {magic!r}; {_MAGIC[runtime]!r} is due", "Build it again")
    if runtime == "tensorrt-rtx":
        numbers = [int(part) for part in version.split(".")]
        if length != len(engine) or built_with[: len(numbers)] != numbers:
            found = ".".join(map(str, built_with))
            raise EdgepruneError(
                f"the engine's header says {length} bytes by version {found}; it has {len(engine)} by {version}",
                "Build it again",
            )


_LOG = logging.getLogger("tensorrt")


def log_of(library: Any) -> Any:
    """Build a logger for one of NVIDIA's packages that forwards to Python's and keeps the errors.

    Its `reason()` is the last error in one line, '' without one.
    """
    levels = {
        library.ILogger.Severity.INTERNAL_ERROR: logging.ERROR,
        library.ILogger.Severity.ERROR: logging.ERROR,
        library.ILogger.Severity.WARNING: logging.WARNING,
    }

    class Log(library.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            level = levels.get(severity, logging.DEBUG)
            if level == logging.ERROR:
                self.errors.append(" ".join(text.split()))
            _LOG.debug(text)

        def reason(self) -> str:
            return self.errors[-1][:300].rstrip(". ") if self.errors else ""

    return Log()


@contextmanager
def monitor_of(library: Any, progress: Progress, label: str) -> Iterator[Any]:
    """Build a progress monitor for one build: the bar is its outermost phase, the text its current one."""
    with ExitStack() as open_bars:

        class Monitor(library.IProgressMonitor):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.outermost = ""
                self.phases: list[str] = []
                self.advance: Advance | None = None

            def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
                if parent is None and self.advance is None:
                    self.outermost = phase
                    self.advance = open_bars.enter_context(progress.track(label, steps))
                self.phases.append(phase)

            def step_complete(self, phase: str, _step: int) -> bool:
                if phase == self.outermost and self.advance is not None:
                    self.advance(1, self.phases[-1] if self.phases else "")
                return True

            def phase_finish(self, phase: str) -> None:
                if phase in self.phases:
                    self.phases.remove(phase)

        yield Monitor()
