"""Running a program and its children to their end or to a time limit."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from edgeprune.protocols import LinkLost


def run_to_end(
    words: Sequence[str],
    *,
    source: IO[bytes] | int,
    out: IO[bytes],
    errors: IO[bytes],
    timeout_s: float,
    name: str,
    stop: signal.Signals,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run a program in a separate session, which Ctrl-C here does not reach; returns its exit code.

    Args:
        words: The program and its arguments; no shell reads them.
        source: Its standard input.
        out: Its standard output; a file, since a process left in the background would keep a pipe open.
        errors: Its standard error.
        timeout_s: Time limit in seconds, after which the whole session is ended.
        name: Name of the device, for messages.
        stop: Signal that ends it.
        folder: Working folder; None for the current one.
        environment: Environment variables; None for those of this process.

    Raises:
        LinkLost: It did not end in time.
        OSError: It cannot be started.
    """
    process = subprocess.Popen(  # noqa: S603 - no shell here; what another machine's shell reads is quoted
        list(words), stdin=source, stdout=out, stderr=errors, cwd=folder, env=environment, start_new_session=True
    )
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired as error:
        raise LinkLost(f"{name} did not answer within {timeout_s:g} s") from error
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, stop)
            process.wait()
