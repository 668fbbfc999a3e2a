"""A bundle run on a stand-in board through a link that drops, by a client that dies, on a board that crashes."""

import os
import signal
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
from stand_in import PATIENCE_S, TRTEXEC, StandIn, eventually, runs, tool, writing

from edgeprune.device import archive
from edgeprune.device.bundle import read_manifest
from edgeprune.device.local import LocalTransport
from edgeprune.device.probe import Needs
from edgeprune.device.session import Patience, run_bundle
from edgeprune.errors import DeviceError
from edgeprune.protocols import LinkLost

QUICK = Patience(poll_s=0.2, link_s=5.0, lease_s=60, lock_s=0)


class Link(LocalTransport):
    """A way to the stand-in board that can be cut, and that something may happen on."""

    def __init__(self, board: StandIn):
        super().__init__("board", board.home, board.environment)
        self.calls = 0
        self.lost = frozenset()
        self.during = lambda script: None

    def run(self, script, timeout_s=60.0):
        self.calls += 1
        self.during(script)
        if self.calls in self.lost:
            raise LinkLost("the link to board was lost")
        done = super().run(script, timeout_s)
        if -self.calls in self.lost:  # it was done, and nobody heard of it
            raise LinkLost("the link to board was lost")
        return done


class Told:
    """A progress that keeps what it is told."""

    def __init__(self):
        self.notes = []
        self.steps = []
        self.total = None

    def stage(self, title, reused=False): ...

    def note(self, text):
        self.notes.append(text)

    @contextmanager
    def track(self, label, total):
        self.total = total
        yield lambda count, text: self.steps.append((count, text))


@pytest.fixture
def link(board):
    return Link(board)


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def ran(tar, result, folder):
    """Unpack a result; the words of its status."""
    archive.unpack(result, folder, read_manifest(tar).id)
    return (folder / "result/status").read_text().strip()


def left_over(board: StandIn) -> bool:
    return board.held() or runs(board.text("sleeper")) or runs(board.text("telemetry"))


def work_folders(board):
    folder = board.home / ".cache/edgeprune/work"
    return sorted(folder.iterdir()) if folder.exists() else []


def test_a_bundle_is_pushed_run_and_its_result_fetched(board, link, told, out):
    tar = board.pack(writing("one", "--sleep=0.5"), writing("two", "--sleep=0.5", telemetry=True))
    result = run_bundle(link, tar, out, told, QUICK)
    assert ran(tar, result, out) == "done"
    assert (told.total, sum(count for count, _ in told.steps), told.notes) == (2, 2, [])
    assert told.steps[-1][1] == "two"
    assert not left_over(board)
    (work,) = work_folders(board)
    assert not list(work.rglob("*.tar"))
    assert not list(work.rglob("result"))


def test_the_same_again_is_measured_again_without_being_sent(board, link, told, out):
    tar = board.pack(writing("one"))
    run_bundle(link, tar, out, told, QUICK)
    link.put = None
    run_bundle(link, tar, out, told, QUICK)
    assert len(board.calls()) == 2


def test_a_damaged_folder_is_sent_again(board, link, told, out):
    tar = board.pack(writing("one"))
    run_bundle(link, tar, out, told, QUICK)
    (model,) = board.home.rglob("baseline.onnx")
    model.write_bytes(b"other")
    assert ran(tar, run_bundle(link, tar, out, told, QUICK), out) == "done"


@pytest.mark.parametrize(
    "call", [1, 3, 5, -1, -2, -3, -4, -5, -6], ids=lambda n: f"{'after' if n < 0 else 'before'}{n}"
)
def test_a_link_that_drops_at_any_moment_loses_nothing(board, link, told, out, call):
    tar = board.pack(writing("one", "--sleep=0.4"))
    link.lost = frozenset({call, call + (1 if call > 0 else -1)})
    result = run_bundle(link, tar, out, told, QUICK, sleep=lambda s: threading.Event().wait(min(s, 0.1)))
    assert ran(tar, result, out) == "done"
    assert len(board.calls()) == 1
    assert told.notes == ["the link to board was lost; trying again", "board is reachable again"]
    assert not left_over(board)


