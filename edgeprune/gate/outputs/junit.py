"""JUnit XML: one test suite a report, one test case a check. Inconclusive checks are errors, failed ones failures."""

from collections.abc import Sequence
from xml.etree import ElementTree

from edgeprune.gate.verdict import Check, Verdict
from edgeprune.text.printable import printable

_ELEMENTS = {"fail": "failure", "inconclusive": "error"}


def text(verdict: Verdict) -> str:
    """Build the whole file."""
    root = ElementTree.Element("testsuites", name="edgeprune check")
    for judgement in verdict.judgements:
        _suite(root, judgement.label, judgement.checks)
    if verdict.uncovered:
        _suite(root, "budget", verdict.uncovered)
    _count(root, [check for _, check in verdict.all_checks()])
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(root: ElementTree.Element, label: str, checks: Sequence[Check]) -> None:
    suite = ElementTree.SubElement(root, "testsuite", name=printable(label))
    _count(suite, checks)
    for check in checks:
        case = ElementTree.SubElement(
            suite, "testcase", name=printable(check.name), classname=printable(label), time="0"
        )
        if check.outcome in _ELEMENTS:
            told = ElementTree.SubElement(case, _ELEMENTS[check.outcome], message=printable(check.text))
            told.set("type", check.outcome)
            told.text = printable(check.text)
        else:
            ElementTree.SubElement(case, "system-out").text = printable(check.text)


def _count(element: ElementTree.Element, checks: Sequence[Check]) -> None:
    outcomes = [check.outcome for check in checks]
    element.set("tests", str(len(outcomes)))
    element.set("failures", str(outcomes.count("fail")))
    element.set("errors", str(outcomes.count("inconclusive")))
    element.set("time", "0")
