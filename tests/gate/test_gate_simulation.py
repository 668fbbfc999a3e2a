"""A small run of benchmarks/gate.py, whose full figures are in docs/results/benchmarks/gate.json."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
REPETITIONS = 40
DEFAULT, FEW = 64, 12


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmarks_gate", ROOT / "benchmarks" / "gate.py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(ROOT / "benchmarks"))
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(ROOT / "benchmarks"))
    del sys.modules[spec.name], sys.modules["gate_noise"]


@pytest.fixture(scope="module")
def found(benchmark):
    """Shares by kind of noise."""
    names = ("drifting clock", "two speeds", "sessions, 3 % a model", "rounds of resnet56-1d-third")
    way = benchmark.Way(DEFAULT)
    draws = benchmark.kinds(np.random.default_rng(0), way)
    return {name: benchmark.shares(draws[name], way, REPETITIONS) for name in names}


def test_nothing_cries_wolf_and_one_session_finds_a_slow_down(found):
    for name, shares in found.items():
        for rule in ("uncalibrated", "calibrated", "one session"):
            assert shares[rule]["false_alarms"] <= 0.05, (name, rule)
        assert shares["one session"]["found"] >= 0.9, name


def test_without_calibration_a_small_slow_down_is_never_called_none(found):
    for shares in found.values():
        assert shares["uncalibrated"]["inconclusive_found"] + shares["uncalibrated"]["found"] == 1


def test_fewer_rounds_find_less_and_say_so(benchmark):
    way = benchmark.Way(FEW)
    draw = benchmark.kinds(np.random.default_rng(1), way)["autocorrelated"]
    shares = benchmark.shares(draw, way, REPETITIONS)["one session"]
    assert shares["false_alarms"] <= 0.05
    assert shares["inconclusive_false_alarms"] > 0.3


def test_other_rules_cry_wolf_on_a_clock_that_drifts_between_measurements(found):
    shares = found["drifting clock"]
    assert shares["asv"]["false_alarms"] > 0.15
    assert shares["mean"]["false_alarms"] > 0.15


def test_intervals_hold_the_truth_they_are_of(benchmark):
    way = benchmark.Way(DEFAULT)
    kinds = benchmark.covered(np.random.default_rng(2), way)
    for name in ("steady", "ratio carried by 0.9", "processes differ by 0.7 %"):
        shares = benchmark.coverage(*_swapped(kinds[name], way))
        assert min(shares["speedup"], shares["median"]) >= 0.93 - 2 * (0.93 * 0.07 / REPETITIONS) ** 0.5, name


def _swapped(kind, way):
    draw, true = kind
    return draw, way, REPETITIONS, true


def test_a_speed_flips_every_so_many_rounds(benchmark):
    machine = benchmark.Machine(between=0, placement=0, wander=0, jitter=1e-9, flip=0.1)
    times = benchmark.simulate(machine, benchmark.Way(64), 0, np.random.default_rng(0))
    slow = np.log(times[:, 1, 0] / 0.15) > 0.05
    runs = np.diff(np.flatnonzero(np.diff(slow)))
    assert set(runs.tolist()) == {benchmark.FLIP_EVERY}
    assert np.ptp(times[:, 0]) < 1e-6


def test_rounds_carry_what_they_are_said_to(benchmark):
    series = sys.modules["gate_noise"].autocorrelated(0.6, 20_000, np.random.default_rng(0))
    assert np.corrcoef(series[:-1], series[1:])[0, 1] == pytest.approx(0.6, abs=0.02)
    assert np.var(series) == pytest.approx(1, abs=0.05)


def test_a_simulated_machine_is_what_it_is_said_to_be(benchmark):
    random = np.random.default_rng(0)
    plain = benchmark.Machine(between=0, placement=0, wander=0, jitter=1e-9)
    times = benchmark.simulate(plain, benchmark.Way(6), 0.05, random)
    assert times.shape == (6, 2, 60)
    assert times[:, 0] == pytest.approx(0.4, rel=1e-6)
    assert times[:, 1] == pytest.approx(0.15 * 1.05, rel=1e-6)
    slow = benchmark.simulate(
        benchmark.Machine(between=0, placement=0, wander=0, jitter=1e-9, slow=0.28), benchmark.Way(40), 0, random
    )
    assert set(np.round(np.log(slow[:, 0] / 0.4), 6).ravel()) == {0.0, 0.28}
    drift = benchmark.simulate(
        benchmark.Machine(0, 0, 0, 0, drift=0.5, jitter=1e-9), benchmark.Way(20), 0, np.random.default_rng(3)
    )
    logs = np.log(drift[:, 0, 0])
    assert np.ptp(np.diff(logs, 2)) > 0  # models take turns: the places of a model are not evenly spaced
    assert abs(np.corrcoef(logs, np.arange(20))[0, 1]) > 0.99


def test_longer_rounds_average_what_changes_within_them_and_nothing_else(benchmark):
    machine = benchmark.Machine(between=0, placement=0, wander=0.05, carry=0.5, jitter=0.1)
    spreads = []
    for round_ms in (60, 600):
        times = benchmark.simulate(machine, benchmark.Way(400, round_ms), 0, np.random.default_rng(0))
        assert times.shape == (400, 2, round_ms)
        spreads.append(np.var(np.log(np.median(times[:, 0], axis=1))))
    assert spreads[1] < spreads[0]
    assert spreads[1] == pytest.approx(0.05**2, rel=0.15)


def test_builds_and_processes_have_placements_of_their_own(benchmark):
    machine = benchmark.Machine(between=0, placement=0.01, wander=0, jitter=1e-9)
    way = benchmark.Way(400, 60, builds=2)
    levels = np.log(benchmark.simulate(machine, way, 0, np.random.default_rng(0))[:, 0, 0] / 0.4)
    of_first, of_second = levels[::2], levels[1::2]
    assert way.build_of[:3] == (1, 2, 1)
    assert np.std(of_first) == pytest.approx(0.01, rel=0.15)
    assert abs(of_first.mean() - of_second.mean()) > 0.003
    five = benchmark.Way(400)
    levels = np.log(benchmark.simulate(machine, five, 0, np.random.default_rng(0))[:, 0, 0])
    assert len(np.unique(np.round(levels, 6))) == 5
    assert five.process_of == tuple(number for number in range(1, 6) for _ in range(80))


def test_every_target_measures_in_one_of_the_ways_that_are_tried(benchmark):
    from edgeprune import targets

    ways = benchmark.defaults()
    assert sorted(name for names in ways.values() for name in names) == sorted(targets.names())
    published = json.loads((ROOT / "docs" / "results" / "benchmarks" / "gate.json").read_text())["defaults"]
    assert [(each["rounds"], each["round_ms"], each["builds"]) for each in published] == [
        (way.rounds, way.round_ms, way.builds) for way in ways
    ]
    assert [each["targets"] for each in published] == list(ways.values())
    assert all(each["target_met"] for each in published)
