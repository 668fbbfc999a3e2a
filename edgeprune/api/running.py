"""Arguments that functions of the API share: device of the networks, target, and progress."""

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from edgeprune import targets
from edgeprune.network.cards import choose
from edgeprune.network.compute import Compute
from edgeprune.protocols import Advance, Progress
from edgeprune.targets import Target
from edgeprune.tasks.device.connect import Host
from edgeprune.text.printable import line

__all__ = ["LoggedProgress", "Progress", "RecordedProgress", "computed_on", "host_of", "target_of", "told"]

_LOGGER = logging.getLogger("edgeprune")


class LoggedProgress:
    """The `Progress` of protocols.py that writes to the logger `edgeprune`; stages and notes at level INFO."""

    def stage(self, title: str, reused: bool = False) -> None:
        """Begin a stage, or report one as finished before."""
        _LOGGER.info("%s%s", title, ": reused" if reused else "")

    def note(self, text: str) -> None:
        """Keep one line."""
        _LOGGER.info("  %s", text)

    @contextmanager
    def track(self, label: str, total: int) -> Iterator[Advance]:
        """Log the texts of work with `total` steps, at most ten times and at the end."""
        done = said = 0

        def advance(steps: int, text: str) -> None:
            nonlocal done, said
            done += steps
            if done >= total or done - said >= total / 10:
                said = done
                _LOGGER.info("  %s %d/%d %s", label, done, total, text)

        yield advance


class RecordedProgress:
    """A `Progress` that keeps the stages and notes it passes on.

    Args:
        listener: The progress to pass everything on to.
    """

    def __init__(self, listener: Progress) -> None:
        self._listener = listener
        self._lines: list[str] = []

    @property
    def said(self) -> str:
        """All stages and notes so far, one on each line."""
        return "".join(f"{each}\n" for each in self._lines)

    def stage(self, title: str, reused: bool = False) -> None:
        """Begin a stage, or report one as finished before."""
        self._lines.append(line(f"{title}: reused" if reused else title))
        self._listener.stage(title, reused)

    def note(self, text: str) -> None:
        """Keep one line."""
        self._lines.append(line(f"  {text}"))
        self._listener.note(text)

    def track(self, label: str, total: int) -> AbstractContextManager[Advance]:
        """Work of `total` steps."""
        return self._listener.track(label, total)


def told(progress: Progress | None) -> Progress:
    """Return the given progress, else one that logs."""
    return LoggedProgress() if progress is None else progress


def computed_on(wanted: str | None) -> Compute:
    """Choose the device on which networks run.

    Args:
        wanted: 'auto', 'cpu', 'cuda' or 'cuda:N'; None for EDGEPRUNE_COMPUTE, else 'auto'.

    Raises:
        ConfigError: The value is not allowed, or there is no such GPU.
        DeviceError: There is a GPU, but its driver or PyTorch does not support it.
    """
    return choose(wanted or os.environ.get("EDGEPRUNE_COMPUTE") or "auto")


def target_of(target: str | Path | Target) -> Target:
    """Return a target given as itself, its name or its file.

    Raises:
        ConfigError: There is no such target.
    """
    return target if isinstance(target, Target) else targets.get(str(target))


def host_of(device: str | None, ssh_config: str | Path | None) -> Host | None:
    """Return the device to measure on, or None for this machine."""
    return None if device is None else Host(device, None if ssh_config is None else Path(ssh_config))
