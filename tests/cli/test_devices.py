"""Devices on the command line, played by recorded boards: the whole job, by hand too, and what is refused."""

import json
import shutil
import sys
import tarfile

import pytest

from edgeprune.cli import main
from edgeprune.device.replay.transport import open_board
from edgeprune.files.store import file_sha256

BOARD = "replay:orin-nano-jp62"
TARGET = """
name = "quick-orin"
description = "an Orin, measured shortly"
runtime = "trtexec"
opset = 16
precisions = ["fp16", "fp32"]
batch = "static"
compute_capability = "8.7"
tensorrt = {lowest = "8.4", below = "12"}
rails = [["VDD_IN"]]
builds = 1
[bench]
rounds = 6
round_ms = 20.0
warmup_ms = 5.0
"""


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def arguments(world, out, *more):
    """The job for an Orin."""
    (world / "quick-orin.toml").write_text(TARGET)
    what = ("--target", world / "quick-orin.toml", "--data", world / "frames.npz", "--epochs", 1, "--keep", 3)
    return ("prune-and-export", world / "model.pt", *what, "--out", out, *more)


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    """The folder of a job that had no device, made once for the module."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["edgeprune", *map(str, arguments(world, folder, "--quiet"))])
        with pytest.raises(SystemExit) as stop:
            main()
    assert stop.value.code == 0
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def job(world, run):
    """Runs the job; returns how it ended."""
    return lambda out, *more: run(*arguments(world, out, *more))


def check_measured(report):
    """What every report of a measured device holds."""
    assert report["latency"]["runtime"] == "trtexec"
    assert report["latency"]["precision"] == "fp16"
    low, high = report["latency"]["speedup_ci95"]
    assert 1 < low <= report["latency"]["speedup"] <= high
    agreement = report["device_accuracy"]["agreement"]
    assert agreement["baseline"]["top1"] == agreement["pruned"]["top1"] == 1.0
    assert report["device"]["part"] == "p3767-0005"
    assert report["energy"]["rails"] == ["VDD_IN"]
    assert report["energy"]["pruned"]["energy_mj"] < report["energy"]["baseline"]["energy_mj"]
    assert report["size"]["pruned_engine_bytes"] < report["size"]["baseline_engine_bytes"]
    for layers in report["layers"].values():
        assert sum(layer["share"] for layer in layers) == pytest.approx(1)
        assert layers[0]["mean_ms"] == max(layer["mean_ms"] for layer in layers) > 0
    assert not [warning for warning in report["warnings"] if "nothing was measured" in warning]


def test_the_whole_job_on_a_recorded_board_says_that_it_is_one(job, folder, monkeypatch):
    ended = job(folder, "--device", BOARD, "--json")
    assert ended.code == 0, ended.err
    check_measured(ended.json)
    assert ended.json["device"]["replay"] == "orin-nano-jp62"
    page = (folder / "report.html").read_text()
    assert "Replay of the recorded board orin-nano-jp62: no device was measured" in page
    again = job(folder, "--device", BOARD, "--dry-run", "--json").json["stages"]
    assert [name for name, what in again.items() if what == "run"] == ["12-report"]
    monkeypatch.setattr("edgeprune.__version__", "0.1.1")  # brings scripts of its own
    again = job(folder, "--device", BOARD, "--dry-run", "--json").json["stages"]
    assert [name for name, what in again.items() if what == "run"] == ["10-bundle", "11-device", "12-report"]


def test_without_a_device_it_leaves_a_bundle_that_is_run_by_hand_and_collected(job, run, folder, tmp_path):
    ended = job(folder, "--json")
    assert ended.code == 0, ended.err
    assert "latency" not in ended.json
    assert any("edgeprune device collect" in warning for warning in ended.json["warnings"])
    assert ended.json["artifacts"]["bundle"]["sha256"] == file_sha256(folder / "bundle.tar")
    told = run("device", "bundle", folder, "--out", tmp_path / "carried.tar", "--json").json
    assert file_sha256(tmp_path / "carried.tar") == ended.json["artifacts"]["bundle"]["sha256"]

    board = open_board(BOARD)
    board.put(tmp_path / "carried.tar", "carried.tar")
    inside = f"edgeprune-{told['id'][:8]}"
    done = board.run(f"rm -rf {inside}; tar xf carried.tar && cd {inside} && sh run.sh", 300)
    assert done.code == 0, done.stderr
    board.get(f"edgeprune-result-{told['id'][:8]}.tar", tmp_path / "result.tar")

    collected = run("device", "collect", folder, tmp_path / "result.tar", "--json")
    assert collected.code == 0, collected.err
    check_measured(collected.json)
    assert collected.json["device"]["replay"] == "orin-nano-jp62"
    assert json.loads((folder / "report.json").read_text()) == collected.json
    assert job(folder, "--json").json["latency"] == collected.json["latency"]


def test_a_result_that_was_tampered_with_changes_nothing(run, folder, tmp_path):
    before = (folder / "report.json").read_bytes()
    (tmp_path / "bad.tar").write_bytes(b"\0" * 2048)
    with tarfile.open(tmp_path / "escape.tar", "w") as tar:
        tar.add(folder / "log.txt", "../log.txt")
    for name in ("bad.tar", "escape.tar"):
        ended = run("device", "collect", folder, tmp_path / name)
        assert ended.code == 4, ended.err
        assert name in ended.err
    assert (folder / "report.json").read_bytes() == before


def test_bench_and_build_on_a_device(run, world, finished, tmp_path):
    target = ("--target", world / "quick-orin.toml", "--device", BOARD)
    pair = (finished / "baseline.onnx", finished / "pruned.onnx")
    measured = run("bench", *pair, *target, "--out", tmp_path / "bench", "--json")
    assert measured.json["speedup"] > 1
    assert measured.json["rounds"] == 6
    few = run("bench", *pair, "--target", "jetson-orin", "--device", BOARD, "--rounds", 8, "--out", tmp_path / "few")
    assert few.code == 2
    assert "rounds is 8; comparing two models, each engine built 2 times, takes at least 12" in few.err
    alone = run("bench", pair[0], *target, "--out", tmp_path / "alone", "--json")
    assert "speedup" not in {key for key, value in alone.json.items() if value is not None}
    built = run("build", pair[1], *target, "--out", tmp_path / "pruned.engine", "--json")
    assert built.code == 0, built.err
    assert built.json["sha256"] == file_sha256(tmp_path / "pruned.engine")


def test_too_few_rounds_are_refused_before_any_work(run, world, tmp_path):
    target = tmp_path / "quick-orin.toml"
    target.write_text(TARGET.replace("builds = 1", "builds = 2"))
    few = run(*arguments(world, tmp_path / "few", "--target", target))
    assert few.code == 2
    assert "rounds is 6; comparing two models, each engine built 2 times, takes at least 12" in few.err
    assert not list((tmp_path / "few").glob("*.json"))


def test_bench_on_an_accelerator(run, world, finished, tmp_path):
    target = ("--target", world / "quick-orin.toml", "--device", "replay:orin-nx-jp62")
    ended = run("bench", finished / "pruned.onnx", *target, "--dla", 0, "--out", tmp_path / "bench", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["mode"].endswith("DLA 0")
    assert not (tmp_path / "bench/device/models").exists()


POWER = ("--power-mode", "MAXN_SUPER", "--lock-clocks")


@pytest.mark.parametrize("fault", ["", "+oom"])
def test_the_power_state_is_changed_for_the_measurement_alone(run, world, finished, tmp_path, fault):
    board = BOARD + fault
    before = run("device", "probe", board, "--json").json
    assert (before["power_mode"], before["clocks_locked"]) == ("25W", False)
    target = ("--target", world / "quick-orin.toml", "--device", board)
    ended = run("bench", finished / "pruned.onnx", *target, *POWER, "--out", tmp_path / "bench", "--json")
    if fault:
        assert ended.code == 4
        assert "out of memory" in ended.err
    else:
        assert (ended.json["device"]["power_mode"], ended.json["device"]["clocks_locked"]) == ("MAXN_SUPER", True)
    after = run("device", "probe", board, "--json").json
    for fact in ("power_mode", "power_mode_id", "clocks_locked", "gpu_hz"):
        assert after[fact] == before[fact]


def test_without_root_the_power_state_is_not_asked_for(run, world, finished, tmp_path):
    target = ("--target", world / "quick-orin.toml", "--device", f"{BOARD}+no-sudo")
    ended = run("bench", finished / "pruned.onnx", *target, *POWER, "--out", tmp_path / "bench")
    assert ended.code == 4
    (line,) = [line for line in ended.err.splitlines() if line.startswith("error:")]
    assert "sudo asks for a password" in line


@pytest.mark.parametrize(
    ("device", "code", "words"),
    [
        ("replay:orin-nano-jp63", 2, "'orin-nano-jp62'"),
        ("replay:nano-jp46", 4, "compute capability"),
        ("replay:orin-nano-jp62+no-trtexec", 4, "trtexec"),
    ],
)
def test_a_device_that_will_not_do_is_refused_before_any_work(job, tmp_path, device, code, words):
    ended = job(tmp_path / "run", "--device", device)
    assert ended.code == code, ended.err
    assert len([line for line in ended.err.splitlines() if line.startswith("error:")]) == 1
    assert words in ended.err
    assert not list((tmp_path / "run").glob("*-*.json"))


def test_a_full_disk_is_told_in_one_line_and_the_bundle_is_kept(job, folder):
    ended = job(folder, "--device", "replay:orin-nano-jp62+full-disk")
    assert ended.code == 4, ended.err
    assert "are free on" in ended.err
    assert (folder / "bundle.tar").is_file()


def test_a_device_for_a_target_of_this_machine_is_refused(world, run, tmp_path):
    data = ("--data", world / "frames.npz", "--out", tmp_path / "run")
    ended = run("prune-and-export", world / "model.pt", "--target", "host-cpu", *data, "--device", BOARD)
    assert ended.code == 2
    assert "host-cpu is measured on this machine" in ended.err


def test_probe_tells_what_a_board_is_and_whether_it_is_the_target(run):
    facts = run("device", "probe", BOARD, "--json").json
    assert (facts["compute_capability"], facts["jetpack"], facts["replay"]) == ("8.7", "6.2", "orin-nano-jp62")
    assert run("device", "probe", BOARD, "--target", "jetson-orin").code == 0
    other = run("device", "probe", BOARD, "--target", "jetson-agx-xavier")
    assert other.code == 4
    assert "8.7" in other.err
    assert "7.2" in other.err


def test_list_names_hosts_of_the_configuration_and_boards(run, tmp_path):
    (tmp_path / "more").write_text("Host=lab\n  HostName 10.0.0.2\n")
    (tmp_path / "config").write_text(f"Host orin nano *.example !no\n  User edge\nInclude {tmp_path}/more\n")
    found = run("device", "list", "--ssh-config", tmp_path / "config", "--json").json["devices"]
    assert [device["name"] for device in found if device["what"] == "ssh"] == ["orin", "nano", "lab"]
    assert BOARD in [device["name"] for device in found]


def test_a_folder_that_is_no_run_is_refused(run, tmp_path):
    shutil.copy(__file__, tmp_path / "result.tar")
    ended = run("device", "collect", tmp_path, tmp_path / "result.tar")
    assert ended.code == 2
    assert "no run folder" in ended.err
