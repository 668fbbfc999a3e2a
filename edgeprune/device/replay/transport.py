"""Replayed device: a recorded board stands in for a Jetson on this machine, for trials and tests.

`replay:NAME` is a board with a certain JetPack: its system files, and programs with the output of its TensorRT. The
outputs of its engines are computed from the model; its times and its power are made up. `replay:NAME+FAULT` is a board
with a fault.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from edgeprune.device.local import LocalTransport
from edgeprune.errors import ConfigError, DeviceError, unknown_name
from edgeprune.files import toml
from edgeprune.files.store import canonical_sha256, file_sha256
from edgeprune.protocols import Completed, LinkLost

PREFIX = "replay:"
FAULTS = {
    "slow-link": "every call takes a while",
    "dropped-link": "the link drops now and then",
    "full-disk": "nothing more can be written",
    "reboot": "it reboots while it measures, once",
    "oom": "engines need more memory than there is",
    "killed": "the second engine is killed while it is built, once",
    "throttled": "the clock falls for a few rounds",
    "no-trtexec": "trtexec is not installed",
    "no-sudo": "root asks for a password",
    "wrong-clock": "its clock is 30 days behind",
    "no-graph": "engines cannot be CUDA graphs",
    "nan-times": "a time is not a number",
    "wrong-answers": "engines give wrong outputs",
    "foreign-engine": "engines come out for another GPU",
}
"""Faults that a replayed board can have."""

_BOARDS = Path(__file__).parent / "boards"
_TRTEXEC = "usr/src/tensorrt/bin/trtexec"
_ONLY_WITH = {"df": "full-disk", "date": "wrong-clock"}
_SLOW_S, _SLOW_BYTES_S = 0.3, 2e6
_LOST_BEFORE, _LOST_AFTER = frozenset({6, 7}), frozenset({12})
_REBOOT_S = 1.0


class Recording(BaseModel):
    """File of a board; see those in `boards/`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    tensorrt: str
    build: str
    gpu: str
    compute_capability: str
    dla_cores: int
    sms: int
    memory_mib: int
    layer_us: float
    gpu_mhz: tuple[int, int]
    tegrastats: str
    names: Mapping[str, str]
    rails: Mapping[str, tuple[int, int]]
    packages: Mapping[str, str]
    files: Mapping[str, str]


class ReplayTransport:
    """Connection to a replayed board.

    Args:
        name: Name that the user gave.
        board: Name of the board.
        folder: Folder of the board.
        faults: Faults to simulate.
    """

    def __init__(self, name: str, board: str, folder: Path, faults: frozenset[str]) -> None:
        self.name = name
        self.replay: str | None = board
        self._folder = folder
        self._faults = faults
        self._calls = 0
        root = folder / "root"
        environment = {
            "EDGEPRUNE_BOARD": str(folder),
            "EDGEPRUNE_CACHE": str(folder / "cache"),
            "EDGEPRUNE_LOCK": str(folder / "lock"),
            "EDGEPRUNE_PYTHON": sys.executable,
            "EDGEPRUNE_ROOT": str(root),
            "PATH": f"{root / 'usr/bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONSAFEPATH": "1",
        }
        self._local = LocalTransport(name, folder / "home", environment, board)

    def run(self, script: str, timeout_s: float = 60.0) -> Completed:
        """Run a POSIX shell script on the board, in the home folder.

        Raises:
            LinkLost: The link dropped, or the board reboots.
        """
        self._reach(0)
        self._calls += 1
        if "dropped-link" in self._faults and self._calls in _LOST_BEFORE:
            raise LinkLost(f"{self.name} does not answer any more")
        done = self._local.run(script, timeout_s)
        if "dropped-link" in self._faults and self._calls in _LOST_AFTER:
            raise LinkLost(f"{self.name} does not answer any more")
        return done

    def put(self, source: Path, path: str) -> None:
        """Copy a file to the board.

        Raises:
            LinkLost: The board reboots.
            DeviceError: Its disk is full.
        """
        self._reach(source.stat().st_size)
        if "full-disk" in self._faults:
            raise DeviceError(f"cannot write {path} on {self.name}: No space left on device", "Make room there")
        self._local.put(source, path)

    def get(self, path: str, target: Path) -> None:
        """Copy a file from the board.

        Raises:
            LinkLost: The board reboots.
            DeviceError: The file does not exist.
        """
        self._local.get(path, target)
        self._reach(target.stat().st_size)

    def close(self) -> None:
        """Release the board, which continues in its folder."""
        self._local.close()

    def _reach(self, size_bytes: int) -> None:
        if "slow-link" in self._faults:
            time.sleep(_SLOW_S + size_bytes / _SLOW_BYTES_S)
        rebooted = self._folder / "rebooted"
        if rebooted.exists() and 0 <= time.monotonic() - float(rebooted.read_text()) < _REBOOT_S:
            raise LinkLost(f"{self.name} does not answer any more")


