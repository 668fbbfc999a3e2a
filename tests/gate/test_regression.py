from dataclasses import replace

import made_runs
import numpy as np
import pytest

from edgeprune.errors import ConfigError
from edgeprune.gate import noise, regression
from edgeprune.gate.budget import Limits
from edgeprune.gate.regression import Comparison, Incomparable
from edgeprune.gate.rounds import Shift, across

LIMITS = Limits(max_regression=0.03)
DRIFTING = np.exp(np.linspace(0, 0.3, 24))
RETRAINED = {"artifacts__baseline_onnx__sha256": "c" * 64, "baseline__sha256": "d" * 64}


def judged(before, after, limits=LIMITS, found=None):
    check, _ = regression.judge(after, limits, before, found, waived=False)
    return check


def calibrated(made, **changes):
    sessions = [made(seed=seed, **changes).session for seed in range(10, 16)]
    return noise.calibrate(sessions, "host-cpu", "resnet56-1d-gr2016a", "2026-01-01")


def test_the_same_model_passes_and_a_slower_one_fails(made):
    before = made()
    assert judged(before, made(seed=1)).outcome == "pass"
    slower = judged(before, made(seed=2, pruned_ms=0.15 * 1.05))
    assert slower.outcome == "fail"
    assert slower.value == pytest.approx(0.05, abs=0.01)
    assert judged(before, made(seed=2, pruned_ms=0.15 * 1.02)).outcome == "pass"
    assert judged(before, made(seed=2, pruned_ms=0.15 * 0.5)).outcome == "pass"


def test_what_slows_the_machine_cancels_where_the_unpruned_model_is_the_same(made):
    before, after = made(), made(seed=1, machine=1.3 * DRIFTING)
    check = judged(before, after)
    assert check.outcome == "pass"
    assert "as a ratio to the unpruned model" in check.text
    assert after.report.latency.pruned.median_ms > 1.3 * before.report.latency.pruned.median_ms
    assert judged(before, made(seed=2, pruned_ms=0.15 * 1.06, machine=DRIFTING / 1.3)).outcome == "fail"


def test_a_retrained_model_is_compared_once_its_noise_is_known(made):
    before, again, slower = made(), made(seed=1, **RETRAINED), made(seed=2, pruned_ms=0.3, **RETRAINED)
    unknown = judged(before, again)
    assert unknown.outcome == "inconclusive"
    assert "artifacts.baseline_onnx.sha256" in unknown.text
    found = calibrated(made)
    check = judged(before, again, found=found)
    assert check.outcome == "pass"
    assert "in milliseconds" in check.text
    assert judged(before, slower, found=found).outcome == "fail"


