import dataclasses

import pytest
from fake_run import bench, comparison, evidence, origin

from edgeprune.report.document import build
from edgeprune.report.pages import requirements, tables
from edgeprune.report.schema.json import parse
from edgeprune.report.schema.schema import Report


def report(speedup=(2.81, 2.74, 2.9), drop=(0.002, -0.001, 0.005), p=0.21) -> Report:
    """A report with this ratio and interval, this loss and interval; None for what was not measured."""
    measured = accuracy = None
    if speedup is not None:
        measured = dataclasses.replace(bench(), speedup=speedup[0], speedup_ci95=speedup[1:])
    if drop is not None:
        accuracy = dataclasses.replace(comparison(), drop=drop[0], drop_ci95=drop[1:], mcnemar_p=p)
    return parse(build(evidence(bench=measured, accuracy=accuracy), origin()), "test")


def test_faster_at_no_significant_loss():
    assert requirements.sentence(report()) == (
        "resnet56-1d runs 2.81× faster (95 % interval 2.74 to 2.90) on host-cpu and shows no measurable change in "
        "accuracy (0.2 percentage points lost, 95 % interval of the loss −0.1 to 0.5; McNemar p = 0.21)."
    )


def test_faster_at_a_significant_loss():
    assert requirements.sentence(report(drop=(0.053, 0.048, 0.058), p=1e-9)).endswith(
        " and loses 5.3 percentage points of accuracy (95 % interval 4.8 to 5.8; significant, McNemar p < 0.001)."
    )


def test_a_gain_turns_the_interval_round():
    assert requirements.sentence(report(drop=(-0.004, -0.009, -0.001), p=0.02)).endswith(
        " and gains 0.4 percentage points of accuracy (95 % interval 0.1 to 0.9; significant, McNemar p = 0.02)."
    )
    assert requirements.sentence(report(drop=(-0.004, -0.009, 0.001), p=0.12)).endswith(
        " and shows no measurable change in accuracy (0.4 percentage points gained, 95 % interval of the loss −0.9 to "
        "0.1; McNemar p = 0.12)."
    )


@pytest.mark.parametrize("drop", [0.0, 0.0004, -0.0004])
def test_a_change_that_rounds_to_nothing_is_not_called_a_loss(drop: float):
    text = requirements.sentence(report(drop=(drop, -0.003, 0.003), p=0.9))
    assert "shows no measurable change in accuracy (95 % interval of the loss −0.3 to 0.3; McNemar p = 0.90)" in text
    text = requirements.sentence(report(drop=(drop, -0.003, 0.003), p=0.04))
    assert "changes accuracy by less than 0.1 percentage points (95 % interval of the loss −0.3 to 0.3;" in text
    assert "loses" not in text
    assert "gains" not in text


@pytest.mark.parametrize("interval", [(0.98, 1.06), (1.0, 1.06), (0.97, 1.0)])
def test_an_interval_that_touches_one_shows_nothing(interval: tuple[float, float]):
    found = report(speedup=(1.02, *interval))
    assert requirements.speed(found) == "not-shown"
    assert requirements.sentence(found).startswith(
        "No speed-up was shown: on host-cpu the pruned resnet56-1d ran at 1.02×"
    )
    assert "which includes 1); it shows no measurable change" in requirements.sentence(found)


def test_slower_is_said_to_be_slower():
    text = requirements.sentence(report(speedup=(0.91, 0.88, 0.94)))
    assert text.startswith(
        "No speed-up was shown: on host-cpu the pruned resnet56-1d ran slower, at 0.91× the speed of the original "
        "(95 % interval 0.88 to 0.94); it shows no measurable change"
    )


def test_what_was_not_measured_is_said_so():
    no_speed, no_accuracy, neither = report(speedup=None), report(drop=None), report(speedup=None, drop=None)
    assert requirements.speed(no_speed) == "not-measured"
    assert requirements.sentence(no_speed).startswith(
        "The speed of the pruned resnet56-1d on host-cpu was not measured; it shows no measurable change"
    )
    assert requirements.sentence(no_accuracy) == (
        "resnet56-1d runs 2.81× faster (95 % interval 2.74 to 2.90) on host-cpu; its accuracy was not measured."
    )
    assert requirements.sentence(neither) == (
        "The speed of the pruned resnet56-1d on host-cpu was not measured, nor was its accuracy."
    )


def test_frames_a_second_follow_from_the_median_and_the_batch():
    measured = bench()
    before, after = (
        dataclasses.replace(each, median_ms=ms) for each, ms in ((measured.baseline, 4.0), (measured.pruned, 0.5))
    )
    four = dataclasses.replace(measured, batch=4, baseline=before, pruned=after)
    found = parse(build(evidence(bench=four), origin()), "test")
    (row,) = [each for each in tables.comparison(found) if each.label == "Frames a second"]
    assert (row.before, row.after) == ("1,000", "8,000")
    assert row.change == "+700.0 %"
