import ast
import os
import signal
import sys
from pathlib import Path

import pytest
from fake_ssh import PROGRAM
from stand_in import eventually, runs

from edgeprune.device.ssh.errors import failure
from edgeprune.device.ssh.transport import SshTransport
from edgeprune.errors import ConfigError, DeviceError
from edgeprune.protocols import LinkLost


class Fake:
    """The other end of the fake ssh."""

    def __init__(self, folder):
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()

    def say(self, *lines):
        (self.folder / "say").write_text("".join(f"{line}\n" for line in lines))

    def calls(self):
        return [ast.literal_eval(line) for line in (self.folder / "calls").read_text().splitlines()]


@pytest.fixture
def fake(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ssh").write_text(PROGRAM % sys.executable)
    (tmp_path / "bin/ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SSH", str(tmp_path))
    return Fake(tmp_path)


@pytest.fixture
def board(fake):
    transport = SshTransport("board")
    yield transport
    transport.close()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(300_000))
    return path


def options(words):
    return {words[index + 1] for index, word in enumerate(words) if word == "-o"}


def test_a_script_is_run_in_the_home_folder_and_its_end_is_told(fake, board):
    done = board.run("pwd; echo oops >&2; exit 7")
    assert (done.code, done.stdout.decode().strip(), done.stderr) == (7, str(fake.home), b"oops\n")


def test_what_a_profile_prints_is_no_answer(fake, board, file, tmp_path):
    (fake.folder / "noise").write_text("Welcome!\n")
    assert board.run("printf '\\000\\377x'").stdout == b"\x00\xffx"
    board.put(file, "there")
    board.get("there", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == file.read_bytes()


def test_the_connection_is_strict_shared_and_never_asks(fake, tmp_path):
    config = tmp_path / "config of mine"
    config.write_text("")
    transport = SshTransport("ubuntu@orin", config)
    transport.run("true")
    folder = next(word for word in options(fake.calls()[-1]) if word.startswith("ControlPath=")).partition("=")[2]
    transport.close()
    words = fake.calls()[-2]
    assert words[:2] == ["-F", str(config)]
    assert words[-3:] == ["--", "ubuntu@orin", "sh -s"]
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "ControlMaster=auto", "ClearAllForwardings=yes"} <= options(
        words
    )
    assert len(folder) < 80  # a socket's path has at most 104 bytes, and ssh adds 17 while it makes one
    assert not Path(folder).parent.exists()


@pytest.mark.parametrize(
    ("configured", "used"), [("accept-new", "accept-new"), ("false", "yes"), ("off", "yes"), ("ask", "yes")]
)
def test_host_keys_are_never_taken_unseen_unless_configured_so(fake, board, configured, used):
    (fake.folder / "config").write_text(f"hostname x\nstricthostkeychecking {configured}\n")
    board.run("true")
    assert f"StrictHostKeyChecking={used}" in options(fake.calls()[-1])


@pytest.mark.parametrize("destination", ["-oProxyCommand=evil", "", "a b", "a\nb"])
def test_a_destination_is_no_option(destination):
    with pytest.raises(ConfigError, match="is no ssh destination"):
        SshTransport(destination)


def test_a_missing_configuration_is_told(tmp_path):
    with pytest.raises(ConfigError, match="no such ssh configuration"):
        SshTransport("board", tmp_path / "none")


