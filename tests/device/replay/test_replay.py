import re

import by_hand
import numpy as np
import pytest

from edgeprune.device.probe import SCRIPT, parse, probe
from edgeprune.device.replay import transport as replay
from edgeprune.errors import ConfigError, DeviceError
from edgeprune.protocols import LinkLost, Transport
from edgeprune.runtimes.trtexec import runtime

# What meta-tegra and NVIDIA's archive say of each, not what the recordings say.
FACTS = {
    "nano-jp46": ("p3448", "tegra210", "32.7.1", "4.6.1", "5.3", 0, "8.2.1", 80201, "10.2"),
    "xavier-nx-jp51": ("p3668", "tegra194", "35.4.1", "5.1.2", "7.2", 2, "8.5.2", 80502, "11.4"),
    "agx-orin-jp60": ("p3701-0005", "tegra234", "36.3.0", "6.0", "8.7", 2, "8.6.2", 80602, "12.2"),
    "orin-nano-jp62": ("p3767-0005", "tegra234", "36.4.3", "6.2", "8.7", 0, "10.3.0.30", 100300, "12.6"),
    "orin-nx-jp62": ("p3767-0000", "tegra234", "36.4.3", "6.2", "8.7", 2, "10.3.0.30", 100300, "12.6"),
    "thor-jp70": ("p3834", "tegra264", "38.2.0", "7.0", "11.0", 0, "10.13.3.9", 101303, "13.0"),
    "agx-orin-jp72": ("p3701-0005", "tegra234", "39.2.2", "7.2.2", "8.7", 2, "11.4.1", 110401, "13.2"),
}


@pytest.fixture
def board(tmp_path, monkeypatch):
    return lambda name: by_hand.board(tmp_path, monkeypatch, name)


