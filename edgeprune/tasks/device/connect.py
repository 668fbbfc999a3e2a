"""Reaching a device: by its name for the user's SSH client, this machine itself, or a recorded board that plays one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeprune.device.local import LocalTransport
from edgeprune.device.replay import transport as replay
from edgeprune.device.ssh.transport import SshTransport
from edgeprune.protocols import Transport

HERE = "local"
"""As a name of a device: this machine, for whoever works on the board itself."""


@dataclass(frozen=True)
class Host:
    """A device by name.

    Attributes:
        name: An ssh destination as in `~/.ssh/config`, 'local', or 'replay:BOARD'.
        ssh_config: File for `ssh -F`, or None for the user's own.
    """

    name: str
    ssh_config: Path | None = None


@contextmanager
def reached(host: Host) -> Iterator[Transport]:
    """A way to a device, closed afterwards.

    Raises:
        ConfigError: No recorded board has that name.
        DeviceError: It is no destination for ssh.
    """
    transport = _transport(host)
    try:
        yield transport
    finally:
        transport.close()


def _transport(host: Host) -> Transport:
    if host.name.startswith(replay.PREFIX):
        return replay.open_board(host.name)
    if host.name == HERE:
        return LocalTransport(HERE, Path.home())
    return SshTransport(host.name, host.ssh_config)
