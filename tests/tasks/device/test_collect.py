"""What a result proves: against hand-worked powers, and what is not believed."""

import numpy as np
import pytest
import synthetic
from scipy import stats

from edgeprune import registry
from edgeprune.bench.samples import read
from edgeprune.device.bundle import pack
from edgeprune.device.probe import needs_of
from edgeprune.errors import DataError, DeviceError
from edgeprune.records.device_run import Assignment, DeviceMeasurement, EngineFile, TimedRound
from edgeprune.targets import Target
from edgeprune.tasks.device.collect import collect
from edgeprune.tasks.device.pack import HOST

ROLES = ("baseline", "pruned")
WORK = Assignment("board", "fp16", 1, 1, ROLES, 2, 8, 3, 6, 10.0, 1.0, builds=1, answer_batch=4, answer_chunks=2)
TARGET = Target(
    name="board",
    description="a board",
    runtime="trtexec",
    opset=13,
    precisions=("fp16",),
    batch="static",
    compute_capability="8.7",
    rails=(("VDD_IN",),),
    bench={"rounds": 6, "round_ms": 10.0, "warmup_ms": 1.0},
)
FACTS = (
    "@@ compatible\nnvidia,p3767-0005\nnvidia,tegra234\n@@ trtexec\npath /usr/src/tensorrt/bin/trtexec\n"
    "&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec\n@@ end\n"
)
LABELS = np.array([0, 1, 2, 0, 1, 2])
ANSWERS = np.eye(3, dtype=np.float32)[LABELS] * 5


def meters(watts, clock_mhz=600, heat=50, load=90):
    line = f"RAM 1/2MB GR3D_FREQ {load}%@[{clock_mhz}] cpu@{heat}C VDD_IN {round(1000 * watts)}mW/1mW\n"
    return line * 10


class Runtime:
    """Reads what a test puts there."""

    name = "trtexec"

    def __init__(self, measured):
        self._measured = measured

    def read(self, work, bundle, version):
        assert version == 100300
        return self._measured


def measurement(**changed):
    rounds = tuple(
        TimedRound(role, 1, f"time-{number:03d}-{role}", np.full(20, 4.0 if role == "baseline" else 1.0))
        for number in range(1, 8)
        for role in ROLES
    )
    answers = np.concatenate([ANSWERS, np.zeros((2, 3), np.float32)])
    wrong = answers.copy()
    wrong[0] = [0, 9, 0]
    plain = {
        "mode": "no transfers, CUDA graph",
        "rounds": rounds,
        "known": dict.fromkeys(ROLES, ANSWERS[:1]),
        "answers": {"baseline": answers, "pruned": wrong},
        "engines": tuple(EngineFile(role, 1, "e" * 64, 1000) for role in ROLES),
    }
    return DeviceMeasurement(**{**plain, **changed})


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A run folder with a bundle, the host's answers and a result of seven rounds; returns what collects it."""
    for role in ROLES:
        (tmp_path / f"{role}.onnx").write_bytes(role.encode())
    content = {f"models/{role}.onnx": tmp_path / f"{role}.onnx" for role in ROLES}
    manifest = pack(tmp_path / "bundle.tar", needs_of(TARGET), WORK, "trtexec", (), content)
    host = {f"known_{role}": ANSWERS[:1] for role in ROLES} | {f"answers_{role}": ANSWERS for role in ROLES}
    np.savez(tmp_path / HOST, labels=LABELS, snrs=LABELS * 2, classes=np.array(synthetic.CLASSES), **host)
    steps = tmp_path / "there" / "result" / "steps"
    steps.mkdir(parents=True)
    (steps.parent / "facts.txt").write_text(FACTS)
    (steps / "idle.tegrastats").write_text(meters(3.0, load=0))
    for number in range(1, 8):
        (steps / f"time-{number:03d}-baseline.tegrastats").write_text(meters(8.0))
        (steps / f"time-{number:03d}-pruned.tegrastats").write_text(meters(5.0))

    def call(measured=None, replay=None):
        monkeypatch.setattr(registry, "get", lambda kind, name: Runtime(measured or measurement()))
        return collect(tmp_path / "there", manifest, TARGET, tmp_path, replay)

    call.folder, call.steps = tmp_path, steps
    return call


def test_energy_is_power_times_time(world):
    energy = world().energy
    assert energy.rails == ("VDD_IN",)
    assert energy.idle_w == pytest.approx(3.0)
    assert (energy.baseline.power_w, energy.pruned.power_w) == pytest.approx((8.0, 5.0))
    assert energy.baseline.energy_mj == pytest.approx(8.0 * 4.0)
    assert energy.pruned.energy_mj == pytest.approx(5.0 * 1.0)
    assert energy.pruned.net_energy_mj == pytest.approx((5.0 - 3.0) * 1.0)


