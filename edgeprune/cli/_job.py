"""The whole job on the terminal: the dry run, the run, and its result."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.network.checkpoint import Checkpoint
    from edgeprune.pipeline import Settings
    from edgeprune.report.schema.schema import Report


def _show_plan(console: "Console", model: "Checkpoint", settings: "Settings", folder: Path) -> None:
    """Print which stages the job would reuse and which it would run."""
    from edgeprune.files.run_folder import refuse_foreign
    from edgeprune.files.store import RunFolder
    from edgeprune.pipeline import Job

    refuse_foreign(folder)
    outcome = Job(model, settings, RunFolder(folder), console).plan_only()
    if outcome["00-export"] == "run":
        console.note("whether the network can be exported is not tried here: the job finds it out before it trains")
    if console.as_json:
        console.json({"out": str(folder), "stages": outcome})
    else:
        console.table(("stage", "does", ""), [(name, what, outcome[name]) for name, what in settings.stages])


def work(
    console: "Console", model: "Checkpoint", settings: "Settings", folder: Path, fresh: bool, dry_run: bool
) -> None:
    """Run the job in its folder and print the result; with `dry_run`, print only the stages it would run."""
    from edgeprune.pipeline import run_in

    if dry_run:
        _show_plan(console, model, settings, folder)
        return
    finish(console, run_in(folder, model, settings, fresh, console, lambda: console.log), folder)


def finish(console: "Console", document: dict[str, Any], folder: Path) -> None:
    """Print the result; exit with code 1 if a requirement does not hold."""
    from edgeprune.report.pages.requirements import unmet
    from edgeprune.report.schema.json import parse

    report = parse(document, "the report")
    if console.as_json:
        console.json(document)
    else:
        _summary(console, report, folder)
    if unmet(report):
        raise click.exceptions.Exit(1)


def _summary(console: "Console", report: "Report", folder: Path) -> None:
    from edgeprune.report.pages.requirements import sentence
    from edgeprune.report.pages.tables import comparison

    console.print()
    console.headline(sentence(report))
    console.print()
    rows = [(row.label, row.before, row.after, row.change) for row in comparison(report)]
    console.table(("", "unpruned", "pruned", "change"), rows, right=("unpruned", "pruned", "change"))
    console.print()
    for warning in report.warnings:
        console.print(f"warning: {warning}")
    console.print(f"Report: {folder / 'report.html'}")