def test_every_board_has_facts_to_be_checked_against():
    assert set(replay.names()) == set(FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_a_board_is_probed_like_a_device(board, name):
    part, soc, l4t, jetpack, capability, dla, tensorrt, trtexec, cuda = FACTS[name]
    transport, _ = board(name)
    found = probe(transport)
    assert found.part.startswith(part)
    assert found.tensorrt.startswith(tensorrt)
    assert found.cuda.startswith(cuda)
    assert (found.soc, found.l4t, found.jetpack, found.compute_capability) == (soc, l4t, jetpack, capability)
    assert (found.dla_cores, found.trtexec_version) == (dla, trtexec)
    assert (found.architecture, found.onnxruntime, found.replay) == ("aarch64", None, name)
    assert found.power_modes[found.power_mode_id] == found.power_mode
    assert found.clocks_locked is False


def test_a_board_is_a_transport_and_says_that_it_is_a_replay(board):
    transport: Transport = board("nano-jp46")[0]
    assert (transport.name, transport.replay) == ("replay:nano-jp46", "nano-jp46")
    transport.close()


def test_a_board_says_so_whoever_asks(board):
    transport: Transport = board("nano-jp46")[0]
    said = transport.run(SCRIPT.read_text(), 60).stdout.decode()
    assert parse(said).replay == "nano-jp46"
    assert parse(said.replace("\nnano-jp46\n", "\n<b>nano</b>\n")).replay is None
    transport.close()


def test_files_are_put_and_fetched(board, tmp_path):
    transport, _ = board("nano-jp46")
    (tmp_path / "a").write_bytes(b"\0\n")
    transport.put(tmp_path / "a", "there/b")
    assert transport.run("cat there/b").stdout == b"\0\n"
    transport.get("there/b", tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"\0\n"


def test_a_board_stays_as_it_was_left_until_its_recording_changes(board, tmp_path, monkeypatch):
    transport, folder = board("nano-jp46")
    transport.run("echo 1 >kept; sudo -n nvpmodel -m 1")
    assert probe(board("nano-jp46")[0]).power_mode == "5W"
    assert board("nano-jp46")[0].run("cat kept").stdout == b"1\n"
    (folder / "stamp").write_text("of another version")
    again, _ = board("nano-jp46")
    assert again.run("cat kept").code != 0
    assert probe(again).power_mode == "MAXN"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("orin-nano", "no replayed board is named 'orin-nano'. Did you mean 'orin-nano-jp62'?"),
        ("", "no replayed board is named ''"),
        ("../../etc", "no replayed board is named '../../etc'"),
        ("nano-jp46+rebot", "no fault of a replayed board is named 'rebot'. Did you mean 'reboot'?"),
    ],
)
def test_an_unknown_board_or_fault_is_a_config_error_with_the_nearest(board, name, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        board(name)


def test_a_board_is_played_on_linux_alone(board, monkeypatch):
    monkeypatch.setattr(replay.sys, "platform", "darwin")
    with pytest.raises(ConfigError, match="this one runs darwin"):
        board("nano-jp46")


def test_power_is_changed_by_root_alone_and_given_back(board):
    transport, _ = board("orin-nano-jp62")
    refused = transport.run("nvpmodel -m 2")
    assert refused.code != 0
    assert b"NVPM ERROR" in refused.stdout
    assert transport.run("sudo -n nvpmodel -m 2 && nvpmodel -q").stdout.endswith(b"NV Power Mode: MAXN_SUPER\n2\n")
    assert transport.run("sudo -n nvpmodel -m 7").code != 0
    assert transport.run("jetson_clocks").code != 0
    assert transport.run("sudo -n jetson_clocks --store clocks && sudo -n jetson_clocks").code == 0
    assert probe(transport).clocks_locked is True
    transport.run("sudo -n jetson_clocks --restore clocks")
    assert probe(transport).gpu_hz == (306000000, 306000000, 1020000000)


def test_a_whole_plan_runs_on_a_board_under_a_real_shell(board, tmp_path):
    transport, _ = board("orin-nano-jp62")
    found = probe(transport)
    work = by_hand.work(roles=("baseline",), rounds=2, builds=1, answer_chunks=0)
    bundle = by_hand.lay_out(tmp_path / "bundle", work)
    plan = [plan for plan in runtime.plans(work) if plan.since <= found.trtexec_version][-1]
    by_hand.run(transport, bundle, plan, found.trtexec)
    measured = runtime.read(work, bundle, found.trtexec_version)
    assert len(measured.rounds) == 2
    assert measured.known["baseline"].shape == (1, by_hand.CLASSES)


def outcome(board, tmp_path, name, work=None):
    """The error of a measurement on a board, '' without one."""
    work = work or by_hand.work(rounds=2, builds=1, answer_chunks=0)
    _, folder = board(name)
    bundle = by_hand.lay_out(tmp_path / "bundle", work)
    version = FACTS[name.partition("+")[0]][7]
    by_hand.play(folder, bundle, [plan for plan in runtime.plans(work) if plan.since <= version][-1])
    try:
        runtime.read(work, bundle, version)
    except DeviceError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", FACTS)
def test_a_whole_plan_passes_on_every_board(board, tmp_path, name):
    assert outcome(board, tmp_path, name) == ""


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("oom", "build-baseline-1 failed: the device ran out of memory"),
        ("full-disk", "build-baseline-1 failed: the device's disk is full"),
        ("nan-times", "holds values that are not numbers"),
        ("foreign-engine", "built for another GPU: compute capability 8.7 is expected, 7.5 was found"),
    ],
)
def test_a_fault_of_the_board_ends_the_measurement_with_its_reason(board, tmp_path, fault, words):
    assert words in outcome(board, tmp_path, f"orin-nano-jp62+{fault}")


def test_a_board_that_answers_wrongly_does(board, tmp_path):
    work = by_hand.work(roles=("baseline",), rounds=2, builds=1, answer_chunks=0)
    known = {}
    for name in ("orin-nano-jp62", "orin-nano-jp62+wrong-answers"):
        _, folder = board(name)
        bundle = by_hand.lay_out(tmp_path / name, work)
        by_hand.play(folder, bundle, runtime.plans(work)[3])
        known[name] = runtime.read(work, bundle, 100300).known["baseline"]
    right, wrong = known.values()
    np.testing.assert_array_equal(np.roll(right, 1, axis=1), wrong)


