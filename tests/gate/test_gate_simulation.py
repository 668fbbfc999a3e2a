"""A small run of benchmarks/gate.py, whose full figures are in docs/results/benchmarks/gate.json."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
REPETITIONS = 60
DEFAULT, FEW = 64, 12


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmarks_gate", ROOT / "benchmarks" / "gate.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def found(benchmark):
    """Shares by kind of noise at two numbers of rounds."""
    names = ("autocorrelated", "drifting clock", "two speeds", "rounds of resnet56-1d-third")
    result = {}
    for way in (DEFAULT, FEW):
        draws = benchmark.kinds(np.random.default_rng(way), benchmark.Way(way))
        result[way] = {name: benchmark.shares(draws[name], benchmark.Way(way), REPETITIONS) for name in names}
    return result


def test_at_the_default_number_of_rounds_a_slow_down_is_found_and_nothing_else(found):
    for name, shares in found[DEFAULT].items():
        assert shares["gate"]["false_alarms"] <= 0.02, name
        assert shares["gate"]["found"] >= 0.95, name


def test_fewer_rounds_find_less_and_say_so_but_cry_no_wolf(found):
    for name in ("autocorrelated", "two speeds"):
        gate = found[FEW][name]["gate"]
        assert gate["false_alarms"] <= 0.05
        assert gate["found"] < 0.9
        assert gate["inconclusive_false_alarms"] > 0.1


def test_other_rules_cry_wolf_on_a_clock_that_drifts_between_measurements(found):
    shares = found[DEFAULT]["drifting clock"]
    assert shares["asv"]["false_alarms"] > 0.2
    assert shares["mean"]["false_alarms"] > 0.2


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
    one_process = np.log(benchmark.simulate(machine, benchmark.Way(400), 0, np.random.default_rng(0))[:, 0, 0])
    assert np.ptp(one_process) < 1e-6


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