CONDITIONS = {
    "target": {"target": "another"},
    "device.cpu": {"device": {"cpu": "A57"}},
    "device.power_mode": {"device": {"power_mode": "MAXN"}},
    "device.clocks_locked": {"device": {"clocks_locked": False}},
    "device.runtime.version": {"device": {"runtime": {"name": "onnxruntime", "version": "1.21.0"}}},
    "device.tensorrt": {"device": {"tensorrt": "10.3"}},
    "latency.runtime": {"runtime": "tensorrt"},
    "latency.precision": {"precision": "fp16"},
    "latency.batch": {"batch": 8},
    "latency.threads": {"threads": 2},
    "latency.mode": {"mode": "async"},
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_reports_made_under_other_conditions_are_not_compared(made, name):
    changes = CONDITIONS[name]
    if "target" in changes:
        other = made(seed=1, **changes)
    else:
        device = {**made_runs.DEVICE, **changes.get("device", {})}
        other = made(seed=1, setup=replace(made_runs.SETUP, **{**changes, "device": device}))
    for before, after in ((made(), other), (other, made())):
        check = judged(before, after)
        assert check.outcome == "inconclusive"
        assert check.text.startswith(f"not compared: {name}: ")


def test_the_load_of_the_day_is_no_condition(made):
    quiet = {**made_runs.DEVICE, "gpu_hz": [300, 300, 900]}
    busy = {**quiet, "gpu_hz": [300, 612, 900], "load_average": [3.0, 2.0, 1.0], "kernel": "Linux 7", "python": "3.13"}
    before, after = (
        made(seed=seed, setup=replace(made_runs.SETUP, device=each)) for seed, each in enumerate((quiet, busy))
    )
    assert judged(before, after).outcome == "pass"
    slower = made(seed=2, setup=replace(made_runs.SETUP, device={**quiet, "gpu_hz": [300, 300, 600]}))
    assert judged(before, slower).text.startswith("not compared: device.gpu_hz: ")


@pytest.mark.parametrize(
    ("name", "value"), [("name", "another"), ("name", None), ("units", 3), ("params", 3), ("macs", 3)]
)
def test_reports_of_another_model_are_not_compared(made, name, value):
    check = judged(made(**{f"baseline__{name}": value}), made(seed=1), found=calibrated(made))
    assert check.outcome == "inconclusive"
    assert f"baseline.{name}: " in check.text


def test_without_a_baseline_nothing_is_said_unless_that_is_known(made):
    assert judged(None, made()).outcome == "inconclusive"
    assert regression.judge(made(), LIMITS, None, None, waived=True) == (None, None)
    assert judged(None, made(), Limits(max_median_ms=1.0)) is None


def test_another_model_never_passes_even_when_no_limit_is_set(made):
    free = Limits(max_median_ms=1.0)
    assert judged(made(), made(seed=1), free).outcome == "pass"
    assert judged(made(baseline__name="another"), made(seed=1), free).outcome == "inconclusive"


def found_with(log, resolution, p):
    return Comparison(Shift(log, resolution, p, 1 - p), "ratio", "median", (64, 64), calibrated=False)


@pytest.mark.parametrize(
    ("log", "resolution", "p", "outcome"),
    [
        (0.05, 0.01, 0.001, "fail"),  # large and significant
        (0.05, 0.06, 0.02, "inconclusive"),  # large, not significant
        (0.02, 0.01, 0.001, "pass"),  # significant, not large
        (0.00, 0.01, 0.500, "pass"),
        (0.00, 0.10, 0.500, "inconclusive"),  # a slow-down of the limit's size would not have been seen
        (0.00, np.inf, 0.500, "inconclusive"),
        (-0.5, 0.01, 1.000, "pass"),
    ],
)
def test_a_regression_is_large_and_significant_and_a_pass_could_have_been_a_failure(log, resolution, p, outcome):
    assert regression.against_limit(found_with(log, resolution, p), 0.03, 0.01).outcome == outcome


def test_the_calibrated_noise_makes_the_test_more_careful(made):
    before, after = made(), made(seed=1, pruned_ms=0.15 * 1.05)
    quiet = regression.compare(before, after, 0.01, None)
    found = calibrated(made)
    loud = replace(found, floors={key: replace(each, spread_log=0.05) for key, each in found.floors.items()})
    noisy = regression.compare(before, after, 0.01, loud)
    assert noisy.calibrated
    assert noisy.shift.log == quiet.shift.log
    assert noisy.shift.p > 0.2 > 0.001 > quiet.shift.p
    assert noisy.shift.resolution == pytest.approx(3.365 * 0.05 * np.sqrt(2), rel=1e-3)  # t of 5 degrees at 0.01
    assert judged(before, after, found=loud).outcome == "inconclusive"


def test_a_calibration_under_other_conditions_is_of_no_use(made):
    fast = {**made_runs.DEVICE, "power_mode": "MAXN"}
    found = calibrated(made, setup=replace(made_runs.SETUP, device=fast))
    check = judged(made(), made(seed=1), found=found)
    assert check.outcome == "inconclusive"
    assert "calibration was made under other conditions: device.power_mode" in check.text


def test_a_limit_below_the_noise_is_refused(made):
    found = calibrated(made)
    floor = found.floor("ratio", "fast end").floor
    regression.refuse_below_floor(made(), Limits(max_regression=floor), found)
    regression.refuse_below_floor(made(), Limits(max_regression=floor / 2), None)
    with pytest.raises(ConfigError, match="below the noise floor") as error:
        regression.refuse_below_floor(made(), Limits(max_regression=floor * 0.99), found)
    assert error.value.exit_code == 2


def test_medians_are_compared_where_samples_are_missing(tmp_path, made):
    from edgeprune.gate import evidence

    path = made_runs.write(tmp_path / "lone")
    for file in path.parent.glob("*.npz"):
        file.unlink()
    found = regression.compare(evidence.read(path), made(seed=1), 0.01, None)
    assert found.level == "median"
    assert regression.compare(made(), made(seed=1), 0.01, None).level == "fast end"


def test_a_report_without_latency_cannot_be_compared(made):
    assert regression.compare(made(latency=None), made(), 0.01, None) == Incomparable("latency.pruned: absent before")


def test_facts_of_an_unknown_form_are_compared_as_they_are(made):
    odd = {**made_runs.DEVICE, "gpu_hz": "unknown"}
    reports = [made(seed=seed, setup=replace(made_runs.SETUP, device=odd)) for seed in (0, 1)]
    assert judged(*reports).outcome == "pass"
    assert "device.gpu_hz: unknown before, absent now" in judged(reports[0], made(seed=1)).text


TWO_BUILDS = [1, 2] * 12


def of_builds(made, seed, first, second):
    """A report whose pruned model takes so much longer in its first and its second build."""
    level = np.where(np.array(TWO_BUILDS) == 1, first, second)
    report = made(seed=seed, builds=TWO_BUILDS, pruned_ms=0.15)
    session = report.session
    slower = replace(
        session.pruned, medians_ms=session.pruned.medians_ms * level, fast_ms=session.pruned.fast_ms * level
    )
    return replace(session, pruned=slower)


def test_a_slow_down_must_lie_between_every_two_builds(made):
    even, slow = of_builds(made, 0, 1.0, 1.0), of_builds(made, 1, 1.08, 1.08)
    lucky, uneven = of_builds(made, 2, 1.0, 1.08), of_builds(made, 3, 1.0, 1.1)
    between = {
        name: regression.compare_sessions(before, after, 0.01, None).shift
        for name, before, after in (("all", even, slow), ("some", lucky, slow), ("none", even, uneven))
    }
    assert between["all"].p < 0.01
    assert between["some"].p > 0.2  # the slow build before is as slow as those now
    assert between["none"].p > 0.05  # its first build is no slower
    assert between["none"].p_faster > 0.5
    assert between["none"].share > 0.03
    unaware = regression.compare_sessions(replace(even, builds=()), replace(uneven, builds=()), 0.01, None).shift
    assert unaware.p < 0.03 < between["none"].p


def test_builds_that_are_alike_cost_little(made):
    even, same = of_builds(made, 0, 1.0, 1.0), of_builds(made, 1, 1.0, 1.0)
    told = regression.compare_sessions(even, same, 0.01, None).shift
    untold = regression.compare_sessions(replace(even, builds=()), replace(same, builds=()), 0.01, None).shift
    assert told.log == untold.log
    assert untold.resolution < told.resolution < 3 * untold.resolution


def test_a_resolution_between_builds_is_just_significant_for_every_pair():
    pairs = [Shift(0.01, 0.004, 0.001, 0.999), Shift(0.03, 0.006, 1e-5, 1 - 1e-5)]
    found = across(Shift(0.02, 0.003, 1e-6, 1 - 1e-6), pairs)
    assert (found.log, found.p, found.p_faster) == (0.02, 0.001, 1 - 1e-5)
    assert found.resolution == pytest.approx(0.014)  # a shift of all by 0.006 less leaves the first pair at 0.004