def test_a_board_without_cuda_graphs_is_noticed(board, tmp_path):
    work = by_hand.work(roles=("baseline",), rounds=2, builds=1, answer_chunks=0)
    _, folder = board("orin-nano-jp62+no-graph")
    bundle = by_hand.lay_out(tmp_path / "bundle", work)
    by_hand.play(folder, bundle, runtime.plans(work)[3])
    assert "launched layer by layer" in runtime.read(work, bundle, 100300).mode


def test_a_throttled_board_slows_down_for_a_while(board, tmp_path):
    work = by_hand.work(roles=("baseline",), rounds=10, builds=1, answer_chunks=0)
    _, folder = board("orin-nano-jp62+throttled")
    bundle = by_hand.lay_out(tmp_path / "bundle", work)
    by_hand.play(folder, bundle, runtime.plans(work)[3])
    medians = [float(np.median(each.ms)) for each in runtime.read(work, bundle, 100300).rounds]
    assert max(medians[:4] + medians[8:]) * 1.5 < min(medians[4:8])


def test_a_killed_build_is_killed_once(board, tmp_path):
    transport, _ = board("orin-nano-jp62+killed")
    model = by_hand.model(tmp_path / "m.onnx", 1, 2)
    program = probe(transport).trtexec
    build = f"{program} --onnx={model} --saveEngine=e.engine --skipInference >log 2>&1"
    assert [transport.run(build).code for _ in range(3)] == [0, 137, 0]


def test_a_reboot_ends_what_runs_and_the_board_comes_back(board, tmp_path):
    transport, folder = board("orin-nano-jp62+reboot")
    model = by_hand.model(tmp_path / "m.onnx", 1, 2)
    program = probe(transport).trtexec
    transport.run(f"{program} --onnx={model} --saveEngine=e.engine --skipInference")
    transport.run("setsid sh -c 'while :; do sleep 10; done' >/dev/null 2>&1 & echo $! >pid")
    time = f"{program} --loadEngine=e.engine --warmUp=1 --duration=0.01 --exportTimes=t.json"
    assert transport.run(time).code == 0
    assert transport.run(time).code == 0
    transport.run(time)
    with pytest.raises(LinkLost, match="does not answer any more"):
        transport.run("true")
    (folder / "rebooted").unlink()
    assert transport.run("cat /proc/$(cat pid)/cmdline").stdout == b""  # gone, or not yet buried
    assert transport.run(time).code == 0


def test_a_link_that_drops_comes_back(board):
    transport, _ = board("orin-nano-jp62+dropped-link")
    lost = 0
    for _ in range(20):
        try:
            assert transport.run("echo x").stdout == b"x\n"
        except LinkLost:
            lost += 1
    assert lost == 3


def test_a_full_disk_takes_no_file(board, tmp_path):
    transport, _ = board("orin-nano-jp62+full-disk")
    (tmp_path / "a").write_text("a")
    with pytest.raises(DeviceError, match="No space left on device"):
        transport.put(tmp_path / "a", "b")
    assert probe(transport).disk_free_bytes == 2048 * 1024


@pytest.mark.parametrize(
    ("fault", "fact", "value"),
    [("no-trtexec", "trtexec", None), ("no-sudo", "sudo", False), ("wrong-clock", "clock_offset_s", -30 * 86400)],
)
def test_a_fault_shows_in_the_probe(board, fault, fact, value):
    found = getattr(probe(board(f"orin-nano-jp62+{fault}")[0]), fact)
    assert found == (pytest.approx(value, abs=4000) if isinstance(value, int) and value else value)


def test_a_slow_link_is_slow(board, monkeypatch):
    waited = []
    monkeypatch.setattr(replay.time, "sleep", waited.append)
    board("orin-nano-jp62+slow-link")[0].run("true")
    assert waited[0] == 0.3
