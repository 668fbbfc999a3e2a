"""What a report comes to, in one sentence that claims no more than was measured. Pure."""

from typing import Literal

from edgeprune.report.pages.requirements import broken
from edgeprune.report.schema.measured import AccuracySection
from edgeprune.report.schema.schema import Report
from edgeprune.text.numerals import p_value, points, points_interval, ratios

SIGNIFICANCE = 0.05
Speed = Literal["faster", "not-shown", "not-measured"]


def speed(report: Report) -> Speed:
    """Whether a speed-up was shown: the whole 95 % interval lies above 1."""
    if report.latency is None or report.latency.speedup_ci95 is None:
        return "not-measured"
    return "faster" if report.latency.speedup_ci95[0] > 1 else "not-shown"


def sentence(report: Report) -> str:
    """The verdict on speed and accuracy, and on what was asked for and does not hold.

    When no speed-up was shown it begins with those words; what was not measured is said to be so; a replayed board is
    named as one before anything else.
    """
    replay = (report.device or {}).get("replay")
    played = [f"Replay of the recorded board {replay}: no device was measured."] if replay else []
    return " ".join([*played, _measured(report), *(f"{promise}." for promise in broken(report))])


def _measured(report: Report) -> str:
    name = report.baseline.name or "the network"
    if speed(report) == "not-measured":
        claim, unmeasured = (
            f"The speed of the pruned {name} on {report.target} was not measured",
            ", nor was its accuracy",
        )
    else:
        claim, unmeasured = _speed_claim(report, name), "; its accuracy was not measured"
    if report.accuracy is None:
        return f"{claim}{unmeasured}."
    link = " and" if speed(report) == "faster" else "; it"
    return f"{claim}{link} {_accuracy_claim(report.accuracy)}."


def _speed_claim(report: Report, name: str) -> str:
    """The first half of the sentence."""
    latency = report.latency
    assert latency is not None
    assert latency.speedup is not None
    assert latency.speedup_ci95 is not None
    ratio, low, high = ratios((latency.speedup, *latency.speedup_ci95))
    interval = f"95 % interval {low} to {high}"
    if speed(report) == "faster":
        return f"{name} runs {ratio}× faster ({interval}) on {report.target}"
    ran = f"No speed-up was shown: on {report.target} the pruned {name} ran"
    if latency.speedup_ci95[1] < 1:
        return f"{ran} slower, at {ratio}× the speed of the original ({interval})"
    return f"{ran} at {ratio}× the speed of the original ({interval}, which includes 1)"


def _accuracy_claim(accuracy: AccuracySection) -> str:
    """The second half of the sentence, beginning with its verb.

    McNemar's exact test decides the word: the interval is no inverse of it, and the two may disagree at the edge.
    """
    low, high = accuracy.drop_ci95
    significance = "significant" if accuracy.mcnemar_p < SIGNIFICANCE else "not significant"
    test = f"{significance}, McNemar {p_value(accuracy.mcnemar_p)}"
    size = points(abs(accuracy.drop))
    if size == "0.0":
        interval = f"95 % interval of the loss {points_interval((low, high))}"
        return f"changes accuracy by less than 0.1 percentage points ({interval}; {test})"
    verb, (low, high) = ("loses", (low, high)) if accuracy.drop > 0 else ("gains", (-high, -low))
    return f"{verb} {size} percentage points of accuracy (95 % interval {points_interval((low, high))}; {test})"
