"""The requirements of a run, whether they hold, and the verdict in one sentence. Pure."""

from dataclasses import dataclass
from typing import Literal

from edgeprune.report.schema.constraints import TimedNetwork
from edgeprune.report.schema.measured import AccuracySection
from edgeprune.report.schema.schema import Report
from edgeprune.text import numerals as n
from edgeprune.text.numerals import p_value, points, points_interval, ratios


@dataclass(frozen=True)
class Section:
    """A part of the pages: a sentence or two and a table, which may be empty."""

    title: str
    text: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def unmet(report: Report) -> list[str]:
    """List the requirements that do not hold, one sentence each, without its full stop."""
    found = []
    latency, bound = report.latency, report.accuracy_bound
    if latency and latency.pruned and latency.budget_ms is not None and latency.pruned.median_ms > latency.budget_ms:
        measured, allowed = n.told_apart(latency.pruned.median_ms, latency.budget_ms)
        found.append(f"The pruned network is over the latency budget: its median is {measured} ms, above {allowed} ms")
    if bound and bound.drop > bound.max_drop:
        lost, allowed = n.told_apart(100 * bound.drop, 100 * bound.max_drop, 2)
        found.append(
            f"The pruned network is less accurate than required: it loses {lost} percentage points on the "
            f"validation split, more than {allowed}"
        )
    return found


def sections(report: Report) -> list[Section]:
    """Make the sections of the pages on the requirements."""
    found = (_latency(report), _accuracy(report), _width(report), _precision(report))
    return [section for section in found if section is not None]


def _latency(report: Report) -> Section | None:
    plan, latency = report.latency_plan, report.latency
    if plan is None or latency is None or latency.budget_ms is None or latency.predicted_ms is None:
        return None
    text = (
        f"The units were chosen so that the median is at most {n.milliseconds(latency.budget_ms)}. "
        f"Predicted: {n.milliseconds(latency.predicted_ms)}."
    )
    if latency.pruned is not None:
        text += f" Measured after fine-tuning: {n.milliseconds(latency.pruned.median_ms)}."
    if plan.costs_ms:
        each = [cost for cost in plan.costs_ms.values() if cost > 0] or [0.0]
        text += (
            f" By the fitted costs, the units that are always kept take {n.milliseconds(plan.fixed_ms)}, and each "
            f"droppable unit takes {n.significant(min(each))} to {n.milliseconds(max(each))}."
        )
    else:
        text += " The unpruned network is within the budget: nothing was dropped."
    text += f" The unpruned network, measured in turns, took {n.milliseconds(plan.baseline_ms)}."
    timed = [("probe", each) for each in plan.probes] + [("candidate", each) for each in plan.candidates]
    rows = tuple(_timed(role, each, plan.baseline_ms) for role, each in timed)
    return Section("Latency budget", text, ("network", "units", "predicted", "measured", "relative to unpruned"), rows)


def _timed(role: str, network: TimedNetwork, baseline_ms: float) -> tuple[str, ...]:
    predicted = "" if network.predicted_ms is None else n.milliseconds(network.predicted_ms)
    measured = n.milliseconds(network.ratio * baseline_ms)
    return role, n.count(network.units), predicted, measured, n.percent(network.ratio)


def _accuracy(report: Report) -> Section | None:
    bound = report.accuracy_bound
    if bound is None:
        return None
    lost, allowed = n.told_apart(100 * bound.drop, 100 * bound.max_drop, 2)
    text = (
        f"Allowed is a loss of at most {allowed} percentage points of top-1 accuracy on the validation split. The loss "
        f"is {lost}, from {n.percent(bound.baseline_top1)} to {n.percent(bound.pruned_top1)}."
    )
    if bound.trials:
        text += " The number of units was found by fine-tuning these networks."
    rows = tuple(
        (n.count(trial.units), n.percent(trial.validation_top1), n.points(trial.drop)) for trial in bound.trials
    )
    return Section("Accuracy bound", text, ("units", "top-1 on validation", "loss, points"), rows)


def _width(report: Report) -> Section | None:
    width = report.width
    if width is None:
        return None
    share = report.pruned.macs / width.macs_before if width.macs_before else 1.0
    text = (
        f"After layer pruning, {width.method} removed {n.count(width.channels)} output channels; "
        f"{n.percent(share)} of the MACs are left."
    )
    rows = tuple(
        (module.path, f"{module.before[0]} → {module.before[1]}", f"{module.after[0]} → {module.after[1]}")
        for module in width.modules
    )
    return Section("Width", text, ("module", "channels in → out before", "after"), rows)


def _precision(report: Report) -> Section | None:
    choice = report.precision_choice
    if choice is None:
        return None
    text = (
        f"The pruned network was measured in each precision of the target; {choice.chosen} is the fastest that loses "
        f"at most {n.points(choice.max_drop)} percentage points on the validation split, compared with float32."
    )
    if all(each.validation_drop > choice.max_drop for each in choice.candidates):
        text = (
            f"No precision of the target loses at most {n.points(choice.max_drop)} percentage points on the validation "
            f"split, compared with float32; {choice.chosen} loses the least."
        )
    rows = tuple(
        (each.precision, n.milliseconds(each.median_ms), n.points(each.validation_drop), n.count(each.size_bytes))
        for each in choice.candidates
    )
    return Section("Precision", text, ("precision", "median", "loss, points", "bytes"), rows)


SIGNIFICANCE = 0.05
Speed = Literal["faster", "not-shown", "not-measured"]


def speed(report: Report) -> Speed:
    """Return whether a speed-up was shown: the whole 95 % interval lies above 1."""
    if report.latency is None or report.latency.speedup_ci95 is None:
        return "not-measured"
    return "faster" if report.latency.speedup_ci95[0] > 1 else "not-shown"


def sentence(report: Report) -> str:
    """State the verdict on speed and accuracy, and the requirements that do not hold.

    A replayed board is named first. If no speed-up was shown, the verdict begins with that. It also says what was not
    measured.
    """
    replay = (report.device or {}).get("replay")
    played = [f"Replay of the recorded board {replay}: no device was measured."] if replay else []
    return " ".join([*played, _measured(report), *(f"{promise}." for promise in unmet(report))])


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
    """Write the first half of the sentence."""
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
    """Write the second half of the sentence, beginning with its verb.

    McNemar's exact test decides the wording. The interval is not its inverse, and the two may disagree at the edge.
    """
    low, high = accuracy.drop_ci95
    test, size = f"McNemar {p_value(accuracy.mcnemar_p)}", points(abs(accuracy.drop))
    loss = f"95 % interval of the loss {points_interval((low, high))}"
    if accuracy.mcnemar_p >= SIGNIFICANCE:
        seen = "" if size == "0.0" else f"{size} percentage points {'lost' if accuracy.drop > 0 else 'gained'}, "
        return f"shows no measurable change in accuracy ({seen}{loss}; {test})"
    if size == "0.0":
        return f"changes accuracy by less than 0.1 percentage points ({loss}; significant, {test})"
    verb, (low, high) = ("loses", (low, high)) if accuracy.drop > 0 else ("gains", (-high, -low))
    interval = f"95 % interval {points_interval((low, high))}"
    return f"{verb} {size} percentage points of accuracy ({interval}; significant, {test})"
