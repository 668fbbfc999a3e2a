"""A bundle's folder on a device over an unreliable link: every request can be repeated."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TypeVar

from edgeprune.device.bundle import Manifest
from edgeprune.device.probe import probe, refuse
from edgeprune.errors import DeviceError
from edgeprune.protocols import LinkLost, Progress, Transport

_BASE = ".cache/edgeprune/work"
_KEPT = 3
_FAR_OFF_S = 300.0
_UNPACK_S = 600.0
_STOP_S = 90.0
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Patience:
    """Time limits, in seconds.

    Attributes:
        poll_s: Interval between two polls during progress; longer while nothing happens.
        link_s: Time for a dropped link to return.
        lease_s: Time without polls after which the device stops by itself; more than `link_s`.
        lock_s: Time to wait for others who hold the device.
        restarts: Maximum number of restarts of a run that died.
    """

    poll_s: float = 4.0
    link_s: float = 600.0
    lease_s: int = 900
    lock_s: int = 1800
    restarts: int = 3


@dataclass(frozen=True)
class RunState:
    """State of a bundle on a device.

    Attributes:
        there: Whether the whole bundle is on the device.
        alive: Whether it runs.
        packed: Whether its result is ready.
        status: Last status line, '' before the first: see `run.sh`.
    """

    there: bool
    alive: bool = False
    packed: bool = False
    status: str = ""

    @property
    def word(self) -> str:
        """'running', 'waiting', 'done', 'failed', 'refused', 'busy' or 'stopped'."""
        return self.status.partition(" ")[0]

    @property
    def rest(self) -> str:
        """Rest of the status line after its first word."""
        return self.status.partition(" ")[2]

    @property
    def step(self) -> tuple[int, int, str] | None:
        """Number of the step that runs, of how many, and its name."""
        words = self.status.split()
        if len(words) == 5 and words[0] == "running" and words[1].isdigit() and words[3].isdigit():
            return int(words[1]), int(words[3]), words[4]
        return None


@dataclass
class RemoteRun:
    """A bundle on a device.

    `clock` returns seconds since a fixed moment, `sleep` waits for a number of seconds.
    """

    transport: Transport
    bundle: Path
    manifest: Manifest
    progress: Progress
    patience: Patience
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    asked: int = field(default=0, init=False)

    @property
    def work(self) -> str:
        """Folder of this bundle on the device, below the home folder."""
        return f"{_BASE}/{self.manifest.id[:16]}"

    @property
    def folder(self) -> str:
        """Folder in which the bundle is unpacked."""
        return f"{self.work}/{self.manifest.folder}"

    def state(self) -> RunState:
        """Poll the state; this also renews the lease of the run."""
        self.asked += 1
        token = f"{self.asked}-{self.clock():.3f}"
        said = self.script(
            f"cd {quote(self.folder)} 2>/dev/null || exit 0\n"
            f"[ -f .whole ] || exit 0\necho {quote(token)} >lease\nsh run.sh state"
        )
        lines = said.splitlines()
        if not lines:
            return RunState(there=False)
        status = lines[2].strip() if len(lines) > 2 else ""
        return RunState(True, lines[0] == "alive", lines[1:2] == ["packed"], status)

    def prepare(self, state: RunState) -> None:
        """Look whether the device will do, and bring the bundle there.

        Raises:
            DeviceError: It will not do.
        """
        facts = self.persist(lambda: probe(self.transport))
        refuse(facts, self.manifest.needs)
        if facts.clock_offset_s is not None and abs(facts.clock_offset_s) > _FAR_OFF_S:
            self.progress.note(f"the clock of {self.transport.name} is off by {facts.clock_offset_s:+.0f} s")
        if state.there and self.whole():
            return
        free = facts.disk_free_bytes
        if free is not None and free < self.manifest.need_bytes:
            raise DeviceError(
                f"{free >> 20} MiB are free on {self.transport.name}; {self.manifest.need_bytes >> 20} MiB are needed",
                "Make room there",
            )
        tar, folder = f"{self.work}/bundle.tar", quote(self.manifest.folder)
        self.persist(lambda: self.transport.put(self.bundle, tar))
        self.script(
            f"cd {quote(self.work)} || exit\nif [ -f {folder}/.whole ] && [ ! -f bundle.tar ]; then exit 0; fi\n"
            f"rm -rf {folder} && tar xf bundle.tar && touch {folder}/.whole && rm -f bundle.tar",
            _UNPACK_S,
        )

    def whole(self) -> bool:
        """Return whether the bundle on the device is unchanged."""
        said = self.script(f"cd {quote(self.folder)} && sha256sum -c SHA256SUMS >/dev/null 2>&1 && echo whole; true")
        return said.strip() == "whole"

    def begin(self) -> None:
        """Start the run on the device, independent of the link."""
        settings = f"LEASE_S={self.patience.lease_s} LOCK_WAIT_S={self.patience.lock_s}"
        self.script(
            f"touch {quote(self.work)}; cd {quote(self.folder)} || exit\n"
            f"{settings} nohup setsid sh run.sh >run.log 2>&1 </dev/null &\n"
            "for _ in 1 2 3 4 5 6 7 8 9 10; do [ -L run.pid ] || sleep 0.2; done; true"
        )

    def fetch(self, state: RunState, out: Path, also: Mapping[str, Path]) -> Path:
        """Bring the result here, and tidy up there: a finished one is not measured twice by mistake."""
        target = out / self.manifest.result
        there = f"{self.work}/{self.manifest.result}"
        out.mkdir(parents=True, exist_ok=True)
        self.persist(lambda: self.transport.get(there, target))
        for path, here in also.items() if state.word == "done" else ():
            self.persist(partial(self.transport.get, f"{self.folder}/{path}", here))
        done = f"rm -rf {quote(self.folder)}/result" if state.word == "done" else "true"
        self.script(
            f"rm -f {quote(there)}; {done}; cd {_BASE} || exit\n"
            # Old ones go; those that run have a link that names their process.
            f"ls -t | sed 1,{_KEPT}d | while read -r old; do\n"
            '  found=; for link in "$old"/*/run.pid; do if [ -L "$link" ]; then found=yes; fi; done\n'
            '  [ -n "$found" ] || rm -rf "./$old"\ndone; true'
        )
        return target

    def stop(self) -> None:
        """End it there; returns when its processes are gone, the power state is restored and the device is free."""
        there = f"cd {quote(self.folder)} && sh run.sh"
        if self.transport.run(f"{there} state").stdout.startswith(b"alive"):
            self.progress.note(f"stopping what runs on {self.transport.name}")
            self.transport.run(f"{there} stop", _STOP_S)

    def script(self, script: str, timeout_s: float = 60.0) -> str:
        """Run a script that may be repeated and must not fail, and return its output.

        Raises:
            DeviceError: It failed, or the link did not return.
        """
        done = self.persist(lambda: self.transport.run(script, timeout_s))
        if done.code != 0:
            said = " ".join(done.stderr.decode(errors="replace").split())[:300]
            hint = "Make room there" if "No space left" in said else ""
            raise DeviceError(f"{self.transport.name} cannot go on: {said or f'exit code {done.code}'}", hint)
        return done.stdout.decode(errors="replace")

    def persist(self, ask: Callable[[], Answer]) -> Answer:
        """Ask again, ever less often, while the link is lost.

        Raises:
            LinkLost: It did not return in time.
        """
        began, pause = self.clock(), 1.0
        lost = False
        while True:
            try:
                answer = ask()
            except LinkLost as error:
                if not lost:
                    self.progress.note(f"{error.message}; trying again")
                lost = True
                if self.clock() - began > self.patience.link_s:
                    raise LinkLost(
                        error.message, "The run on the device continues for a while: run the same command again to join"
                    ) from error
                self.sleep(pause)
                pause = min(2 * pause, 30.0)
            else:
                if lost:
                    self.progress.note(f"{self.transport.name} is reachable again")
                return answer
