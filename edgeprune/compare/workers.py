"""Who does the work: this process, one piece after the other, or Ray's workers, of which one that dies costs one piece.

The only module that imports Ray, and only when it is used.
"""

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from edgeprune.bench import machine
from edgeprune.errors import ConfigError, reason_of
from edgeprune.network.cards import choose
from edgeprune.protocols import Advance, NullProgress, Progress

MOST_TRIES = 3
_STORE_BYTES = 100_000_000  # nothing large is handed over: workers read and write files
_WAIT_S = 1.0
_REACH_S = 10.0

Function = Callable[[Any, Progress, int], str]


@dataclass(frozen=True)
class WorkItem:
    """A piece of work.

    Attributes:
        name: Names it on the terminal and to Ray.
        function: Called with `argument`, a progress and the number of threads to use (0: as many as it likes). Returns
            one line that says how it went; must not raise.
        argument: Can be pickled.
    """

    name: str
    function: Function
    argument: Any


@dataclass(frozen=True)
class Workers:
    """Who works.

    Attributes:
        workers: How many at a time; 0 is this process, None as many as the machine or cluster has cores.
        address: Address of a Ray cluster, or None for this machine.
        threads: PyTorch threads of each Ray worker; None divides the cores of this machine, and is 1 on a cluster.
        compute: Where networks run: 'auto', 'cpu' or 'cuda', of which Ray gives each worker its share; 'cuda:N' without
            Ray.
    """

    workers: int | None = None
    address: str | None = None
    threads: int | None = None
    compute: str = "cpu"

    def check(self) -> None:
        """Find out before any work whether Ray is there if it was asked for.

        Raises:
            ConfigError: It is not installed, a cluster was named with no workers on it, or `compute` is not there.
            DeviceError: There is a GPU, but its driver or PyTorch does not run it.
        """
        if self.workers == 0 and self.address is not None:
            raise ConfigError("`workers=0` works in this process and takes no `ray_address`", "Give one of them")
        if (self.workers or self.address) and not _ray_is_installed():
            raise ConfigError(
                "Ray is not installed", "Install it with: pip install 'edgeprune[ray]', or use `workers=0`"
            )

        if self.address is None:
            choose(self.compute)
        if not self.in_process and ":" in self.compute:
            raise ConfigError(
                f"`compute={self.compute}` names one GPU, and Ray shares them out to its workers",
                "Use `compute='cuda'`, or `workers=0`",
            )

    @property
    def in_process(self) -> bool:
        """Whether this process does the work itself."""
        return self.workers == 0 or not _ray_is_installed()


def work(pieces: Sequence[WorkItem], pool: Workers, progress: Progress, label: str) -> dict[str, str]:
    """Do every piece; one that is lost with its worker is done again.

    Args:
        pieces: In the order they are begun.
        pool: Who does them.
        progress: Told how each went, and of each that was lost.
        label: What they are.

    Returns:
        Why the pieces that could not be done were not, by name.

    Raises:
        ConfigError: No Ray, or no cluster at the address.
    """
    if not pieces:
        return {}
    if pool.in_process:
        for number, piece in enumerate(pieces, start=1):
            progress.stage(f"{label} {number} of {len(pieces)}: {piece.name}")
            progress.note(piece.function(piece.argument, progress, 0))
        return {}
    with _ray(pool, len(pieces)) as (ray, workers):
        progress.stage(f"{len(pieces)} {label}s on {workers} worker{'' if workers == 1 else 's'}")
        with progress.track(f"{label}s", len(pieces)) as advance:
            return _Hands(ray, workers, _gpus(ray, pool, workers), _threads(pool, workers), progress, advance).do(
                pieces
            )


