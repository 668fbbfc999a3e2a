"""What was asked for beside a number of units, what came of it, and whether it holds. Pure."""

from dataclasses import dataclass

from edgeprune.report.schema.constraints import TimedNetwork
from edgeprune.report.schema.schema import Report
from edgeprune.text import numerals as n


@dataclass(frozen=True)
class Section:
    """A part of the pages: a sentence or two and a table, which may be empty."""

    title: str
    text: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def broken(report: Report) -> list[str]:
    """What does not hold of what was asked for, a sentence without its full stop each."""
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
    """The parts of the pages on what was asked for."""
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
