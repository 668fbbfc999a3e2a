"""What the gate decides: named checks, each pass, fail or inconclusive, with the figures behind it."""

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
    """One limit of the budget, judged.

    Attributes:
        name: Name of the limit, as in the budget file.
        outcome: What came of it.
        text: Why, with the figures, one line.
        limit: What was allowed, when that is one number.
        value: What was measured.
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
    """A measured number as other tools take it, beside that of the baseline report.

    Attributes:
        name: With its unit at the end: 'median_ms'.
        value: Now.
        interval: 95 % interval of the value.
        before: In the baseline report, when there is one that can be compared.
        change: What to think of the difference: 'slower', 'within noise', ...
    """

    name: str
    value: float
    interval: tuple[float, float] | None = None
    before: float | None = None
    change: str = ""


@dataclass(frozen=True)
class Judgement:
    """One report, judged: `label` tells it from the others in a matrix."""

    label: str
    target: str
    model: str
    report: str
    checks: tuple[Check, ...]
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """Fail before inconclusive before pass."""
        return worst(check.outcome for check in self.checks)


@dataclass(frozen=True)
class Verdict:
    """All reports of one call; `uncovered` are the promises of the budget that no report is about."""

    judgements: tuple[Judgement, ...]
    uncovered: tuple[Check, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """Fail before inconclusive before pass."""
        return worst([*(each.outcome for each in self.judgements), *(check.outcome for check in self.uncovered)])

    @property
    def exit_code(self) -> int:
        """How the program ends."""
        return EXIT_CODES[self.outcome]

    def all_checks(self) -> list[tuple[str, Check]]:
        """Every check with the label of what it is about."""
        own = [(each.label, check) for each in self.judgements for check in each.checks]
        return [*own, *(("budget", check) for check in self.uncovered)]

    def headline(self) -> str:
        """The verdict in one line."""
        counts: dict[Outcome, int] = {"fail": 0, "inconclusive": 0, "pass": 0}
        for _, check in self.all_checks():
            counts[check.outcome] += 1
        verbs: dict[Outcome, str] = {"pass": "passed", "fail": "failed", "inconclusive": "inconclusive"}
        told = ", ".join(f"{count} {verbs[outcome]}" for outcome, count in counts.items() if count)
        titles: dict[Outcome, str] = {"pass": "Pass", "fail": "Over budget", "inconclusive": "Inconclusive"}
        return f"{titles[self.outcome]}: {told}"


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Fail before inconclusive before pass; nothing at all is inconclusive."""
    found = set(outcomes)
    for outcome in _WORST_FIRST:
        if outcome in found:
            return outcome
    return "pass" if found else "inconclusive"


def plain(verdict: Verdict) -> dict[str, Any]:
    """The verdict as plain JSON values; what is not known is absent."""
    return {
        "schema": SCHEMA,
        "outcome": verdict.outcome,
        "exit_code": verdict.exit_code,
        "reports": [{"outcome": each.outcome, **to_plain(each)} for each in verdict.judgements],
        "uncovered": [to_plain(check) for check in verdict.uncovered],
    }