def names() -> tuple[str, ...]:
    """Names of the boards, sorted."""
    return tuple(sorted(file.stem for file in _BOARDS.glob("*.toml")))


def read(board: str) -> Recording:
    """Read the recording of a board.

    Raises:
        ConfigError: There is no board of that name.
    """
    if board not in names():
        raise unknown_name("replayed board", board, names())
    return Recording.model_validate(toml.read(_BOARDS / f"{board}.toml", "board"))


def open_board(name: str) -> ReplayTransport:
    """Set up a board, or resume it as it was left.

    Args:
        name: 'replay:orin-nano-jp62', with faults 'replay:orin-nano-jp62+reboot+slow-link'.

    Raises:
        ConfigError: There is no such board or fault, no space for it, or this machine does not run Linux.
    """
    if sys.platform != "linux":
        raise ConfigError(f"{name} is a Linux machine, and this one runs {sys.platform}", "Try it on Linux")
    board, *faults = name.removeprefix(PREFIX).split("+")
    recording = read(board)
    for fault in faults:
        if fault not in FAULTS:
            raise unknown_name("fault of a replayed board", fault, FAULTS)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "edgeprune" / "replay" / "+".join([board, *sorted(set(faults))])
    try:
        _set_up(folder, board, recording, sorted(set(faults)))
    except OSError as error:
        raise ConfigError(
            f"cannot set up {name} in {folder}: {error.strerror}", "Set XDG_CACHE_HOME elsewhere"
        ) from error
    return ReplayTransport(name, board, folder, frozenset(faults))


def _set_up(folder: Path, board: str, recording: Recording, faults: list[str]) -> None:
    """Create a board's files and programs, unless they exist; a board that changed starts anew."""
    plain = {**recording.model_dump(mode="json"), "faults": faults}
    programs = {file.name: file.read_text(encoding="utf-8") for file in sorted((_BOARDS / "programs").iterdir())}
    played_by = {file.name: file_sha256(file) for file in sorted(_BOARDS.glob("*.py"))}
    stamp = canonical_sha256([board, plain, programs, played_by])
    if (folder / "stamp").is_file() and (folder / "stamp").read_text(encoding="ascii") == stamp:
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    texts = {
        "board.json": json.dumps(plain),
        "names": _lines(recording.names),
        "packages": _lines(recording.packages),
        "faults": "".join(f"{fault}\n" for fault in faults),
        "stamp": stamp,
        "root/etc/edgeprune-replay": f"{board}\n",
        **{f"root/{path}": text for path, text in recording.files.items()},
        **_programs(programs, faults),
    }
    for path, text in texts.items():
        (fresh / path).parent.mkdir(parents=True, exist_ok=True)
        (fresh / path).write_text(text, encoding="utf-8")
        if text.startswith("#!"):
            (fresh / path).chmod(0o755)
    for inner in ("home", "cache"):
        (fresh / inner).mkdir()
    if folder.exists():
        shutil.rmtree(folder)
    fresh.replace(folder)


def _programs(programs: Mapping[str, str], faults: list[str]) -> dict[str, str]:
    places = {name: _TRTEXEC if name == "trtexec" else f"usr/bin/{name}" for name in programs}
    left_out = {name for name, fault in _ONLY_WITH.items() if fault not in faults}
    if "no-trtexec" in faults:
        left_out.add("trtexec")
    return {f"root/{places[name]}": text for name, text in programs.items() if name not in left_out}


def _lines(pairs: Mapping[str, str]) -> str:
    return "".join(f"{key} {value}\n" for key, value in pairs.items())