def test_an_upload_that_drops_is_tried_again(board, link, told, out):
    tar = board.pack(writing("one"))
    put, tries = link.put, []

    def twice(source, path):
        tries.append(path)
        if len(tries) == 1:
            raise LinkLost("the link to board was lost")
        put(source, path)

    link.put = twice
    assert ran(tar, run_bundle(link, tar, out, told, QUICK, sleep=lambda _s: None), out) == "done"
    assert len(tries) == 2


def test_a_link_that_does_not_return_is_given_up_and_joined_later(board, link, told, out):
    tar = board.pack(writing("one", "--sleep=2"))
    time = iter(range(1000))
    link.during = lambda script: setattr(link, "lost", range(link.calls, 10**6)) if board.held() else None
    with pytest.raises(LinkLost, match="run the same command again to join"):
        run_bundle(link, tar, out, told, QUICK, clock=lambda: next(time), sleep=lambda _s: None)
    eventually(lambda: runs(board.text("sleeper")))
    back = Link(board)
    assert ran(tar, run_bundle(back, tar, out, told, QUICK), out) == "done"
    assert "board is at work on this already: joining" in told.notes
    assert len(board.calls()) == 1


def test_what_ended_while_nobody_looked_is_fetched(board, link, told, out):
    tar = board.pack(writing("one"))
    link.get = lambda path, target: (_ for _ in ()).throw(DeviceError("the client dies here"))
    with pytest.raises(DeviceError, match="dies here"):
        run_bundle(link, tar, out, told, QUICK)
    assert ran(tar, run_bundle(Link(board), tar, out, told, QUICK), out) == "done"
    assert len(board.calls()) == 1


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_ctrl_c_ends_what_runs_there(board, link, told, out, stop):
    tar = board.pack(writing("one", "--sleep=60", telemetry=True), power_mode="5W")

    def interrupted(_seconds):
        eventually(lambda: runs(board.text("sleeper")))
        assert board.text("mode") == "1"
        raise stop

    with pytest.raises(stop):
        run_bundle(link, tar, out, told, QUICK, sleep=interrupted)
    assert not left_over(board)
    assert board.text("mode") == "0"


def crash(board):
    """All that runs on the board is gone, as when its power fails."""
    (pid_file,) = board.home.rglob("run.pi[d]")  # a link that leads nowhere
    for pid in (
        pid_file.readlink().name.partition(".")[0],
        (board.folder / "lock/step").readlink().name.partition(".")[0],
    ):
        os.killpg(int(pid), signal.SIGKILL)


def test_a_board_that_restarts_goes_on_where_it_was(board, link, told, out):
    tar = board.pack(writing("one"), writing("two", "--sleep=1"))
    crashed = []

    def once(script):
        if not crashed and runs(board.text("sleeper")):
            crash(board)
            crashed.append(link.calls)

    link.during = once
    assert ran(tar, run_bundle(link, tar, out, told, QUICK), out) == "done"
    assert [call.rpartition("/")[2] for call in board.calls()] == ["one.json", "two.json", "two.json"]
    assert told.notes == ["board stopped (running 2 of 2 two); starting again"]


def test_what_dies_again_and_again_is_given_up(board, link, told, out):
    tar = board.pack(writing("one", "--sleep=60"))
    link.during = lambda script: crash(board) if runs(board.text("sleeper")) else None
    with pytest.raises(DeviceError, match="board stopped 2 times, last at: running 1 of 1 one"):
        run_bundle(link, tar, out, told, replace(QUICK, restarts=1))
    assert len(board.calls()) == 2


