"""A board in a folder: programs that stand in for its own, and the real `run.sh` in a real shell."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from edgeprune.device import bundle
from edgeprune.device.probe import Needs
from edgeprune.records.device_run import Assignment, Plan, Step

SHELLS = {
    name: command for name, command in {"sh": ["sh"], "busybox": ["busybox", "sh"]}.items() if shutil.which(command[0])
}
PATIENCE_S = 90.0
"""How long a test waits for what happens at once on a machine with nothing else to do."""

WORK = Assignment("jetson-test", "fp32", 1, 1, ("baseline",), 2, 8, 3, 2, 10.0, 5.0)
ANY = Needs("jetson-test", "trtexec")

TRTEXEC = """#!/bin/sh
echo "&&&& RUNNING TensorRT.trtexec [TensorRT v%s] # $0 $*"
if [ "${1:-}" = --help ]; then exit 0; fi
echo "$*" >>"$BOARD/calls"
for word in "$@"; do
  case $word in
    --saveEngine=*) echo "engine $(cat "$BOARD/built" 2>/dev/null)" >"${word#*=}" ;;
    --write=*) echo '{}' >"${word#*=}" ;;
    --sleep=*) sleep "${word#*=}" & echo $! >"$BOARD/sleeper"; wait $! ;;
    --exit=*) exit "${word#*=}" ;;
    --words) shift; printf '%%s\\n' "$@" >result/out/words; exit 0 ;;
    --mode) cat "$BOARD/mode" "$BOARD/clocks" >result/out/mode ;;
    --unless=*) if [ ! -e "${word#*=}" ]; then exit 9; fi ;;
  esac
done
"""
TEGRASTATS = """#!/bin/sh
echo $$ >"$BOARD/telemetry"
while :; do echo "RAM 1/2MB GR3D_FREQ 99%@76 POM_5V_IN 2000/2000"; sleep 0.05; done
"""
NVPMODEL = """#!/bin/sh
case $1 in
  -q) echo "NV Power Mode: MODE$(cat "$BOARD/mode")"; cat "$BOARD/mode" ;;
  -m)
    echo "nvpmodel $2" >>"$BOARD/power"
    [ -f "$BOARD/stuck" ] || { echo "$2" >"$BOARD/mode"; echo free >"$BOARD/clocks"; }
    ;;
esac
"""
JETSON_CLOCKS = """#!/bin/sh
echo "jetson_clocks $*" >>"$BOARD/power"
case ${1:-} in
  --store) cp "$BOARD/clocks" "$2" ;;
  --restore) cp "$2" "$BOARD/clocks" ;;
  '') echo locked >"$BOARD/clocks" ;;
esac
"""
PYTHON3 = """#!/bin/sh
echo python 3.6.9
"""
SUDO = """#!/bin/sh
[ "$1" = -n ] || exit 1
[ ! -f "$BOARD/asks" ] || { echo "sudo: a password is required" >&2; exit 1; }
shift
exec "$@"
"""


class StandIn:
    """A Jetson of an old JetPack, as far as `run.sh` can tell."""

    def __init__(self, folder: Path, shell: str = "sh") -> None:
        self.folder = folder
        self.shell = SHELLS[shell]
        self.bin = folder / "bin"
        self.home = folder / "home"
        for path in (self.bin, self.home, folder / "root/etc", folder / "root/proc/device-tree"):
            path.mkdir(parents=True)
        self.program("trtexec", TRTEXEC % "8201")
        self.program("tegrastats", TEGRASTATS)
        self.program("nvpmodel", NVPMODEL)
        self.program("jetson_clocks", JETSON_CLOCKS)
        self.program("sudo", SUDO)
        self.program("python3", PYTHON3)
        self.system("etc/nvpmodel.conf", "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=5W >\n")
        self.system("proc/device-tree/compatible", "nvidia,p3450-0000\0nvidia,jetson-nano\0nvidia,tegra210\0")
        (folder / "mode").write_text("0\n")
        (folder / "clocks").write_text("free\n")

    @property
    def environment(self) -> dict[str, str]:
        return {
            "BOARD": str(self.folder),
            "EDGEPRUNE_CACHE": str(self.folder / "cache"),
            "EDGEPRUNE_LOCK": str(self.folder / "lock"),
            "EDGEPRUNE_ROOT": str(self.folder / "root"),
            "HOME": str(self.home),
            "IDLE_S": "0.2",
            "LOOK_S": "0.2",
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
        }

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def system(self, path: str, text: str) -> None:
        (self.folder / "root" / path).write_text(text)

    def pack(self, *steps: Step, needs: Needs = ANY, since: int = 0, **options) -> Path:
        """The tar of a bundle with one plan."""
        out = self.folder / "bundle.tar"
        plan = Plan("trtexec", since, steps)
        bundle.pack(out, needs, WORK, "trtexec", (plan,), {"models/baseline.onnx": b"a model"}, **options)
        return out

    def unpack(self, tar: Path) -> "Bundle":
        manifest = bundle.read_manifest(tar)
        subprocess.run(["tar", "xf", tar], cwd=self.home, check=True)
        return Bundle(self, self.home / manifest.folder, manifest)

    def bundle(self, *steps: Step, **options) -> "Bundle":
        return self.unpack(self.pack(*steps, **options))

    def calls(self) -> list[str]:
        """What trtexec was asked for, in order."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def text(self, name: str) -> str:
        path = self.folder / name
        return path.read_text().strip() if path.exists() else ""

    def held(self) -> bool:
        return (self.folder / "lock" / "held").is_symlink()


class Bundle:
    """An unpacked bundle on a board."""

    def __init__(self, board: StandIn, folder: Path, manifest: bundle.Manifest) -> None:
        self.board = board
        self.folder = folder
        self.manifest = manifest
        self.result = folder / "result"
        self.archive = folder.parent / manifest.result

    def run(self, *words: str, **environment: str) -> int:
        return self.start(*words, **environment).wait(30)

    def start(self, *words: str, **environment: str) -> subprocess.Popen:
        with (self.folder / "said").open("ab") as said:
            return subprocess.Popen(
                [*self.board.shell, "run.sh", *words],
                cwd=self.folder,
                env={**os.environ, **self.board.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                preexec_fn=default_signals,
            )

    @property
    def status(self) -> str:
        path = self.result / "status"
        return path.read_text().strip() if path.exists() else ""

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    def until(self, status: str) -> None:
        eventually(lambda: self.status.startswith(status))


def default_signals() -> None:
    """Stop ignoring what a child of tests under nohup or in the background ignores: no shell traps such a signal."""
    for name in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(name, signal.SIG_DFL)


def eventually(true, within_s: float = PATIENCE_S) -> None:
    """Wait until something is true."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def runs(pid: int | str) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return bool(pid) and Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (OSError, IndexError):
        return False


def kill_all(process: subprocess.Popen) -> None:
    """End a shell and its guardian by force, as a crash would; its step has a session of its own and goes on."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE_S)


def tool(name: str, *words: str, limit_s: int = 20, **options) -> Step:
    """A step of the stand-in trtexec."""
    return Step(name, "trtexec", words, limit_s, **options)


def writing(name: str, *words: str, **options) -> Step:
    """A step that leaves a file named after it."""
    path = f"result/out/{name}.json"
    return tool(name, *words, f"--write={path}", makes=(path,), **options)
