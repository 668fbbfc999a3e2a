from dataclasses import replace

import made_runs
import numpy as np
import pytest
from scipy import stats

from edgeprune.gate import judge
from edgeprune.gate.budget import Limits


def outcomes(evidence, **limits):
    return {check.name: check.outcome for check in judge.judge(evidence, Limits(**limits)).checks}


def only(evidence, **limits):
    (check,) = judge.judge(evidence, Limits(**limits)).checks
    return check


def test_the_far_end_of_the_interval_decides(made):
    evidence = made()
    for name, sign in (("max_median_ms", 1), ("max_p99_ms", 1), ("min_speedup", -1)):
        check = only(evidence, **{name: 1.0})
        low, high = check.interval
        assert low < check.value < high
        far = high if sign > 0 else low
        assert only(evidence, **{name: far * (1 + sign * 1e-9)}).outcome == "pass"
        assert only(evidence, **{name: far * (1 - sign * 1e-6)}).outcome == "fail"
        between = only(evidence, **{name: (check.value + far) / 2})
        assert between.outcome == "fail"
        assert "the interval reaches past it" in between.text
        beyond = only(evidence, **{name: check.value * (1 - sign * 0.1)})
        assert beyond.outcome == "fail"
        assert "the interval reaches past it" not in beyond.text


def test_accuracy_is_judged_by_its_intervals(made):
    accuracy = made().report.accuracy
    assert only(made(), max_accuracy_drop=accuracy.drop_ci95[1]).outcome == "pass"
    assert only(made(), max_accuracy_drop=accuracy.drop_ci95[1] - 1e-6).outcome == "fail"
    low = accuracy.pruned.by_snr_ci95["10"][0]
    assert only(made(), min_accuracy_at_snr={"10": low}).outcome == "pass"
    assert only(made(), min_accuracy_at_snr={"10.0": low + 1e-6}).outcome == "fail"
    found = outcomes(made(), min_accuracy_at_snr={"10": 0.5, "-20": 0.1})
    assert found == {"min_accuracy_at_snr.10": "pass", "min_accuracy_at_snr.-20": "inconclusive"}


ALL = {
    "max_median_ms": 1e3,
    "max_p99_ms": 1e3,
    "min_speedup": 1e-3,
    "max_accuracy_drop": 1.0,
    "min_accuracy_at_snr": {"10": 0.0},
    "max_engine_mb": 1e3,
    "max_energy_mj": 1e3,
    "max_regression": 1.0,
}


def test_what_was_not_measured_never_passes(made):
    bare = made(latency=None, accuracy=None)
    found = outcomes(bare, **ALL)
    assert len(found) == len(ALL)
    assert set(found.values()) == {"inconclusive"}
    assert judge.judge(bare, Limits(**ALL)).outcome == "inconclusive"


def test_a_latency_of_the_unpruned_model_alone_says_nothing_of_the_pruned_one(made):
    alone = made(latency__pruned=None, latency__speedup=None, latency__speedup_ci95=None)
    found = outcomes(alone, max_median_ms=1e3, max_p99_ms=1e3, min_speedup=0.1, max_regression=1.0)
    assert set(found.values()) == {"inconclusive"}


def test_a_percentile_of_too_few_samples_is_not_claimed(made):
    check = only(made(rounds=8, each=20), max_p99_ms=1e3)
    assert check.outcome == "inconclusive"
    assert check.text.startswith("160 samples are too few")


def test_a_percentile_without_its_samples_has_no_interval(made, tmp_path):
    from edgeprune.gate import evidence

    path = made_runs.write(tmp_path / "lone")
    (path.parent / "samples-pruned.npz").unlink()
    lone = evidence.read(path)
    assert only(lone, max_p99_ms=1e3).outcome == "inconclusive"
    assert only(lone, max_median_ms=1e3).outcome == "pass"


def energy(pruned_mj):
    power = {"power_w": 5.0, "energy_mj": 9.0}
    pruned = {"pruned": {"power_w": 5.0, "energy_mj": pruned_mj}} if pruned_mj else {}
    return {"rails": ["VDD_IN"], "baseline": power, **pruned}


@pytest.mark.parametrize(("pruned_mj", "outcome"), [(6.0, "pass"), (6.1, "fail"), (None, "inconclusive")])
def test_energy(made, pruned_mj, outcome):
    assert only(made(energy=energy(pruned_mj)), max_energy_mj=6.0).outcome == outcome


