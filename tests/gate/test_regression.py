from dataclasses import replace

import made_runs
import numpy as np
import pytest
from scipy import stats

from edgeprune.errors import ConfigError
from edgeprune.gate import evidence, noise, regression
from edgeprune.gate.budget import Limits
from edgeprune.gate.regression import Incomparable, SessionComparison
from edgeprune.gate.session import shift_between
from edgeprune.gate.statistics import Shift, across

LIMITS = Limits(max_regression=0.03)
DRIFTING = np.exp(np.linspace(0, 0.3, 24))
RETRAINED = {"artifacts__baseline_onnx__sha256": "c" * 64, "baseline__sha256": "d" * 64}


def judged(before, after, limits=LIMITS, found=None):
    compared = None if before is None else regression.compare(before, after, limits.alpha, found)
    return regression.check_of(compared, limits)


def calibrated(made, **changes):
    sessions = [made(seed=seed, **changes).session for seed in range(10, 16)]
    return noise.calibrate(sessions, "host-cpu", "resnet56-1d-gr2016a", "2026-01-01")


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A calibration, as another session would have made it."""
    count = iter(range(100))

    def made(**changes):
        return evidence.read(made_runs.write(tmp_path_factory.mktemp("calibration") / str(next(count)), **changes))

    return calibrated(made)


def test_the_same_model_passes_and_a_slower_one_fails(made, known):
    before = made()
    assert judged(before, made(seed=1), found=known).outcome == "pass"
    slower = judged(before, made(seed=2, pruned_ms=0.15 * 1.05), found=known)
    assert slower.outcome == "fail"
    assert slower.value == pytest.approx(0.05, abs=0.01)
    assert judged(before, made(seed=2, pruned_ms=0.15 * 1.02), found=known).outcome == "pass"
    assert judged(before, made(seed=2, pruned_ms=0.15 * 0.5), found=known).outcome == "pass"


def test_without_calibration_sessions_are_taken_to_differ_by_what_is_said(made):
    before = made()
    for slower, outcome in ((1.0, "inconclusive"), (1.05, "inconclusive"), (1.3, "fail")):
        check = judged(before, made(seed=1, pruned_ms=0.15 * slower))
        assert check.outcome == outcome
        assert "if each network differs by 3% from one session to the next" in check.text
        assert check.text.startswith("not calibrated: ") == (outcome == "inconclusive")
    # four latencies with a standard deviation of 3 % each: 6 % for the difference of their ratios
    found = regression.compare(before, made(seed=1), 0.01, None)
    assert found.shift.resolution == pytest.approx(stats.norm.isf(0.01) * 0.06, rel=0.02)
    assert judged(before, made(seed=1), Limits(max_regression=0.2)).outcome == "pass"


def test_what_slows_the_machine_cancels_where_the_unpruned_model_is_the_same(made, known):
    before, after = made(), made(seed=1, machine=1.3 * DRIFTING)
    check = judged(before, after, found=known)
    assert check.outcome == "pass"
    assert "as a ratio to the unpruned model" in check.text
    assert after.report.latency.pruned.median_ms > 1.3 * before.report.latency.pruned.median_ms
    slower = made(seed=2, pruned_ms=0.15 * 1.06, machine=DRIFTING / 1.3)
    assert judged(before, slower, found=known).outcome == "fail"


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
    assert "not compared" not in judged(before, after).text
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
    assert regression.check_of(None, LIMITS, waived=True) is None
    assert judged(None, made(), Limits(max_median_ms=1.0)) is None


def test_another_model_never_passes_even_when_no_limit_is_set(made):
    free = Limits(max_median_ms=1.0)
    assert judged(made(), made(seed=1), free).outcome == "pass"
    assert judged(made(baseline__name="another"), made(seed=1), free).outcome == "inconclusive"


def found_with(log, resolution, p):
    return SessionComparison(Shift(log, resolution, p, 1 - p), "ratio", "median", (64, 64), "calibrated")


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
        (-0.5, 0.10, 1.000, "pass"),  # so much faster that no noise makes it slower than allowed
    ],
)
def test_a_regression_is_large_and_significant_and_a_pass_could_have_been_a_failure(log, resolution, p, outcome):
    assert regression.against_limit(found_with(log, resolution, p), 0.03, 0.01).outcome == outcome


def test_the_calibrated_noise_makes_the_test_more_careful(made, known):
    before, after = made(), made(seed=1, pruned_ms=0.15 * 1.05)
    quiet = regression.compare(before, after, 0.01, known)
    loud = replace(known, floors={key: replace(each, spread_log=0.05) for key, each in known.floors.items()})
    noisy = regression.compare(before, after, 0.01, loud)
    assert noisy.spread == "calibrated"
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
    assert "not compared" not in judged(*reports).text
    assert "device.gpu_hz: unknown before, absent now" in judged(reports[0], made(seed=1)).text


TWO_BUILDS = [1, 2] * 12


def of_builds(made, seed, first, second):
    """A measurement whose pruned model takes so much longer in its first and its second build."""
    level = np.where(np.array(TWO_BUILDS) == 1, first, second)
    session = made(seed=seed, builds=TWO_BUILDS).session
    slower = replace(
        session.pruned, medians_ms=session.pruned.medians_ms * level, fast_ms=session.pruned.fast_ms * level
    )
    return replace(session, pruned=slower)


def shift(before, after):
    return shift_between(before, after, "ratio", 0.01)


def test_a_slow_down_must_lie_between_every_two_builds(made):
    even, slow = of_builds(made, 0, 1.0, 1.0), of_builds(made, 1, 1.08, 1.08)
    lucky, uneven = of_builds(made, 2, 1.0, 1.08), of_builds(made, 3, 1.0, 1.1)
    assert shift(even, slow).p < 0.01
    assert shift(lucky, slow).p > 0.2  # the slow build before is as slow as those now
    none = shift(even, uneven)
    assert none.p > 0.05  # its first build is no slower
    assert none.p_faster > 0.5
    assert none.share > 0.03


def test_builds_that_are_alike_cost_little(made):
    even, same = of_builds(made, 0, 1.0, 1.0), of_builds(made, 1, 1.0, 1.0)
    told, untold = shift(even, same), shift(replace(even, builds=()), replace(same, builds=()))
    assert told.log == untold.log
    assert max(untold.resolution, told.resolution) < 0.03  # the limit of these tests would be seen


def in_turns(made, slower, **changes):
    """The older pruned model and the newer one in one session."""
    return made(pruned_ms=made_runs.BASELINE_MS * slower, machine=DRIFTING, **changes).session


@pytest.mark.parametrize("changes", [{}, {"builds": TWO_BUILDS}])
def test_in_one_session_nothing_is_assumed_of_sessions(made, changes):
    for slower, outcome in ((1.0, "pass"), (1.05, "fail"), (0.9, "pass")):
        found = regression.compare_within(in_turns(made, slower, seed=4, **changes), 0.01)
        check = regression.check_of(found, LIMITS)
        assert check.outcome == outcome
        assert "in turns with the older one in one session" in check.text
        assert check.value == pytest.approx(slower - 1, abs=0.01)


def test_builds_count_in_one_session_too(made):
    session = in_turns(made, 1.0, builds=TWO_BUILDS)
    level = np.where(np.array(TWO_BUILDS) == 1, 1.0, 1.1)
    uneven = replace(
        session, pruned=replace(session.pruned, medians_ms=session.pruned.medians_ms * level, fast_ms=None)
    )
    found = regression.compare_within(uneven, 0.01)
    assert found.shift.share == pytest.approx(0.05, abs=0.02)
    assert found.shift.p > 0.2


def test_the_comparisons_of_one_call_hold_together():
    alone = [found_with(0.05, 0.01, p) for p in (0.004, 0.008, 0.2)]
    found = regression.together(alone)
    assert [each.shift.p for each in found] == pytest.approx([0.012, 0.016, 0.2])
    assert all("for all 3 comparisons (Holm)" in each.told for each in found)
    assert [regression.against_limit(each, 0.03, 0.01).outcome for each in (alone[0], found[0])] == [
        "fail",
        "inconclusive",
    ]
    assert regression.together(alone[:1]) == alone[:1]
    assert "Holm" not in alone[0].told


def test_a_resolution_between_builds_is_just_significant_for_every_pair():
    pairs = [Shift(0.01, 0.004, 0.001, 0.999), Shift(0.03, 0.006, 1e-5, 1 - 1e-5)]
    found = across(Shift(0.02, 0.003, 1e-6, 1 - 1e-6), pairs)
    assert (found.log, found.p, found.p_faster) == (0.02, 0.001, 1 - 1e-5)
    assert found.resolution == pytest.approx(0.014)  # a shift of all by 0.006 less leaves the first pair at 0.004
