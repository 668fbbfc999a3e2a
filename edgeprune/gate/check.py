"""Check of several reports in one call: each with its limits, baseline and noise, with one verdict over all."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from edgeprune.gate import judge, regression
from edgeprune.gate.budget import Budget
from edgeprune.gate.evidence import Evidence
from edgeprune.gate.noise import SCHEMA, NoiseFile
from edgeprune.gate.regression import Incomparable, SessionComparison
from edgeprune.gate.session import TimedSession
from edgeprune.gate.verdict import Check, Verdict

if TYPE_CHECKING:
    from edgeprune.gate.history import Entry  # whose plots of steps take more of NumPy than a check without it


@dataclass(frozen=True)
class Against:
    """Data that reports are compared with.

    Attributes:
        baselines: Explicit baselines; each is compared with the report of the same target, model and measuring mode.
        history: Older reports; the newest that is comparable is the baseline unless one was named.
        noise: Calibrated noise.
        waived: Whether a missing baseline is accepted.
        sessions: Measurements of the older pruned model in turns with the report's, by the report's path; they replace
            the comparison with another report.
    """

    baselines: Sequence[Evidence] = ()
    history: "Sequence[Entry]" = ()
    noise: NoiseFile = field(default_factory=lambda: NoiseFile(SCHEMA))
    waived: bool = False
    sessions: Mapping[str, TimedSession] = field(default_factory=dict)


def check(reports: Sequence[Evidence], budget: Budget, against: Against) -> Verdict:
    """Judge all reports, and find limits in the budget without a report.

    Raises:
        ConfigError: The budget has no limits for a report's target or model, or a threshold below the noise.
        DataError: A report has too few rounds to compare.
    """
    baselines = [baseline_of(evidence, against, alone=len(reports) == 1) for evidence in reports]
    found = _compared(reports, baselines, budget, against)
    judgements = [
        judge.judge(
            evidence,
            budget.limits(evidence.report.target, evidence.model),
            baseline,
            comparison,
            against.noise.of(evidence.report.target, evidence.model),
            against.waived,
        )
        for evidence, baseline, comparison in zip(reports, baselines, found, strict=True)
    ]
    often = Counter(judgement.label for judgement in judgements)
    told_apart = (
        replace(each, label=f"{each.label} ({each.report})") if often[each.label] > 1 else each for each in judgements
    )
    return Verdict(tuple(told_apart), tuple(_uncovered(reports, budget)))


def _compared(
    reports: Sequence[Evidence], baselines: Sequence[Evidence | None], budget: Budget, against: Against
) -> list[SessionComparison | Incomparable | None]:
    """Compare each report, with the probability of a false alarm that holds for all of them together."""

    def compare(evidence: Evidence, baseline: Evidence | None, tests: int) -> SessionComparison | Incomparable | None:
        alpha = budget.limits(evidence.report.target, evidence.model).alpha / tests
        session = against.sessions.get(evidence.source)
        if session is not None:
            return regression.compare_within(session, alpha)
        if baseline is None:
            return None
        noise = against.noise.of(evidence.report.target, evidence.model)
        return regression.compare(baseline, evidence, alpha, noise)

    pairs = list(zip(reports, baselines, strict=True))
    tests = sum(isinstance(compare(*pair, 1), SessionComparison) for pair in pairs)
    found = [compare(*pair, max(1, tests)) for pair in pairs]
    adjusted = iter(regression.together([each for each in found if isinstance(each, SessionComparison)]))
    return [next(adjusted) if isinstance(each, SessionComparison) else each for each in found]


def baseline_of(evidence: Evidence, against: Against, alone: bool) -> Evidence | None:
    """Find the report to compare with.

    A single report and a single baseline are always paired, so that the gate can say how they differ.
    """
    if alone and len(against.baselines) == 1:
        return against.baselines[0]
    if against.baselines:
        fitting = [each for each in against.baselines if each.label == evidence.label]
        return max(fitting, key=lambda each: each.report.created, default=None)
    older = [
        each for each in against.history if each.label == evidence.label and each.created < evidence.report.created
    ]
    newest = max(older, key=lambda each: each.created, default=None)
    return None if newest is None else newest.evidence()


def _uncovered(reports: Iterable[Evidence], budget: Budget) -> Iterable[Check]:
    measured = {(evidence.report.target, model) for evidence in reports for model in ("", evidence.model)}
    for target, model in budget.promises():
        if (target, model) not in measured:
            name = f"targets.{target}.{model}" if model else f"targets.{target}"
            yield Check(name, "inconclusive", f"no report is about {model + ' on ' if model else ''}{target}")
