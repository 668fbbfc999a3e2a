from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from edgeprune.errors import ConfigError, DataError
from edgeprune.gate import noise
from edgeprune.gate.session import SessionTiming, TimedSession

CONDITIONS = {"target": "board", "device.power_mode": "25W"}


def session(machine, own, seed=0, fast=True):
    """A measurement whose machine and whose pruned model are that much off, in logarithms."""
    jitter = 1e-6 * np.random.default_rng(seed).standard_normal(8)
    baseline, pruned = np.exp(machine + jitter), np.exp(machine + own + jitter)
    return TimedSession(
        CONDITIONS,
        SessionTiming("a", baseline, 0.9 * baseline if fast else None),
        SessionTiming("b", pruned, 0.9 * pruned if fast else None),
    )


def calibrate(sessions, days=(), earlier=None):
    return noise.calibrate(sessions, "board", "net", "2026-01-01", days, earlier)


def test_the_floor_is_what_two_further_measurements_stay_below():
    own = np.array([0.0, 0.01, -0.005, 0.002, 0.004])
    machine = np.array([0.2, -0.1, 0.0, 0.3, -0.2])
    found = calibrate([session(*pair, seed) for seed, pair in enumerate(zip(machine, own, strict=True))])
    for method, values in (("ratio", own), ("direct", machine + own)):
        for level in ("median", "fast end"):
            floor = found.floor(method, level)
            spread = np.std(values, ddof=1)
            assert floor.spread_log == pytest.approx(spread, rel=1e-3)
            assert floor.floor == pytest.approx(np.expm1(stats.t.isf(0.01, 4) * np.sqrt(2) * spread), rel=1e-3)
    assert found.repetitions == 5


def sessions_of(values, first_seed=0):
    return [session(0.0, value, first_seed + number) for number, value in enumerate(values)]


def test_other_days_are_added_and_count_as_days():
    own = [[0.0, 0.002, -0.002], [0.02, 0.021, 0.022], [-0.01, -0.012, -0.011]]
    found = calibrate(sessions_of(own[0]), ["d1"] * 3)
    for number, day in enumerate(own[1:], 2):
        found = calibrate(sessions_of(day, 10 * number), [f"d{number}"] * 3, found)
    assert (found.repetitions, found.days) == (9, ("d1",) * 3 + ("d2",) * 3 + ("d3",) * 3)
    floor = found.floor("ratio", "median")
    assert floor.results_log == pytest.approx(np.ravel(own).tolist(), abs=1e-5)
    # by hand: the mean square of days is three times the variance of their means, 3 * var([0, 0.021, -0.011])
    of_days = 3 * np.var([0.0, 0.021, -0.011], ddof=1)
    within = np.mean([np.var(each, ddof=1) for each in own])
    assert floor.spread_log**2 == pytest.approx(of_days / 3 + (1 - 1 / 3) * within, rel=1e-3)
    assert 2 <= floor.freedom < 2.2
    assert found.freedom("ratio", "median") == floor.freedom


def test_days_that_are_alike_count_as_one():
    values = [0.0, 0.01, -0.01, 0.005]
    one = calibrate(sessions_of(values), ["d1"] * 4)
    two = calibrate(sessions_of(values), ["d1", "d2", "d2", "d1"])
    assert two.floor("ratio", "median").spread_log == pytest.approx(one.floor("ratio", "median").spread_log)
    assert one.freedom("ratio", "median") == 3


def test_what_kept_no_single_results_cannot_be_added_to():
    found = calibrate(sessions_of([0.0, 0.01]))
    old = replace(found, days=(), sha256=None)
    assert old.freedom("ratio", "median") == 1
    with pytest.raises(ConfigError, match="older version"):
        calibrate(sessions_of([0.02], 5), ["d2"], old)
    with pytest.raises(DataError, match="different models"):
        calibrate([replace(sessions_of([0.02], 5)[0], baseline=SessionTiming("z", np.ones(8), None))], ["d2"], found)


def test_two_measurements_of_a_hundred_differ_by_more_than_the_floor():
    random = np.random.default_rng(1)
    above = 0
    for _ in range(300):
        own = 0.01 * random.standard_normal(8)
        found = calibrate([session(0.0, value, seed) for seed, value in enumerate(own[:6])])
        above += own[7] - own[6] > np.log1p(found.floor("ratio", "median").floor)
    assert above / 300 <= 0.025


def test_the_median_stands_in_where_single_times_are_missing():
    found = calibrate([session(0.0, value, seed, fast=False) for seed, value in enumerate((0.0, 0.01, 0.02))])
    assert found.floor("ratio", "fast end") == found.floor("ratio", "median")


def test_measurements_that_are_not_the_same_are_refused():
    one, other = session(0.0, 0.0, 1), session(0.0, 0.01, 2)
    with pytest.raises(ConfigError, match="1 measurement cannot show noise"):
        calibrate([one])
    with pytest.raises(DataError, match="1 and 3 are one and the same"):
        calibrate([one, other, one])
    with pytest.raises(DataError, match="different models"):
        calibrate([one, replace(other, pruned=replace(other.pruned, sha256="c"))])
    with pytest.raises(DataError, match=r"device\.power_mode: 25W before, MAXN now"):
        calibrate([one, replace(other, conditions={**CONDITIONS, "device.power_mode": "MAXN"})])


def test_entries_are_kept_one_a_target_and_model(tmp_path):
    path = tmp_path / "edgeprune-noise.json"
    assert noise.read(path).entries == ()
    first = calibrate([session(0.0, value, seed) for seed, value in enumerate((0.0, 0.01))])
    other = replace(first, model="other")
    noise.add(path, [first, other])
    again = replace(first, repetitions=7)
    noise.add(path, [again])
    found = noise.read(path)
    assert found.of("board", "net") == again
    assert found.of("board", "other") == other
    assert found.of("elsewhere", "net") is None
    assert len(found.entries) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "not a JSON file"), ('{"schema": "edgeprune-noise/2"}', "edgeprune-noise/2"), ('{"entries": []}', "schema")],
)
def test_a_file_of_something_else_is_refused(tmp_path, text, said):
    path = tmp_path / "edgeprune-noise.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        noise.read(path)
