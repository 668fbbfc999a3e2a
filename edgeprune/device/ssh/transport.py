"""Device over SSH: the user's own OpenSSH client, with its configuration, agent, jump hosts and keys.

All commands share one connection (ControlMaster). Scripts are sent on standard input, so that the account's shell does
not matter. Their output is framed by marks, so that neither a talkative profile nor a dropped link is taken for an
answer.
"""

import contextlib
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from shlex import quote
from typing import IO

from edgeprune.device.processes import run_to_end
from edgeprune.device.ssh.errors import failure
from edgeprune.errors import ConfigError, DeviceError, reason_of
from edgeprune.files.store import file_sha256
from edgeprune.protocols import Completed, LinkLost

_BEGIN = b"@@edgeprune-begin\n"
_END = re.compile(rb"\n@@edgeprune-end (\d+)\n\Z")
_CONNECT_S = 15
_OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": str(_CONNECT_S),
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "4",
    "ControlMaster": "auto",
    "ControlPersist": "60",
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "LogLevel": "ERROR",
}
_SLOWEST_BYTES_S = 20_000
_SETTLE_S = 60.0


class SshTransport:
    """Runs scripts on a device through `ssh`.

    Host keys are checked strictly; the user's configuration can only relax this to 'accept-new'.

    Args:
        destination: Destination for ssh: a name in the user's configuration, 'user@host', 'ssh://user@host:port'.
        config: Configuration file in place of the user's, or None.

    Raises:
        ConfigError: The destination would be taken for an option, or the configuration file is missing.
        DeviceError: There is no ssh on this machine.
    """

    replay: str | None = None

    def __init__(self, destination: str, config: Path | None = None) -> None:
        if not destination or destination.startswith("-") or re.search(r"[\s\x00-\x1f\x7f]", destination):
            raise ConfigError(f"{destination!r} is no ssh destination", "Give a host as in ~/.ssh/config, or user@host")
        if config is not None and not config.is_file():
            raise ConfigError(f"no such ssh configuration: {config}")
        program = shutil.which("ssh")
        if program is None:
            raise DeviceError("there is no ssh on this machine", "Install OpenSSH's client (openssh-client)")
        self.name = destination
        self._program = program
        self._config = config
        self._folder: Path | None = None
        self._reached = False

    def run(self, script: str, timeout_s: float = 60.0) -> Completed:
        """Run a POSIX shell script in the home folder.

        Raises:
            LinkLost: The link dropped, or it did not end in time.
            DeviceError: The device cannot be reached.
        """
        framed = f"printf '@@edgeprune-begin\\n'\n(\n{script}\n)\nprintf '\\n@@edgeprune-end %d\\n' $?\n"
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as out:
            source.write(framed.encode())
            source.seek(0)
            code, errors = self._ssh("sh -s", source, out, timeout_s + _CONNECT_S)
            out.seek(0)
            said = out.read()
        begin, mark, answer = said.partition(_BEGIN)
        end = _END.search(answer)
        if not mark or end is None:
            raise self._failed(code, errors, begin)
        self._reached = True
        return Completed(int(end[1]), answer[: end.start()], errors)

    def put(self, source: Path, path: str) -> None:
        """Copy a file to the device: a partial copy is resumed, and the whole is verified by its hash.

        Raises:
            LinkLost: The link dropped; the partial copy stays, and the next attempt resumes it.
            DeviceError: The disk is full, or the copy differs from the file.
        """
        sha256, size = file_sha256(source), source.stat().st_size
        part = f"{path}.{sha256[:16]}.part"
        there = self._answer(
            f"f={quote(path)} p={quote(part)}\n"
            'mkdir -p "$(dirname "$f")" || exit\n'
            f'if [ -f "$f" ] && [ "$(sha256sum <"$f" | cut -d " " -f 1)" = {sha256} ]; then echo whole; exit; fi\n'
            # A copy: an earlier client that was killed may have left one that goes on writing to the file as it was.
            'if [ -f "$p" ] && cp "$p" "$p.new" && mv "$p.new" "$p"; then wc -c <"$p"; else echo 0; fi',
            path,
        )
        if there == "whole":
            return
        offset = int(there) if there.isdigit() and int(there) <= size else 0
        with source.open("rb") as file, tempfile.TemporaryFile() as out:
            file.seek(offset)
            redirect = ">>" if offset else ">"
            command = f"sh -c {quote(f'cat {redirect}{quote(part)}')}"
            code, errors = self._ssh(command, file, out, self._limit_s(size - offset))
        if code != 0:
            raise self._failed(code, errors, b"", f"cannot write {path} on {self.name}")
        arrived = self._answer(
            f"f={quote(path)} p={quote(part)}\n"
            f'if [ "$(sha256sum <"$p" | cut -d " " -f 1)" = {sha256} ]; then mv "$p" "$f" && echo whole; exit; fi\n'
            f'if [ "$(wc -c <"$p")" -lt {size} ]; then echo part; else rm -f "$p"; echo damaged; fi',
            path,
        )
        if arrived == "part":
            raise LinkLost(f"{path} reached {self.name} in part only")
        if arrived != "whole":
            raise DeviceError(f"{path} did not arrive whole on {self.name}", "Try again; its disk may be damaged")

    def get(self, path: str, target: Path) -> None:
        """Copy a file from the device, resuming a partial copy, and verify it by its hash.

        Raises:
            LinkLost: The link dropped; the partial copy stays, and the next attempt resumes it.
            DeviceError: The file does not exist, or the copy differs from it.
        """
        there = self._answer(f'f={quote(path)}\nsha256sum <"$f" && wc -c <"$f"', path).split()
        sha256, size = there[0], int(there[-1])
        part = target.with_name(f"{target.name}.{sha256[:16]}.part")
        offset = part.stat().st_size if part.exists() and part.stat().st_size <= size else 0
        with tempfile.TemporaryFile(dir=target.parent) as arriving:
            command = f"printf '@@edgeprune-begin\\n'; tail -c +{offset + 1} {quote(path)}"
            try:
                code, errors = self._ssh(f"sh -c {quote(command)}", None, arriving, self._limit_s(size - offset))
            finally:
                _append(part, offset, arriving)
        if code != 0:
            raise self._failed(code, errors, b"", f"cannot read {path} on {self.name}")
        if file_sha256(part) != sha256:
            part.unlink()
            raise DeviceError(f"{path} did not arrive whole from {self.name}", "Try again")
        part.replace(target)

    def close(self) -> None:
        """End the shared connection."""
        if self._folder is None:
            return
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(  # noqa: S603 - fixed words and a destination that is no option, no shell
                [*self._command(), "-O", "exit", "--", self.name],
                capture_output=True,
                timeout=_CONNECT_S,
                check=False,
            )
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None

    def _answer(self, script: str, path: str) -> str:
        """Output of a script that must not fail."""
        done = self.run(script, _SETTLE_S)
        if done.code != 0:
            why = reason_of(Exception(done.stderr.decode(errors="replace")))
            raise DeviceError(f"cannot use {path} on {self.name}: {why[:200]}")
        return done.stdout.decode(errors="replace").strip()

    def _command(self) -> list[str]:
        """Command and options of the client, up to the destination."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="ep-", dir="/tmp"))  # a socket's path must be short
        options = {**_OPTIONS, "ControlPath": f"{self._folder}/c"}
        return [
            self._program,
            *(("-F", str(self._config)) if self._config is not None else ()),
            *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
        ]

    def _strictness(self) -> tuple[str, str]:
        """Strictness of the host key check: strict, unless the user's configuration accepts keys of new hosts."""
        asked = [self._program, *(("-F", str(self._config)) if self._config is not None else ()), "-G", "--", self.name]
        try:
            said = subprocess.run(  # noqa: S603 - fixed words and a destination that is no option, no shell
                asked, capture_output=True, text=True, timeout=_CONNECT_S, check=False
            ).stdout
        except (OSError, subprocess.SubprocessError):
            said = ""
        kept = re.search(r"^stricthostkeychecking accept-new$", said, re.MULTILINE)
        return "-o", f"StrictHostKeyChecking={'accept-new' if kept else 'yes'}"

    def _ssh(self, command: str, source: IO[bytes] | None, out: IO[bytes], timeout_s: float) -> tuple[int, bytes]:
        """Run one command; returns its exit code and standard error.

        It has a session of its own: Ctrl-C here must not cut the connection that is needed for cleaning up.
        """
        words = [*self._command(), *self._strictness(), "--", self.name, command]
        with tempfile.TemporaryFile() as errors:
            try:
                code = run_to_end(
                    words,
                    source=subprocess.DEVNULL if source is None else source,
                    out=out,
                    errors=errors,
                    timeout_s=timeout_s,
                    name=self.name,
                    stop=signal.SIGTERM,
                )
            except OSError as error:
                raise DeviceError(f"cannot start {self._program}: {reason_of(error)}") from error
            errors.seek(0)
            return code, errors.read()

    def _failed(self, code: int, errors: bytes, said: bytes, what: str = "") -> DeviceError:
        """Build the error for a command that did not finish."""
        return failure(
            self.name, code, errors.decode(errors="replace"), said.decode(errors="replace"), self._reached, what
        )

    @staticmethod
    def _limit_s(size: int) -> float:
        return _SETTLE_S + size / _SLOWEST_BYTES_S


def _append(part: Path, offset: int, arriving: IO[bytes]) -> None:
    """Append the received bytes to the first `offset` bytes of a file, without anything printed before them."""
    arriving.seek(0)
    _noise, mark, data = arriving.read().partition(_BEGIN)
    with part.open("r+b" if offset else "wb") as file:
        file.seek(offset)
        file.write(data if mark else b"")
        file.truncate()
