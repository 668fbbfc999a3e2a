"""Workflow commands of GitHub Actions: an annotation for each check that did not pass."""

from edgeprune.gate.verdict import Check, Verdict
from edgeprune.text.printable import printable

_LEVELS = {"fail": "error", "inconclusive": "warning"}


def annotations(verdict: Verdict, file: str) -> list[str]:
    """Build one line for each check that did not pass, tied to the budget file."""
    return [_line(label, check, file) for label, check in verdict.all_checks() if check.outcome != "pass"]


def _line(label: str, check: Check, file: str) -> str:
    title = _property(f"{check.name} {check.outcome}: {label}")
    return f"::{_LEVELS[check.outcome]} file={_property(file)},title={title}::{_message(f'{label}: {check.text}')}"


def _message(text: str) -> str:
    """Escape a value so that nothing in it begins another command (github.com/actions/toolkit, core/src/command.ts)."""
    return printable(text).replace("%", "%25")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
