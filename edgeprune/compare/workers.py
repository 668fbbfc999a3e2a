"""Work in this process, item by item, or on Ray's workers, where a worker that dies costs one item.

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
_STORE_BYTES = 100_000_000  # workers read and write files, so that nothing large passes through Ray's store
_WAIT_S = 1.0
_REACH_S = 10.0

Function = Callable[[Any, Progress, int], str]


@dataclass(frozen=True)
class WorkItem:
    """One item of work.

    Attributes:
        name: Name on the terminal and in Ray.
        function: Called with `argument`, a progress and the number of threads to use (0: PyTorch's default). Returns
            its outcome in one line; must not raise.
        argument: Argument of the function; must be picklable.
    """

    name: str
    function: Function
    argument: Any


@dataclass(frozen=True)
class Workers:
    """Number and kind of workers.

    Attributes:
        workers: Number of workers; 0 is this process, None one for each core of the machine or cluster.
        address: Address of a Ray cluster, or None for this machine.
        threads: PyTorch threads of each Ray worker; None divides the cores of this machine, and is 1 on a cluster.
        compute: Device on which networks run: 'auto', 'cpu' or 'cuda', of which Ray gives each worker a share, or
            'cuda:N' without Ray.
    """

    workers: int | None = None
    address: str | None = None
    threads: int | None = None
    compute: str = "cpu"

    def check(self) -> None:
        """Check before any work that Ray is available if it is needed.

        Raises:
            ConfigError: Ray is not installed, a cluster was named together with `workers=0`, or `compute` is not
                available.
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
    """Do every item of work; an item that is lost with its worker is tried again.

    Args:
        pieces: Items in the order in which they are started.
        pool: The workers.
        progress: Reporter of the outcome of each item, and each loss of a worker.
        label: Noun for one item in messages.

    Returns:
        For each item that could not be done, its name and the reason.

    Raises:
        ConfigError: Ray is missing, or there is no cluster at the address.
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
            return _RayTasks(ray, workers, _gpus(ray, pool, workers), _threads(pool, workers), progress, advance).do(
                pieces
            )


class _RayTasks:
    """Distribution of work over Ray's workers."""

    def __init__(self, ray: Any, workers: int, gpus: float, threads: int, progress: Progress, advance: Advance) -> None:
        self._ray, self._workers, self._threads = ray, workers, threads
        self._progress, self._advance = progress, advance
        self._remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_call)

    def do(self, pieces: Sequence[WorkItem]) -> dict[str, str]:
        """Keep every worker busy until each item is done or given up."""
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
        """Return None if the item is done, otherwise how its worker was lost."""
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
    """Start Ray on this machine or connect to it at an address, and shut the connection down afterwards.

    Yields:
        Ray and the number of its workers.

    Raises:
        ConfigError: Ray cannot be started, or nothing listens at the address.
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
    """Check that something listens at host:port; Ray itself takes minutes to find out.

    Raises:
        OSError: Nothing listens.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S).close()


def _gpus(ray: Any, pool: Workers, workers: int) -> float:
    """Divide the GPUs that Ray knows among the workers: a whole number each, or a fraction of one.

    Raises:
        ConfigError: A GPU is required, and there is none.
    """
    known = 0.0 if pool.compute == "cpu" else ray.cluster_resources().get("GPU", 0.0)
    if pool.compute == "cuda" and not known:
        raise ConfigError("`compute='cuda'` asks for a GPU, and Ray knows of none", "Use `compute='cpu'`, or auto")
    return share(known, workers)


def share(gpus: float, workers: int) -> float:
    """Number of GPUs for each worker, as Ray counts them: whole ones, or thousandths of one."""
    each = gpus / workers
    return float(int(each)) if each >= 1 else int(each * 1000) / 1000


def _threads(pool: Workers, workers: int) -> int:
    if pool.threads is not None:
        return pool.threads
    return 1 if pool.address else max(1, _cores() // workers)


def _cores() -> int:
    """Count the cores that this process may use."""
    return max(1, int(float(machine.facts({})["usable_cores"])))


def _ray_is_installed() -> bool:
    return find_spec("ray") is not None