def test_without_ssh_there_is_no_way(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(DeviceError, match="there is no ssh on this machine"):
        SshTransport("board")


@pytest.mark.parametrize("path", ["a b/it's/$(x)/file", "plain"])
def test_files_go_and_come_whole_under_any_name(fake, board, file, tmp_path, path):
    board.put(file, path)
    assert (fake.home / path).read_bytes() == file.read_bytes()
    assert [entry.name for entry in (fake.home / path).parent.iterdir() if entry.is_file()] == [path.rpartition("/")[2]]
    board.get(path, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == file.read_bytes()


def test_an_upload_goes_on_where_the_link_dropped(fake, board, file):
    board.run("true")
    fake.say("", "cut 123456")
    with pytest.raises(LinkLost):
        board.put(file, "there")
    (part,) = fake.home.glob("there.*.part")
    assert part.stat().st_size == 123_456
    board.put(file, "there")
    assert (fake.home / "there").read_bytes() == file.read_bytes()
    assert ">>" in fake.calls()[-3][-1]
    calls = len(fake.calls())
    board.put(file, "there")
    assert not any("cat" in words[-1] for words in fake.calls()[calls:])


def test_a_damaged_upload_is_not_taken(fake, board, file):
    fake.say("", "cut 1000")
    with pytest.raises(DeviceError):
        board.put(file, "there")
    (part,) = fake.home.glob("there.*.part")
    part.write_bytes(b"\0" * 1000)
    with pytest.raises(DeviceError, match="did not arrive whole"):
        board.put(file, "there")
    assert not (fake.home / "there").exists()
    board.put(file, "there")
    assert (fake.home / "there").read_bytes() == file.read_bytes()


def test_a_download_goes_on_where_the_link_dropped(fake, board, file, tmp_path):
    (fake.home / "there").write_bytes(file.read_bytes())
    fake.say("", "cut 100018")  # 18 bytes are the mark before it
    with pytest.raises(LinkLost):
        board.get("there", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    (part,) = tmp_path.glob("back.*.part")
    assert part.read_bytes() == file.read_bytes()[:100_000]
    board.get("there", tmp_path / "back")
    assert "tail -c +100001" in fake.calls()[-1][-1]
    assert (tmp_path / "back").read_bytes() == file.read_bytes()
    assert list(tmp_path.glob("*.part")) == []


def test_a_file_that_is_not_there_is_told(board, tmp_path):
    with pytest.raises(DeviceError, match=r"cannot use none on board: .*(No such file|cannot open)"):
        board.get("none", tmp_path / "back")


def test_a_full_disk_is_told(fake, board, file):
    (fake.folder / "bin/cat").write_text("#!/bin/sh\necho 'cat: write error: No space left on device' >&2\nexit 1\n")
    (fake.folder / "bin/cat").chmod(0o755)
    with pytest.raises(DeviceError, match=r"cannot write there on board: .*No space left on device\. Make room there"):
        board.put(file, "there")


def test_what_does_not_end_is_given_up_and_its_client_is_gone(board, fake, monkeypatch):
    monkeypatch.setattr("edgeprune.device.ssh.transport._CONNECT_S", 0)
    with pytest.raises(LinkLost, match=r"did not answer within 3 s"):
        board.run("echo $$ >pid; exec sleep 60", timeout_s=3)
    pid = (fake.home / "pid").read_text().strip()
    eventually(lambda: not runs(pid))  # what stands in for the client runs the command in its own group


def test_what_is_left_in_the_background_does_not_keep_it(board, fake):
    done = board.run("sleep 30 & echo $! >pid; echo started", timeout_s=20)
    assert done.stdout == b"started\n"
    pid = (fake.home / "pid").read_text().strip()
    assert runs(pid)
    os.kill(int(pid), signal.SIGKILL)
    eventually(lambda: not runs(pid))


FIRST = {
    "ssh: Could not resolve hostname nowhere: Name or service not known": "no host named board is known",
    "ssh: connect to host board port 22: Connection refused": "board refused the connection",
    "ssh: connect to host board port 22: Connection timed out": "board cannot be reached: Connection timed out",
    "ssh: connect to host board port 22: No route to host": "board cannot be reached: No route to host",
    "user@board: Permission denied (publickey,password).": "board refused the key",
    "Received disconnect from ::1 port 22:2: Too many authentication failures": "too many were offered",
    "No ED25519 host key is known for board and you have requested strict checking.\r\n"
    "Host key verification failed.\r\n": "the host key of board is not known",
    "@@@@@@@@@@@\r\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\nHost key for board has changed and "
    "you have requested strict checking.\r\nHost key verification failed.": "is not the one that is known",
    "Unable to negotiate with 1.2.3.4 port 22: no matching host key type found. Their offer: ssh-rsa": "no algorithm",
    "kex_exchange_identification: Connection closed by remote host": "ssh cannot connect to board",
    "": "it gave no reason",
}


@pytest.mark.parametrize(("said", "message"), FIRST.items())
def test_every_refusal_has_its_words(said, message):
    error = failure("board", 255, said, "", reached=False)
    assert message in str(error)
    assert not isinstance(error, LinkLost)
    assert error.exit_code == 4
    assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize("said", [said for said in FIRST if "ssh: " in said or "kex" in said or not said])
def test_what_may_pass_is_a_lost_link_once_it_was_there(said):
    assert isinstance(failure("board", 255, said, "", reached=True), LinkLost)


@pytest.mark.parametrize("said", [said for said in FIRST if "ssh: " not in said and "kex" not in said and said])
def test_a_refusal_stays_one(said):
    assert not isinstance(failure("board", 255, said, "", reached=True), LinkLost)


def test_the_first_call_tells_a_refusal_and_a_later_one_a_lost_link(fake, board):
    fake.say("error ssh: connect to host board port 22: Connection refused", "", "lost")
    with pytest.raises(DeviceError, match="refused the connection") as refused:
        board.run("true")
    assert not isinstance(refused.value, LinkLost)
    board.run("true")
    with pytest.raises(LinkLost, match="the link to board was lost"):
        board.run("true")


def test_an_account_without_a_shell_is_told(fake, board):
    (fake.folder / "bin/sh").write_text("#!/bin/cat\n")
    (fake.folder / "bin/sh").write_text("#!/bin/bash\necho This account is currently not available.\nexit 1\n")
    (fake.folder / "bin/sh").chmod(0o755)
    with pytest.raises(DeviceError, match="no POSIX shell for this account: This account is currently not available"):
        board.run("true")
