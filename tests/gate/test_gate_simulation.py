"""A small run of benchmarks/gate.py, whose full figures are in docs/results/benchmarks/gate.json."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
REPETITIONS = 60


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
    for rounds in (benchmark.DEFAULT_ROUNDS, 12):
        draws = benchmark.kinds(np.random.default_rng(rounds), rounds)
        result[rounds] = {name: benchmark.shares(draws[name], REPETITIONS) for name in names}
    return result


def test_at_the_default_number_of_rounds_a_slow_down_is_found_and_nothing_else(benchmark, found):
    for name, shares in found[benchmark.DEFAULT_ROUNDS].items():
        assert shares["gate"]["false_alarms"] <= 0.02, name
        assert shares["gate"]["found"] >= 0.95, name


def test_fewer_rounds_find_less_and_say_so_but_cry_no_wolf(found):
    for name in ("autocorrelated", "two speeds"):
        gate = found[12][name]["gate"]
        assert gate["false_alarms"] <= 0.05
        assert gate["found"] < 0.9
        assert gate["inconclusive_false_alarms"] > 0.1


def test_other_rules_cry_wolf_on_a_clock_that_drifts_between_measurements(benchmark, found):
    shares = found[benchmark.DEFAULT_ROUNDS]["drifting clock"]
    assert shares["asv"]["false_alarms"] > 0.2
    assert shares["mean"]["false_alarms"] > 0.2


def test_a_simulated_machine_is_what_it_is_said_to_be(benchmark):
    random = np.random.default_rng(0)
    plain = benchmark.Machine(between=0, placement=0, wander=0, jitter=1e-9)
    times = benchmark.simulate(plain, 6, 0.05, random)
    assert times.shape == (6, 2, 60)
    assert times[:, 0] == pytest.approx(0.4, rel=1e-6)
    assert times[:, 1] == pytest.approx(0.15 * 1.05, rel=1e-6)
    slow = benchmark.simulate(
        benchmark.Machine(between=0, placement=0, wander=0, jitter=1e-9, slow=0.28), 40, 0, random
    )
    assert set(np.round(np.log(slow[:, 0] / 0.4), 6).ravel()) == {0.0, 0.28}
    drift = benchmark.simulate(benchmark.Machine(0, 0, 0, 0, drift=0.5, jitter=1e-9), 20, 0, np.random.default_rng(3))
    logs = np.log(drift[:, 0, 0])
    assert np.ptp(np.diff(logs, 2)) > 0  # models take turns: the places of a model are not evenly spaced
    assert abs(np.corrcoef(logs, np.arange(20))[0, 1]) > 0.99
