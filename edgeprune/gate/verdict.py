"""Decision of the gate: named checks, each pass, fail or inconclusive, with the figures behind it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from edgeprune.files.store import to_plain

Outcome = Literal["pass", "fail", "inconclusive"]
SCHEMA = "edgeprune-verdict/1"
EXIT_CODES: dict[Outcome, int] = {"pass": 0, "fail": 1, "inconclusive": 5}
_WORST_FIRST: tuple[Outcome, ...] = ("fail", "inconclusive")


@dataclass(frozen=True)
class Check:
    """Limit of the budget, judged.

    Attributes:
        name: Name of the limit, as in the budget file.
        outcome: Outcome of the check.
        text: Reason with the figures, one line.
        limit: Allowed value, if it is one number.
        value: Measured value.
        interval: Interval of the value; its conservative end was judged.
    """

    name: str
    outcome: Outcome
    text: str
    limit: float | None = None
    value: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Figure:
    """Measured number for other tools, beside that of the baseline report.

    Attributes:
        name: Name with its unit at the end: 'median_ms'.
        value: Current value.
        interval: 95 % interval of the value.
        before: Value in the baseline report, if there is a comparable one.
        change: Assessment of the difference: 'slower', 'within noise', ...
    """

    name: str
    value: float
    interval: tuple[float, float] | None = None
    before: float | None = None
    change: str = ""


@dataclass(frozen=True)
class Judgement:
    """Judged report; `label` distinguishes it from the others in a matrix."""

    label: str
    target: str
    model: str
    report: str
    checks: tuple[Check, ...]
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """Worst outcome: fail before inconclusive before pass."""
        return worst(check.outcome for check in self.checks)


@dataclass(frozen=True)
class Verdict:
    """Verdict on all reports of one call; `uncovered` are limits in the budget without a report."""

    judgements: tuple[Judgement, ...]
    uncovered: tuple[Check, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """Worst outcome: fail before inconclusive before pass."""
        return worst([*(each.outcome for each in self.judgements), *(check.outcome for check in self.uncovered)])

    @property
    def exit_code(self) -> int:
        """Exit code of the program."""
        return EXIT_CODES[self.outcome]

    def all_checks(self) -> list[tuple[str, Check]]:
        """Every check with the label of its report."""
        own = [(each.label, check) for each in self.judgements for check in each.checks]
        return [*own, *(("budget", check) for check in self.uncovered)]

    def headline(self) -> str:
        """Verdict in one line."""
        counts: dict[Outcome, int] = {"fail": 0, "inconclusive": 0, "pass": 0}
        for _, check in self.all_checks():
            counts[check.outcome] += 1
        verbs: dict[Outcome, str] = {"pass": "passed", "fail": "failed", "inconclusive": "inconclusive"}
        told = ", ".join(f"{count} {verbs[outcome]}" for outcome, count in counts.items() if count)
        titles: dict[Outcome, str] = {"pass": "Pass", "fail": "Over budget", "inconclusive": "Inconclusive"}
        return f"{titles[self.outcome]}: {told}"


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Worst of some outcomes: fail before inconclusive before pass; without any, inconclusive."""
    found = set(outcomes)
    for outcome in _WORST_FIRST:
        if outcome in found:
            return outcome
    return "pass" if found else "inconclusive"


def plain(verdict: Verdict) -> dict[str, Any]:
    """Convert the verdict to plain JSON values; unknown ones are absent."""
    return {
        "schema": SCHEMA,
        "outcome": verdict.outcome,
        "exit_code": verdict.exit_code,
        "reports": [{"outcome": each.outcome, **to_plain(each)} for each in verdict.judgements],
        "uncovered": [to_plain(check) for check in verdict.uncovered],
    }