def test_energy_of_every_round_is_judged_at_the_far_end_of_its_interval(made):
    energies = [5.0 + 0.1 * (number % 3) for number in (0, 1, 2, 2, 1, 0, 1, 0, 2, 1, 2, 0)]
    metered = energy(5.1)
    metered["pruned"]["round_energies_mj"] = energies
    groups = np.array_split(energies, 5)
    means = [each.mean() for each in groups]
    between, within = stats.sem(means), np.sqrt(sum(len(each) * each.var() for each in groups) / 12 / (1 - 1 / 2) / 10)
    half = stats.t.ppf(0.975, 4) * max(between, within)
    low, high = np.mean(means) - half, np.mean(means) + half
    check = only(made(energy=metered), max_energy_mj=high + 1e-9)
    assert check.interval == pytest.approx((low, high))
    assert check.outcome == "pass"
    assert only(made(energy=metered), max_energy_mj=high - 1e-9).outcome == "fail"
    metered["pruned"]["round_energies_mj"] = energies[:5]
    assert only(made(energy=metered), max_energy_mj=5.1).interval is None


def test_a_slow_build_widens_the_interval_of_the_median(made):
    builds = [1, 2] * 12
    slow_second = np.where(np.array(builds) == 2, 1.1, 1.0)
    told, untold = made(machine=slow_second, builds=builds), made(machine=slow_second)
    of_second = [times for times, build in zip(told.rounds["pruned"], builds, strict=True) if build == 2]
    second = float(np.median(np.concatenate(of_second)))
    assert untold.report.latency.pruned.median_ms < second
    low, high = only(told, max_median_ms=1.0).interval
    assert low < 0.96 * second
    assert second <= high
    assert only(told, max_p99_ms=1.0).interval[1] >= np.percentile(np.concatenate(of_second), 99)


@pytest.mark.parametrize(("size", "outcome"), [(4_000_000, "pass"), (4_000_001, "fail"), (None, "inconclusive")])
def test_the_size_of_the_engine_that_was_built(made, size, outcome):
    built = made(setup=replace(made_runs.SETUP, runtime="trtexec"), size__pruned_engine_bytes=size)
    assert only(built, max_engine_mb=4).outcome == outcome


@pytest.mark.parametrize("runtime", ["onnxruntime", "onnxruntime-agent"])
@pytest.mark.parametrize(("size", "outcome"), [(4_000_000, "pass"), (4_000_001, "fail")])
def test_where_onnx_files_run_as_they_are_the_file_is_the_engine(made, runtime, size, outcome):
    found = made(setup=replace(made_runs.SETUP, runtime=runtime), size__pruned_bytes=size)
    check = only(found, max_engine_mb=4)
    assert (check.outcome, check.value) == (outcome, size / 1e6)


def test_what_runs_nowhere_yet_has_no_engine(made):
    assert only(made(latency=None, size__pruned_bytes=1), max_engine_mb=4).outcome == "inconclusive"


def test_accuracy_on_the_device_counts_where_it_was_measured(made):
    host = made().report.accuracy
    agreement = {"top1": 1.0, "max_abs_logit_difference": 0.0}
    there = host.model_dump(mode="json", exclude_none=True)
    there["agreement"] = {"baseline": agreement, "pruned": agreement}
    there["drop_ci95"] = [0.0, 0.2]
    evidence = made(device_accuracy=there)
    assert only(evidence, max_accuracy_drop=0.1).outcome == "fail"
    assert only(made(), max_accuracy_drop=0.1).outcome == "pass"


def test_a_machine_that_wanders_has_a_wider_median(made):
    machine = np.exp(np.linspace(0, 0.2, 24))
    steady, drifting = (only(made(machine=each), max_median_ms=1.0).interval for each in (None, machine))
    assert drifting[1] / drifting[0] > 1.02 > steady[1] / steady[0]


def test_figures_and_texts_hold_what_was_measured(made):
    judged = judge.judge(made(), Limits(max_median_ms=0.2))
    values = {figure.name: figure.value for figure in judged.figures}
    latency = made().report.latency
    assert values["median_ms"] == latency.pruned.median_ms
    assert values["speedup"] == latency.speedup
    assert {figure.name for figure in judged.figures} == {"median_ms", "p99_ms", "speedup", "top1", "onnx_bytes"}
    assert f"{latency.pruned.median_ms:.3f} ms" in judged.checks[0].text
    assert "at most 0.2 ms" in judged.checks[0].text
