"""Connection to a device: by its name for the user's SSH client, this machine itself, or a recorded board."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeprune.device.local import LocalTransport
from edgeprune.device.replay import transport as replay
from edgeprune.device.ssh.transport import SshTransport
from edgeprune.protocols import Transport

HERE = "local"
"""Device name of this machine, for use on the board itself."""


@dataclass(frozen=True)
class Host:
    """Device by name.

    Attributes:
        name: SSH destination as in `~/.ssh/config`, 'local', or 'replay:BOARD'.
        ssh_config: File for `ssh -F`, or None for the user's own.
    """

    name: str
    ssh_config: Path | None = None


@contextmanager
def reached(host: Host) -> Iterator[Transport]:
    """Open a connection to a device for use within a `with` block.

    Raises:
        ConfigError: No recorded board has that name.
        DeviceError: The name is not a destination for ssh.
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
