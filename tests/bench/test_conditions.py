import pytest

from edgeprune.bench import protocol, stats
from edgeprune.records.results import LatencySummary

QUIET = {"usable_cores": 4.0, "governor": "performance"}


def summary(round_medians, p90=1.0, p99=1.0):
    return LatencySummary(1.0, 1.0, 500, "s", tuple(round_medians), p90, p99)


def test_a_quiet_machine_has_no_warnings():
    assert protocol.of_machine(QUIET, 4, 0.1, 0.0) == []
    assert protocol.of_machine({}, 4, 0.0, 0.0) == []


@pytest.mark.parametrize(
    ("device", "threads", "others", "stolen", "words"),
    [
        (QUIET, 5, 0.0, 0.0, "5 threads shared 4 usable cores"),
        ({"usable_cores": 0.5}, 1, 0.0, 0.0, "1 threads shared 0.5 usable cores"),
        (QUIET, 1, 1.26, 0.0, "other processes kept 1.3 cores busy"),
        (QUIET, 1, 0.0, 0.25, "hypervisor took 0.25 cores"),
        ({"governor": "powersave"}, 1, 0.0, 0.0, "'powersave', not 'performance'"),
    ],
)
def test_what_disturbs_is_said(device, threads, others, stolen, words):
    (warning,) = protocol.of_machine(device, threads, others, stolen)
    assert words in warning


def test_rounds_that_vary_are_said():
    assert protocol.of_samples("baseline", summary([1.0, 1.01, 0.99])) == []
    # standard deviation 1 of mean 2
    (warning,) = protocol.of_samples("pruned", summary([1.0, 2.0, 3.0]))
    assert "the pruned's round medians vary by 50%" in warning


def test_a_percentile_that_is_not_claimed_is_said():
    (warning,) = protocol.of_samples("baseline", summary([1.0, 1.0], p99=None))
    assert "p99 is not claimed: 500 samples, 662 needed" in warning


@pytest.mark.parametrize(
    ("ci95", "words"),
    [((1.1, 1.3), None), ((0.9, 1.2), "no speed-up was shown"), ((0.7, 0.9), "the pruned model is slower")],
)
def test_an_interval_that_is_not_above_one_is_said(ci95, words):
    warnings = protocol.of_speedup(stats.Speedup(1.0, ci95))
    assert bool(warnings) == (words is not None)
    assert all(words in warning and f"{ci95[0]:.3f} to {ci95[1]:.3f}" in warning for warning in warnings)
