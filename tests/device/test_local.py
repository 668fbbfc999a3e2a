import os
import signal

import pytest
from stand_in import eventually, runs

from edgeprune.device.local import LocalTransport
from edgeprune.errors import DeviceError
from edgeprune.protocols import LinkLost


@pytest.fixture
def here(tmp_path):
    (tmp_path / "home").mkdir()
    return LocalTransport("here", tmp_path / "home", {"PLACE": "it's here"})


def test_scripts_run_in_the_home_folder_with_the_environment(here, tmp_path):
    done = here.run('pwd; echo "$HOME $PLACE"; echo oops >&2; exit 7')
    assert done.stdout.decode().splitlines() == [str(tmp_path / "home"), f"{tmp_path / 'home'} it's here"]
    assert (done.code, done.stderr) == (7, b"oops\n")


def test_what_does_not_end_is_killed_with_all_it_started(here, tmp_path):
    with pytest.raises(LinkLost, match="did not answer within"):
        here.run("sleep 60 & echo $! >pid; wait", timeout_s=3)
    pid = (tmp_path / "home/pid").read_text().strip()
    eventually(lambda: not runs(pid))


def test_what_is_left_in_the_background_goes_on(here, tmp_path):
    assert here.run("sleep 60 & echo $! >pid").code == 0
    pid = (tmp_path / "home/pid").read_text().strip()
    assert runs(pid)
    os.kill(int(pid), signal.SIGKILL)


def test_files_go_and_come(here, tmp_path):
    (tmp_path / "file").write_bytes(b"\0\1\2")
    here.put(tmp_path / "file", "a/b c/file")
    assert (tmp_path / "home/a/b c/file").read_bytes() == b"\0\1\2"
    here.get("a/b c/file", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"\0\1\2"
    with pytest.raises(DeviceError, match="cannot read none on here"):
        here.get("none", tmp_path / "back")
    with pytest.raises(DeviceError, match="cannot write a/b c on here"):
        here.put(tmp_path / "file", "a/b c")


def test_a_missing_shell_is_told(tmp_path):
    with pytest.raises(DeviceError, match="there has no shell"):
        LocalTransport("there", tmp_path, shell=("no-such-shell",)).run("true")
