"""Run of a bundle on a device: copied, started in the background, polled, and its result fetched.

The run does not need the link. It continues if the link drops, stops by itself after a long time without polls, and
after a restart of the board is started again to continue where it was.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from shlex import quote

from edgeprune.device.bundle import read_manifest
from edgeprune.device.remote import Patience, RemoteRun, RunState
from edgeprune.errors import DeviceError
from edgeprune.protocols import Advance, LinkLost, Progress, Transport

_FULL_KIB = 1024
_RAREST_POLL_S = 10.0


def run_bundle(
    transport: Transport,
    bundle: Path,
    out: Path,
    progress: Progress,
    patience: Patience | None = None,
    *,
    also: Mapping[str, Path] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Run a bundle on a device; a run in progress is joined, and a stopped one is continued.

    Args:
        transport: Transport to the device.
        bundle: The tar.
        out: Folder for the result.
        progress: Reporter of the progress.
        patience: Time limits.
        also: Additional files to fetch from the bundle's folder, each with its path here.
        clock: Returns seconds since a fixed moment.
        sleep: Waits for a number of seconds.

    Returns:
        The result's tar, of a finished run or one in which a step failed.

    Raises:
        ConfigError: `bundle` is not a bundle.
        DeviceError: The device cannot be reached, does not meet the requirements, or is held by others for too long,
            or the run keeps dying.
    """
    remote = RemoteRun(transport, bundle, read_manifest(bundle), progress, patience or Patience(), clock, sleep)
    begun = False
    try:
        state = remote.state()
        begun = state.alive
        if not state.alive and not (state.word == "done" and state.packed):
            remote.prepare(state)
            begun = True
            remote.begin()
        elif state.alive:
            progress.note(f"{transport.name} is at work on this already: joining")
        return remote.fetch(_poll(remote), out, also or {})
    except LinkLost:
        raise
    except BaseException:
        if begun:
            with contextlib.suppress(DeviceError):
                remote.stop()
        raise


def _poll(remote: RemoteRun) -> RunState:
    """Watch it until it ends.

    Raises:
        DeviceError: It was refused, or died too often.
    """
    deaths = 0
    with contextlib.ExitStack() as stack:
        advance: Advance | None = None
        shown, waiting = 0, ""
        seen, pause = "", remote.patience.poll_s
        while True:
            state = remote.state()
            if not state.alive:
                if state.word in ("done", "failed") and state.packed:
                    return state
                _give_up(remote, state, deaths)
                deaths += 1
                remote.progress.note(f"{remote.transport.name} stopped ({state.status or 'no word'}); starting again")
                remote.begin()
            elif state.word == "waiting" and state.status != waiting:
                waiting = state.status
                remote.progress.note(f"{remote.transport.name} is {state.status}")
            elif state.step is not None:
                number, total, name = state.step
                if advance is None:
                    advance = stack.enter_context(remote.progress.track(f"On {remote.transport.name}", total))
                if number > shown:
                    advance(number - shown, name)
                    shown = number
            # Every poll disturbs the measurement a little.
            pause = remote.patience.poll_s if state.status != seen else min(1.5 * pause, _RAREST_POLL_S)
            seen = state.status
            remote.sleep(pause)


def _give_up(remote: RemoteRun, state: RunState, deaths: int) -> None:
    """Raises DeviceError where starting again would not help."""
    name = remote.transport.name
    if state.word == "refused":
        raise DeviceError(f"{name}: {state.rest}")
    if state.word == "busy":
        raise DeviceError(f"{name}: {state.rest}", "Wait until it ends")
    said = remote.script(
        f"cd {quote(remote.folder)} || exit 0\n"
        "printf '%s\\n' \"$(tail -n 1 run.log)\"; df -Pk . | awk 'END { print $4 }'"
    )
    last, _, free = said.rstrip("\n").rpartition("\n")
    if free.isdigit() and int(free) < _FULL_KIB:
        raise DeviceError(f"the disk of {name} is full", "Make room there; what was measured is kept")
    if deaths >= remote.patience.restarts:
        raise DeviceError(
            f"{name} stopped {deaths + 1} times, last at: {state.status or last}",
            f"See {remote.folder}/run.log there",
        )
