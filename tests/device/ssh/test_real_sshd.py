"""OpenSSH's own server before a stand-in board: the link, the client or the server is killed in the middle of work."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from stand_in import PATIENCE_S, WORK, StandIn, eventually, tool, writing

from edgeprune.device import archive, bundle
from edgeprune.device.bundle import read_manifest
from edgeprune.device.probe import Needs
from edgeprune.records.device_run import Plan

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None,
    reason="there is no OpenSSH server here: apt-get install openssh-server",
)

CLIENT = """
import sys, time
from pathlib import Path
from edgeprune.device.session import Patience, run_bundle
from edgeprune.device.ssh.transport import SshTransport
from edgeprune.protocols import NullProgress

class Notes(NullProgress):
    def note(self, text):
        print(text, flush=True)

config, tar, out = map(Path, sys.argv[1:])
transport = SshTransport("board", config)
try:
    patience = Patience(poll_s=0.1, link_s=20.0, lease_s=60, lock_s=0)
    run_bundle(transport, tar, out, Notes(), patience, sleep=lambda s: time.sleep(min(s, 0.1)))
finally:
    transport.close()
"""
# A disk so slow that an upload has a middle, which counts what it is given.
SLOW_CAT = f"""#!{sys.executable} -S
import os, sys, time
if len(sys.argv) > 1:
    os.execv("/bin/cat", ["cat", *sys.argv[1:]])
with open(os.environ["BOARD"] + "/received", "ab", 0) as received:
    while data := os.read(0, 65536):
        os.write(1, data)
        received.write(b"." * (len(data) >> 12))
        time.sleep(0.06)
"""
MODEL_BYTES = 2 << 20


class Server:
    """An SSH server of this user's own on a free port of this machine, whose accounts land on a stand-in board."""

    def __init__(self, folder: Path, board: StandIn):
        self.folder = folder
        folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        environment = "".join(f"export {name}='{value}'\n" for name, value in board.environment.items())
        self._write("login", f'{environment}cd "$HOME" && exec sh -c "$SSH_ORIGINAL_COMMAND"\n')
        self._write(
            "sshd_config",
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
            f"PermitRootLogin yes\nAuthorizedKeysFile {folder}/user.pub\nForceCommand sh {folder}/login\n"
            f"SetEnv HOME={board.home}\n",  # whose shell reads nothing of this user's
        )
        key = (folder / "host.pub").read_text()
        self._write("known", f"[127.0.0.1]:{port} {key}")
        self.config = self._write(
            "config",
            f"Host board\nHostName 127.0.0.1\nPort {port}\nUser {pwd.getpwuid(os.getuid()).pw_name}\n"
            f"IdentityFile {folder}/user\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known\n",
        )
        self.port = port
        self.start()

    def _write(self, name: str, text: str) -> Path:
        (self.folder / name).write_text(text)
        return self.folder / name

    def start(self) -> None:
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # as the service of the system does
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", self.folder / "sshd_config"], stderr=log)
        eventually(self._listens)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def cut(self) -> None:
        """End every connection by force."""
        for pid in [pid for pid in below(self.process.pid) if comm(pid).startswith("sshd")]:
            os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End the server by force, with every connection."""
        self.process.send_signal(signal.SIGSTOP)  # so that no connection comes between
        self.cut()
        self.process.kill()
        self.process.wait(PATIENCE_S)


def stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def below(pid: int) -> list[int]:
    """Processes that one has started, and those that they have."""
    children = [each for each in processes() if stat(each)[1:2] == [str(pid)]]
    return [descendant for child in children for descendant in (child, *below(child))]


def on(board: StandIn) -> list[int]:
    """Processes of a board, known by their environment."""
    found = []
    for pid in processes():
        try:
            there = f"BOARD={board.folder}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if there and stat(pid)[0] not in "ZX":
            found.append(pid)
    return found


class Scene:
    """A board behind a server, and the bundle that clients bring there."""

    def __init__(self, folder: Path):
        self.board = StandIn(folder / "board")
        self.board.program("cat", SLOW_CAT)
        self.server = Server(folder / "sshd", self.board)
        self.out = folder / "out"
        self.said = folder / "said"
        (folder / "client.py").write_text(CLIENT)
        self.client = folder / "client.py"
        self.tar = folder / "bundle.tar"
        engine = "result/out/baseline-1.engine"
        steps = (
            tool("build-baseline-1", "--sleep=0.6", f"--saveEngine={engine}", engine=engine),
            writing("time-001-baseline", "--sleep=0.6", telemetry=True),
            writing("time-002-baseline"),
        )
        model = {"models/baseline.onnx": os.urandom(MODEL_BYTES)}
        bundle.pack(self.tar, Needs("jetson-test", "trtexec"), WORK, "trtexec", (Plan("trtexec", 0, steps),), model)

    def begin(self) -> subprocess.Popen:
        with self.said.open("ab") as said:
            words = [sys.executable, self.client, self.server.config, self.tar, self.out]
            return subprocess.Popen(words, stdout=said, stderr=said)

    def middle_of(self, phase: str) -> bool:
        """Whether that phase has begun and not ended."""
        work = self.board.home / ".cache/edgeprune/work"
        if phase == "upload":
            return any(part.stat().st_size > MODEL_BYTES // 4 for part in work.glob("*/bundle.tar.*.part"))
        name = {"build": "build-baseline-1", "measurement": "time-001-baseline"}[phase]
        there = any(name in status.read_text() for status in work.glob("*/*/result/status"))
        return there and len(self.board.calls()) == {"build": 1, "measurement": 2}[phase]


@pytest.fixture
def scene(tmp_path):
    made = Scene(tmp_path)
    yield made
    made.server.stop()
    for pid in on(made.board):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("victim", ["link", "client", "server"])
def test_whatever_is_killed_the_next_run_finishes_with_nothing_lost(scene, victim):
    client = scene.begin()
    for phase in ("upload", "build", "measurement"):
        eventually(lambda phase=phase: scene.middle_of(phase))
        if victim == "client":
            client.kill()
            client.wait(PATIENCE_S)
            client = scene.begin()
        elif victim == "link":
            scene.server.cut()
        else:
            scene.server.stop()
            scene.server.start()
    assert client.wait(30) == 0, scene.said.read_text()

    manifest = read_manifest(scene.tar)
    archive.unpack(scene.out / manifest.result, scene.out, manifest.id)
    assert [call.split()[-1].partition("=")[2] for call in scene.board.calls()] == [
        "result/out/baseline-1.engine",
        "result/out/time-001-baseline.json",
        "result/out/time-002-baseline.json",
    ]  # each once: what was begun was gone on with, not begun again
    if victim != "client":  # whose ssh outlives it, and goes on writing to a file that nobody reads
        assert len((scene.board.folder / "received").read_text()) << 12 < 1.5 * MODEL_BYTES
    eventually(lambda: not on(scene.board))
    assert not scene.board.held()
    assert not list(scene.board.home.glob(".cache/edgeprune/work/*/*/run.pid"))
