"""How a job ends on the terminal."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.report.schema import Report


def show_plan(console: "Console", outcome: Mapping[str, str], stages: Iterable[tuple[str, str]], folder: Path) -> None:
    """Print what a dry run found."""
    if console.as_json:
        console.json({"out": str(folder), "stages": dict(outcome)})
    else:
        console.table(("stage", "does", ""), [(name, what, outcome[name]) for name, what in stages])


def finish(console: "Console", document: dict[str, Any], folder: Path) -> None:
    """Print the result; end with exit code 1 if something that was asked for does not hold."""
    from edgeprune.report.promises import broken
    from edgeprune.report.report_json import parse

    report = parse(document, "the report")
    if console.as_json:
        console.json(document)
    else:
        _summary(console, report, folder)
    if broken(report):
        raise click.exceptions.Exit(1)


def _summary(console: "Console", report: "Report", folder: Path) -> None:
    from edgeprune.report.tables import comparison
    from edgeprune.report.verdict import sentence

    console.print()
    console.headline(sentence(report))
    console.print()
    rows = [(row.label, row.before, row.after, row.change) for row in comparison(report)]
    console.table(("", "unpruned", "pruned", "change"), rows, right=("unpruned", "pruned", "change"))
    console.print()
    for warning in report.warnings:
        console.print(f"warning: {warning}")
    console.print(f"Report: {folder / 'report.html'}")
