"""`run.sh` for real: in every shell there is, killed at any moment."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from stand_in import ANY, PATIENCE_S, TRTEXEC, StandIn, eventually, kill_all, runs, tool, writing

from edgeprune.device import archive
from edgeprune.device.bundle import SHIPPED
from edgeprune.device.probe import Needs

BUILD = tool("build", "--onnx=models/baseline.onnx", "--saveEngine=result/out/e.engine", engine="result/out/e.engine")


def step_pid(board: StandIn) -> str:
    return (board.folder / "lock" / "step").readlink().name.partition(".")[0]


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", ["run.sh", "probe.sh"])
def test_shellcheck_finds_nothing(script):
    done = subprocess.run(
        ["shellcheck", "-s", "sh", "-e", "SC1091", SHIPPED / script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_a_whole_run_leaves_a_result_that_holds_all_but_the_engines(each_shell, tmp_path):
    bundle = each_shell.bundle(BUILD, writing("time", telemetry=True))
    assert bundle.run() == 0, bundle.said
    assert bundle.status == "done"
    archive.unpack(bundle.archive, tmp_path / "here", bundle.manifest.id)
    found = {path.relative_to(tmp_path / "here/result").as_posix() for path in (tmp_path / "here").rglob("*.*")}
    assert {"out/time.json", "steps/build.log", "steps/time.tegrastats", "steps/idle.tegrastats"} <= found
    assert "out/e.engine" not in found
    sha256, size, path = (tmp_path / "here/result/engines.txt").read_text().split()
    engine = subprocess.run(["sha256sum", bundle.folder / path], capture_output=True, text=True, check=True).stdout
    assert (engine.split()[0], int(size)) == (sha256, (bundle.folder / path).stat().st_size)
    assert float((bundle.result / "steps/time.s").read_text()) < 20
    assert not each_shell.held()
    assert not runs(each_shell.text("telemetry"))


def test_arguments_arrive_as_they_are(each_shell):
    words = ("it's", 'a "b"  c', "$(touch evil)", "`touch evil`", "*", "\\", "", "a;b&c|d", "--x=$HOME", "ü")
    bundle = each_shell.bundle(tool("words", "--words", *words, makes=("result/out/words",)))
    assert bundle.run() == 0, bundle.said
    assert (bundle.result / "out/words").read_text() == "".join(f"{word}\n" for word in words)
    assert not list(each_shell.folder.rglob("evil"))


@pytest.mark.parametrize(
    ("banner", "plan"),
    [("8201", "80200"), ("8601", "80500"), ("101302", "101300")],
)
def test_the_plan_is_the_newest_that_the_version_reaches(board, banner, plan):
    from edgeprune.device import bundle as bundles
    from edgeprune.records.device_run import Plan

    board.program("trtexec", TRTEXEC % banner)
    tar = board.pack(BUILD)
    plans = tuple(Plan("trtexec", since, (BUILD,)) for since in (80200, 80500, 100000, 101300, 110000))
    manifest = bundles.read_manifest(tar)
    bundles.pack(tar, ANY, manifest.assignment, "trtexec", plans, {"models/baseline.onnx": b"a model"})
    bundle = board.unpack(tar)
    assert bundle.run() == 0, bundle.said
    assert (bundle.result / "plan.txt").read_text().startswith(f"plan/trtexec-{plan}.sh")


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (tool("bad", "--exit=3"), "bad 3 ended with 3"),
        (tool("bad", "--exit=137"), "bad 137 was killed, as when memory runs out"),
        (tool("bad", makes=("result/out/x",)), "bad 1 left no result/out/x"),
        (tool("bad", "--sleep=60", limit_s=1), "bad 124 ran longer than 1 s"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_step_that_fails_ends_the_run_and_its_log_comes_back(board, tmp_path, step, reason):
    bundle = board.bundle(writing("before"), step, writing("after"))
    assert bundle.run() == 1
    assert bundle.status == f"failed {reason}"
    archive.unpack(bundle.archive, tmp_path / "here", bundle.manifest.id)
    assert "RUNNING TensorRT.trtexec" in (tmp_path / "here/result/steps/bad.log").read_text()
    assert len(board.calls()) == 2
    assert not board.held()
    assert not runs(board.text("sleeper"))


def test_a_run_goes_on_after_the_step_that_failed(board):
    bundle = board.bundle(writing("one"), writing("two", f"--unless={board.folder}/fixed"), writing("three"))
    assert bundle.run() == 1
    (board.folder / "fixed").touch()
    assert bundle.run() == 0
    asked = [re.findall(r"out/(\w+)", call)[0] for call in board.calls()]
    assert asked == ["one", "two", "two", "three"]
    assert bundle.run("again") == 0
    assert len(board.calls()) == 7


def test_a_step_whose_file_is_gone_is_run_again(board):
    bundle = board.bundle(writing("one"), writing("two"))
    assert bundle.run() == 0
    (bundle.result / "out/one.json").write_text("")
    assert bundle.run() == 0
    assert [re.findall(r"out/(\w+)", call)[0] for call in board.calls()] == ["one", "two", "one"]


def test_a_killed_shell_leaves_nothing_and_loses_nothing(each_shell):
    bundle = each_shell.bundle(
        writing("one"), writing("two", f"--unless={each_shell.folder}/free", "--sleep=60", telemetry=True)
    )
    (each_shell.folder / "free").touch()
    process = bundle.start()
    bundle.until("running 2 of 2 two")
    eventually(lambda: runs(each_shell.text("sleeper")) and runs(each_shell.text("telemetry")))
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE_S)
    eventually(lambda: not each_shell.held())
    assert not runs(each_shell.text("sleeper"))
    assert not runs(each_shell.text("telemetry"))
    (each_shell.folder / "free").unlink()
    assert bundle.run() == 1
    assert [re.findall(r"out/(\w+)", call)[-1] for call in each_shell.calls()] == ["one", "two", "two"]


def test_what_a_crash_left_running_is_ended_before_anything_is_measured(board):
    bundle = board.bundle(writing("one", "--sleep=60"))
    process = bundle.start()
    eventually(lambda: runs(board.text("sleeper")))
    left = step_pid(board)
    kill_all(process)
    assert runs(left)
    assert board.held()
    other = board.bundle(writing("two"))
    assert other.run() == 0, other.said
    assert not runs(left)
    assert not runs(board.text("sleeper"))
    assert not board.held()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_stop_it_cleanly(board, name):
    bundle = board.bundle(writing("one", "--sleep=60", telemetry=True))
    process = bundle.start()
    eventually(lambda: runs(board.text("sleeper")))
    process.send_signal(getattr(signal, name))
    assert process.wait(PATIENCE_S) == 128 + getattr(signal, name)
    assert bundle.status.startswith("stopped by")
    assert not runs(board.text("sleeper"))
    assert not runs(board.text("telemetry"))
    assert not board.held()
    assert not bundle.archive.exists()


def keep_asking(bundle, until):
    """Ask after a run until something is true."""
    token = 0

    def true():
        nonlocal token
        token += 1
        (bundle.folder / "lease").write_text(f"{token}\n")
        return until()

    eventually(true)


def test_it_stops_when_nobody_asks_any_more(board):
    bundle = board.bundle(writing("one", "--sleep=60"))
    process = bundle.start(LEASE_S="1")
    assert process.wait(PATIENCE_S) == 4
    assert bundle.status == "stopped nobody asked for 1 s"
    assert not runs(board.text("sleeper"))
    assert not board.held()


def test_it_goes_on_as_long_as_somebody_asks(board):
    bundle = board.bundle(writing("one", "--sleep=8"))
    process = bundle.start(LEASE_S="4")  # half of what the step takes, and far more than between two words of this test
    keep_asking(bundle, lambda: process.poll() is not None)
    assert (process.returncode, bundle.status) == (0, "done")


def test_two_do_not_measure_at_once(board):
    first = board.bundle(writing("one", "--sleep=2"))
    second = board.bundle(writing("two"))
    process = first.start()
    eventually(lambda: runs(board.text("sleeper")))
    assert second.run(LOCK_WAIT_S="0") == 3
    assert re.fullmatch(
        rf"busy the device is held by \w+'s run {first.manifest.id[:8]}, process {process.pid}", second.status
    )
    assert first.run() == 3
    assert "running already" in first.said
    waiting = second.start()
    second.until("waiting for")
    assert process.wait(PATIENCE_S) == 0
    assert waiting.wait(PATIENCE_S) == 0
    assert [re.findall(r"out/(\w+)", call)[-1] for call in board.calls()] == ["one", "two"]


@pytest.mark.parametrize(
    "owner", ["999999999.1.{boot}.eve.00000000", "1.1.{boot}.eve.00000000", "{pid}.{start}.old.eve.0"]
)
def test_a_lock_whose_holder_is_dead_is_taken(board, owner):
    pid = os.getpid()
    start = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (board.folder / "lock").mkdir()
    (board.folder / "lock/held").symlink_to(owner.format(pid=pid, start=start, boot=boot))
    bundle = board.bundle(writing("one"))
    assert bundle.run(LOCK_WAIT_S="0") == 0, bundle.said


def test_the_power_state_is_left_alone_unless_asked(board):
    bundle = board.bundle(tool("look", "--mode", makes=("result/out/mode",)))
    assert bundle.run() == 0
    assert board.text("power") == ""


@pytest.mark.parametrize("mode", ["5W", "1"])
def test_the_power_state_is_changed_for_the_run_only(board, mode):
    bundle = board.bundle(tool("look", "--mode", makes=("result/out/mode",)), power_mode=mode, lock_clocks=True)
    assert bundle.run() == 0, bundle.said
    assert (bundle.result / "out/mode").read_text().split() == ["1", "locked"]
    assert (board.text("mode"), board.text("clocks")) == ("0", "free")
    assert "NV Power Mode: MODE1" in (bundle.result / "facts.txt").read_text()
    assert not (board.folder / "cache/restore").exists()


def test_clocks_that_were_locked_before_are_locked_again_after_a_change_of_the_mode(board):
    gpu = board.folder / "root/sys/class/devfreq/57000000.gpu"
    gpu.mkdir(parents=True)
    for name in ("min_freq", "cur_freq", "max_freq"):
        (gpu / name).write_text("921600000\n")
    (board.folder / "clocks").write_text("locked\n")
    bundle = board.bundle(tool("look", "--mode", makes=("result/out/mode",)), power_mode="5W")
    assert bundle.run() == 0, bundle.said
    assert (bundle.result / "out/mode").read_text().split() == ["1", "free"]
    assert (board.text("mode"), board.text("clocks")) == ("0", "locked")


@pytest.mark.parametrize("how", ["fails", "SIGTERM", "SIGINT", "SIGHUP", "SIGKILL", "crash", "deserted"])
def test_the_power_state_is_restored_however_it_ends(board, how):
    words = ("--exit=5",) if how == "fails" else ("--sleep=60",)
    bundle = board.bundle(writing("one", *words), power_mode="5W", lock_clocks=True)
    process = bundle.start(LEASE_S="3" if how == "deserted" else "0")  # for so long nobody asks: the link is lost
    if how != "fails":
        keep_asking(bundle, lambda: runs(board.text("sleeper")))
        assert (board.text("mode"), board.text("clocks")) == ("1", "locked")
    if how == "crash":
        kill_all(process)
        assert (board.text("mode"), board.text("clocks")) == ("1", "locked")
        assert board.bundle(writing("two")).run() == 0
    elif how.startswith("SIG"):
        process.send_signal(getattr(signal, how))
    process.wait(PATIENCE_S)
    eventually(lambda: not board.held())
    assert (board.text("mode"), board.text("clocks")) == ("0", "free")


@pytest.mark.parametrize(
    ("prepare", "options", "reason"),
    [
        ("asks", {"power_mode": "5W"}, "the power state cannot be changed: sudo asks for a password here"),
        ("", {"power_mode": "9W"}, "no power mode is named 9W here; there are: 0 MAXN, 1 5W"),
        ("stuck", {"power_mode": "5W"}, "power mode 5W was not taken; it may need a reboot: sudo nvpmodel -m 1"),
    ],
    ids=["no sudo", "no such mode", "not taken"],
)
def test_a_power_state_that_cannot_be_had_is_refused(board, prepare, options, reason):
    if prepare:
        (board.folder / prepare).touch()
    bundle = board.bundle(writing("one"), **options)
    assert bundle.run() == 2
    assert bundle.status == f"refused {reason}"
    assert (board.calls(), board.text("mode")) == ([], "0")


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        (Needs("jetson-orin", "trtexec", "8.7"), "jetson-orin needs compute capability 8.7; this is tegra210, unknown"),
        (Needs("arm64-linux", "trtexec", architecture="arm"), "arm64-linux needs arm; this is "),
        (Needs("t", "trtexec", None, (), 80300, 90000), "trtexec here is of version 80201; t needs at least 80300"),
        (Needs("t", "trtexec", None, (), 0, 80201), "trtexec here is of version 80201; t needs at least 0"),
    ],
)
def test_another_board_is_refused(board, needs, reason):
    bundle = board.bundle(writing("one"), needs=needs)
    assert bundle.run() == 2
    assert bundle.status.startswith(f"refused {reason}")
    assert board.calls() == []
    assert not board.held()


def test_the_right_board_is_not_refused(board):
    assert (
        board.bundle(writing("one"), needs=Needs("jetson-nano", "trtexec", "5.3", ("p3448",), 80200, 80300)).run() == 0
    )


def test_a_missing_tool_is_refused(board):
    (board.bin / "trtexec").unlink()
    bundle = board.bundle(writing("one"))
    assert bundle.run() == 2
    assert bundle.status == "refused there is no trtexec here"


def test_a_full_disk_is_refused(board):
    board.program("df", "#!/bin/sh\necho Filesystem 1024-blocks Used Available\necho /dev/x 100 90 10 90% /\n")
    bundle = board.bundle(writing("one"))
    assert bundle.run() == 2
    assert bundle.status.startswith("refused 10 KiB are free on the disk here; ")


def test_a_damaged_bundle_is_refused(board):
    bundle = board.bundle(writing("one"))
    (bundle.folder / "models/baseline.onnx").write_bytes(b"another")
    assert bundle.run() == 2
    assert bundle.status.startswith("refused the bundle is damaged: models/baseline.onnx")


def test_an_engine_is_built_once_for_the_same_model_and_board(board):
    bundle = board.bundle(BUILD)
    assert bundle.run() == 0
    assert bundle.run("again") == 0
    assert len(board.calls()) == 1
    assert (bundle.result / "steps/build.cached").is_file()
    assert "RUNNING" in (bundle.result / "steps/build.log").read_text()
    (board.folder / "mode").write_text("1\n")
    assert bundle.run("again") == 0
    assert len(board.calls()) == 2


def test_a_damaged_engine_in_the_cache_is_built_again(board):
    bundle = board.bundle(BUILD)
    assert bundle.run() == 0
    (stored,) = (board.folder / "cache/engines").rglob("e.engine")
    stored.write_text("rubbish")
    assert bundle.run("again") == 0
    assert len(board.calls()) == 2
    assert (bundle.result / "out/e.engine").read_text() == "engine \n"


def test_a_timing_cache_is_kept_on_the_device(board):
    timing = "result/out/timing-1.cache"
    bundle = board.bundle(
        tool("build", f"--timingCacheFile={timing}", f"--write={timing}", "--saveEngine=result/out/e.engine",
             engine="result/out/e.engine")
    )  # fmt: skip
    assert bundle.run() == 0
    shutil.rmtree(next((board.folder / "cache/engines").rglob("e.engine")).parents[2])
    other = board.bundle(
        tool("build", f"--timingCacheFile={timing}", f"--unless={timing}", "--saveEngine=result/out/e.engine",
             engine="result/out/e.engine")
    )  # fmt: skip
    assert other.run() == 0, other.said


def test_a_board_that_became_another_begins_anew(board):
    bundle = board.bundle(writing("one"), writing("two", f"--unless={board.folder}/fixed"))
    assert bundle.run() == 1
    (board.folder / "fixed").touch()
    board.program("trtexec", TRTEXEC % "8502")
    assert bundle.run() == 0
    assert [re.findall(r"out/(\w+)", call)[-1] for call in board.calls()] == ["one", "two", "one", "two"]


def test_it_says_how_far_it_is_and_stops_when_told(each_shell):
    bundle = each_shell.bundle(writing("one", "--sleep=60"))
    process = bundle.start()
    eventually(lambda: runs(each_shell.text("sleeper")))
    assert bundle.run("state") == 0
    assert bundle.said.splitlines()[-3] == "alive"
    assert bundle.said.splitlines()[-1] == "running 1 of 1 one"
    assert bundle.run("stop") == 0
    assert process.wait(PATIENCE_S) == 143
    assert not each_shell.held()
    assert bundle.run("state") == 0
    assert bundle.said.splitlines()[-3] == "still"
    assert bundle.run("nonsense") == 2
    assert "sh run.sh again" in bundle.said


def test_without_python_and_jetson_tools_it_runs_all_the_same(board):
    for name in ("tegrastats", "nvpmodel", "jetson_clocks", "sudo"):
        (board.bin / name).unlink()
    bundle = board.bundle(writing("one", telemetry=True))
    assert bundle.run() == 0, bundle.said
    assert not (bundle.result / "steps/one.tegrastats").exists()