class _Hands:
    """Ray's workers at work."""

    def __init__(self, ray: Any, workers: int, gpus: float, threads: int, progress: Progress, advance: Advance) -> None:
        self._ray, self._workers, self._threads = ray, workers, threads
        self._progress, self._advance = progress, advance
        self._remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_call)

    def do(self, pieces: Sequence[WorkItem]) -> dict[str, str]:
        """Keep every worker busy until all pieces are done or given up."""
        waiting, tries = list(pieces), Counter[str]()
        running: dict[Any, WorkItem] = {}
        lost: dict[str, str] = {}
        while waiting or running:
            while waiting and len(running) < self._workers:
                piece = waiting.pop(0)
                tries[piece.name] += 1
                task = self._remote.options(name=piece.name)
                running[task.remote(piece.function, piece.argument, self._threads)] = piece
            finished, _ = self._ray.wait(list(running), num_returns=1, timeout=_WAIT_S)
            for reference in finished:
                piece = running.pop(reference)
                reason = self._end(piece, reference)
                if reason is None:
                    continue
                if tries[piece.name] < MOST_TRIES:
                    self._progress.note(f"{piece.name}: {reason}; trying again")
                    waiting.insert(0, piece)
                else:
                    lost[piece.name] = f"{reason}, {MOST_TRIES} times in a row"
                    self._advance(1, f"{piece.name} was lost")
        return lost

    def _end(self, piece: WorkItem, reference: Any) -> str | None:
        """None when the piece is done, otherwise how its worker was lost."""
        errors = self._ray.exceptions
        try:
            said = self._ray.get(reference)
        except errors.RayTaskError:
            raise
        except errors.OutOfMemoryError:
            return "its worker was out of memory"
        except errors.RayError as error:
            return f"its worker died ({type(error).__name__})"
        self._progress.note(f"{piece.name}: {said}")
        self._advance(1, "")
        return None


def _call(function: Function, argument: Any, threads: int) -> str:
    return function(argument, NullProgress(), threads)


@contextmanager
def _ray(pool: Workers, pieces: int) -> Iterator[tuple[Any, int]]:
    """Ray and the number of its workers, started on this machine or met at an address; let go of afterwards.

    Raises:
        ConfigError: It cannot be started, or nothing answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ConfigError(
            f"Ray cannot be loaded: {reason_of(error)}", "Install it again, or use `workers=0`"
        ) from error
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if pool.address is None:
            workers = min(pool.workers or _cores(), pieces)
            ray.init("local", num_cpus=workers, object_store_memory=_STORE_BYTES, include_dashboard=False, **quiet)
        else:
            _reach(pool.address)
            ray.init(pool.address, **quiet)
            workers = min(pool.workers or max(1, int(ray.cluster_resources().get("CPU", 1))), pieces)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = f"at {pool.address}" if pool.address else "on this machine"
        hint = "Look whether a cluster runs there and RAY_AUTH_MODE is as it wants, or use" if pool.address else "Use"
        raise ConfigError(f"Ray cannot be reached {where}: {reason_of(error)}", f"{hint} `workers=0`") from error
    try:
        yield ray, workers
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Find out in seconds what takes Ray minutes: whether anything listens at host:port.

    Raises:
        OSError: Nothing does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S).close()


def _gpus(ray: Any, pool: Workers, workers: int) -> float:
    """The GPUs of a worker: its share of those that Ray knows, a whole number or a part of one.

    Raises:
        ConfigError: It is to compute on one, and there is none.
    """
    known = 0.0 if pool.compute == "cpu" else ray.cluster_resources().get("GPU", 0.0)
    if pool.compute == "cuda" and not known:
        raise ConfigError("`compute='cuda'` asks for a GPU, and Ray knows of none", "Use `compute='cpu'`, or auto")
    return share(known, workers)


def share(gpus: float, workers: int) -> float:
    """How many GPUs each of some workers gets, as Ray counts them: whole ones, or thousandths of one."""
    each = gpus / workers
    return float(int(each)) if each >= 1 else int(each * 1000) / 1000


def _threads(pool: Workers, workers: int) -> int:
    if pool.threads is not None:
        return pool.threads
    return 1 if pool.address else max(1, _cores() // workers)


def _cores() -> int:
    """Cores that this process may use."""
    return max(1, int(float(machine.facts({})["usable_cores"])))


def _ray_is_installed() -> bool:
    return find_spec("ray") is not None
