"""This machine as a device: its shell, with a folder that stands in for the home folder."""

import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edgeprune.device.processes import run_to_end
from edgeprune.errors import DeviceError, reason_of
from edgeprune.files.store import file_sha256
from edgeprune.protocols import Completed


class LocalTransport:
    """Runs scripts on this machine.

    Args:
        name: Name that the user gave.
        home: Stand-in for the home folder: scripts and relative paths start there.
        environment: Additional environment variables.
        replay: Name of the recorded board that stands in for the device, if any.
        shell: Command that reads scripts on its standard input.
    """

    def __init__(
        self,
        name: str,
        home: Path,
        environment: Mapping[str, str] | None = None,
        replay: str | None = None,
        shell: tuple[str, ...] = ("sh", "-s"),
    ) -> None:
        self.name = name
        self.replay = replay
        self._home = home
        self._environment = {**os.environ, "HOME": str(home), **(environment or {})}
        self._shell = shell

    def run(self, script: str, timeout_s: float = 60.0) -> Completed:
        """Run a POSIX shell script in the home folder.

        Raises:
            LinkLost: It did not end in time.
            DeviceError: There is no shell.
        """
        with tempfile.TemporaryFile() as text, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            text.write(script.encode())
            text.seek(0)
            try:
                code = run_to_end(
                    self._shell,
                    source=text,
                    out=out,
                    errors=errors,
                    timeout_s=timeout_s,
                    name=self.name,
                    stop=signal.SIGKILL,
                    folder=self._home,
                    environment=self._environment,
                )
            except OSError as error:
                raise DeviceError(f"{self.name} has no shell: {reason_of(error)}") from error
            out.seek(0)
            errors.seek(0)
            return Completed(code, out.read(), errors.read())

    def put(self, source: Path, path: str) -> None:
        """Copy a file to the folder.

        Raises:
            DeviceError: It cannot be written.
        """
        target = self._home / path
        part = target.with_name(f"{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, part)
            part.replace(target)
        except OSError as error:
            raise DeviceError(f"cannot write {path} on {self.name}: {reason_of(error)}") from error
        if file_sha256(target) != file_sha256(source):
            raise DeviceError(f"{path} did not arrive whole on {self.name}", "Its disk may be damaged")

    def get(self, path: str, target: Path) -> None:
        """Copy a file from the folder.

        Raises:
            DeviceError: It cannot be read.
        """
        part = target.with_name(f"{target.name}.part")
        try:
            shutil.copyfile(self._home / path, part)
            part.replace(target)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise DeviceError(f"cannot read {path} on {self.name}: {reason_of(error)}") from error

    def close(self) -> None:
        """Do nothing: no resources are held."""