def test_energy_of_overlapping_inferences_goes_by_the_time_they_take_together(world):
    rounds = tuple(TimedRound(each.role, each.build, each.step, each.ms, span_ms=30.0) for each in measurement().rounds)
    assert world(measurement(rounds=rounds)).energy.pruned.energy_mj == pytest.approx(5.0 * 30.0 / 20)


def test_a_board_without_meters_has_no_energy(world):
    for file in world.steps.glob("*.tegrastats"):
        file.unlink()
    outcome = world()
    assert outcome.energy is None
    assert outcome.bench.speedup == pytest.approx(4.0)


def test_a_round_in_which_the_clock_moved_is_lost_to_both_models(world):
    (world.steps / "time-003-pruned.tegrastats").write_text(meters(5.0) + meters(5.0, clock_mhz=300))
    outcome = world()
    assert len(outcome.discarded) == 1
    assert "round 3 does not count" in outcome.discarded[0]
    assert outcome.bench.rounds == 6
    for role in ROLES:
        assert len(read(world.folder / f"samples-{role}.npz")[0]) == 6
    assert outcome.discarded[0] in outcome.bench.warnings


def test_so_many_lost_rounds_that_nothing_can_be_compared_are_a_device_error_with_the_reason(world):
    for number in (2, 5):
        (world.steps / f"time-{number:03d}-pruned.tegrastats").write_text(meters(5.0) + meters(5.0, clock_mhz=300))
    with pytest.raises(DeviceError, match=r"2 were lost, as round 2 does not count: .*clock") as caught:
        world()
    assert caught.value.hint
    assert not (world.folder / "samples-pruned.npz").exists()


def test_accuracy_is_counted_from_the_answers_and_held_against_the_host(world):
    accuracy = world().accuracy
    assert accuracy.comparison.baseline.top1 == 1.0
    assert accuracy.comparison.pruned.top1 == pytest.approx(5 / 6)
    assert accuracy.comparison.baseline.by_snr.keys() == {"0", "2", "4"}
    assert (accuracy.baseline.top1, accuracy.baseline.max_abs_logit_difference) == (1.0, 0.0)
    assert accuracy.pruned.top1 == pytest.approx(5 / 6)
    assert accuracy.pruned.max_abs_logit_difference == pytest.approx(9.0)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (ANSWERS[:1] * 0.9, "off by 10% of the largest, 5% is allowed in fp16"),
        (np.full((1, 3), np.nan, np.float32), "computes something else"),
        (ANSWERS[:2], r"gives \(2, 3\) logits"),
    ],
)
def test_an_engine_that_computes_something_else_is_refused(world, known, words):
    with pytest.raises(DeviceError, match=words):
        world(measurement(known={"baseline": ANSWERS[:1], "pruned": known}))


def test_a_replay_says_so(world):
    outcome = world(replay="some-board")
    assert outcome.bench.device["replay"] == "some-board"
    assert "no device was measured" in " ".join(outcome.bench.warnings)


def test_without_what_the_host_answered_nothing_is_proved(world):
    (world.folder / HOST).write_bytes(b"no archive")
    with pytest.raises(DataError, match="not the host's outputs"):
        world()


def test_a_result_without_facts_is_refused(world):
    (world.steps.parent / "facts.txt").unlink()
    with pytest.raises(DeviceError, match="no facts"):
        world()


def test_a_result_of_another_kind_of_board_is_refused(world):
    (world.steps.parent / "facts.txt").write_text(FACTS.replace("tegra234", "tegra194"))
    with pytest.raises(DeviceError, match=r"compute capability 7\.2; board needs 8\.7"):
        world()


def test_spread_between_builds_widens_the_interval(world):
    builds = {1: 4.0, 2: 5.0}
    rounds = tuple(
        TimedRound(role, build, f"time-{number:03d}-{role}", np.full(20, builds[build] if role == "baseline" else 1.0))
        for number in range(1, 13)
        for build in [1 + (number - 1) % 2]
        for role in ROLES
    )
    for number in range(8, 13):
        for role in ROLES:
            (world.steps / f"time-{number:03d}-{role}.tegrastats").write_text(meters(5.0))
    bench = world(measurement(rounds=rounds)).bench
    low, high = bench.speedup_ci95
    assert bench.speedup == pytest.approx(20**0.5, rel=0.05)
    # the baseline's builds lie ln(5/4) apart and the others' not: a half of at least t(2) sqrt(ln(5/4)^2 / 2 / 2)
    half = stats.t.ppf(0.975, 2) * np.log(5 / 4) / 2
    assert low <= bench.speedup * np.exp(-half)
    assert bench.speedup * np.exp(half) <= high <= bench.speedup * np.exp(1.2 * half)
    assert (bench.processes, bench.process_of_round) == (12, tuple(range(1, 13)))
