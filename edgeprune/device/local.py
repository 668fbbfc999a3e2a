"""This machine as a device: the shell of a folder that is taken for its home."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edgeprune.errors import DeviceError, reason_of
from edgeprune.protocols import Completed, LinkLost
from edgeprune.store import file_sha256


class LocalTransport:
    """Runs scripts on this machine.

    Args:
        name: What the user called it.
        home: Taken for the home folder: scripts start there, and relative paths begin there.
        environment: Variables set besides those of this process.
        replay: Name of the recorded board that plays the device, if one does.
        shell: What reads scripts on its standard input.
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

        What it prints goes to files: a pipe would stay open for as long as anything that it left in the background.

        Raises:
            LinkLost: It did not end in time.
            DeviceError: There is no shell.
        """
        with tempfile.TemporaryFile() as text, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            text.write(script.encode())
            text.seek(0)
            try:
                process = subprocess.Popen(  # noqa: S603 - a fixed program; the script is its input
                    self._shell,
                    stdin=text,
                    stdout=out,
                    stderr=errors,
                    cwd=self._home,
                    env=self._environment,
                    start_new_session=True,
                )
            except OSError as error:
                raise DeviceError(f"{self.name} has no shell: {reason_of(error)}") from error
            try:
                code = process.wait(timeout_s)
            except subprocess.TimeoutExpired as error:
                raise LinkLost(f"{self.name} did not answer within {timeout_s:g} s") from error
            finally:
                if process.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            out.seek(0)
            errors.seek(0)
            return Completed(code, out.read(), errors.read())

    def put(self, source: Path, path: str) -> None:
        """Copy a file there.

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
            raise DeviceError(f"{path} did not arrive whole on {self.name}", "Is its disk damaged?")

    def get(self, path: str, target: Path) -> None:
        """Copy a file from there.

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
        """Nothing is held."""