def test_a_disk_that_filled_up_meanwhile_is_told(board, link, told, out):
    tar = board.pack(writing("one", "--sleep=60"))

    def full(script):
        if runs(board.text("sleeper")):
            board.program("df", "#!/bin/sh\necho Filesystem\necho /dev/x 99999 99999 0 100% /\n")
            crash(board)

    link.during = full
    with pytest.raises(DeviceError, match=r"the disk of board is full\. Make room there; what was measured is kept"):
        run_bundle(link, tar, out, told, QUICK)


def test_a_failed_step_is_no_error_here_and_is_gone_on_with(board, link, told, out):
    tar = board.pack(writing("one"), tool("two", f"--unless={board.folder}/fixed"))
    assert ran(tar, run_bundle(link, tar, out, told, QUICK), out) == "failed two 9 ended with 9"
    (board.folder / "fixed").touch()
    assert ran(tar, run_bundle(link, tar, out, told, QUICK), out) == "done"
    assert len(board.calls()) == 3


def test_a_device_that_will_not_do_is_sent_nothing(board, link, told, out):
    tar = board.pack(writing("one"), needs=Needs("jetson-orin", "trtexec", "8.7"))
    with pytest.raises(DeviceError, match=r"Jetson Nano|compute capability 5\.3; jetson-orin needs 8\.7"):
        run_bundle(link, tar, out, told, QUICK)
    assert work_folders(board) == []


def test_a_refusal_on_the_device_is_told(board, link, told, out):
    (board.folder / "asks").touch()
    tar = board.pack(writing("one"), lock_clocks=True)
    with pytest.raises(DeviceError, match="board: the power state cannot be changed: sudo asks for a password"):
        run_bundle(link, tar, out, told, QUICK)
    assert not left_over(board)


def test_a_device_that_others_hold_is_told(board, link, told, out):
    other = board.bundle(writing("other", "--sleep=60"))
    process = other.start()
    eventually(lambda: runs(board.text("sleeper")))
    tar = board.pack(writing("one"))
    with pytest.raises(DeviceError, match=f"board: the device is held by .* process {process.pid}"):
        run_bundle(link, tar, out, told, QUICK)
    assert other.run("stop") == 0
    process.wait(PATIENCE_S)


def test_too_little_room_is_told_before_anything_is_sent(board, link, told, out):
    board.program("df", "#!/bin/sh\necho Filesystem\necho /dev/x 99999 90000 9000 91% /\n")
    with pytest.raises(DeviceError, match="8 MiB are free on board; 64 MiB are needed"):
        run_bundle(link, board.pack(writing("one")), out, told, QUICK)
    assert work_folders(board) == []


def test_a_clock_far_off_is_told(board, link, told, out):
    board.program("date", "#!/bin/sh\nexec /bin/date -d '2 days ago' \"$@\"\n")
    run_bundle(link, board.pack(writing("one")), out, told, QUICK)
    assert len(told.notes) == 1
    assert told.notes[0].startswith("the clock of board is off by -1728")


def test_old_bundles_make_room_but_not_those_that_run(board, link, told, out):
    for number in range(5):
        tar = board.pack(writing(f"step{number}"))
        run_bundle(link, tar, out, told, QUICK)
        if number == 0:
            (first,) = work_folders(board)
            next(first.glob("edgeprune-*")).joinpath("run.pid").symlink_to("1.1.x.x.x")
    folders = work_folders(board)
    assert first in folders
    assert len(folders) == 4


def test_an_old_trtexec_is_named(board, link, told, out):
    board.program("trtexec", TRTEXEC % "8001")
    tar = board.pack(writing("one"), needs=Needs("jetson-nano", "trtexec", "5.3", (), 80200, 80300))
    with pytest.raises(DeviceError, match=r"TensorRT 8\.0\.1; jetson-nano needs 8\.2\.0 or newer and below 8\.3\.0"):
        run_bundle(link, tar, out, told, QUICK)
