"""The whole job on the terminal: the dry run, the run, and its result."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeprune.cli._clock import StageClock, duration

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.network.checkpoint import Checkpoint
    from edgeprune.pipeline import Settings
    from edgeprune.report.schema.schema import Report


_LISTED = 6
"""Stages in the table of times."""


def _show_plan(console: "Console", model: "Checkpoint", settings: "Settings", folder: Path) -> None:
    """Print which stages the job would reuse and which it would run."""
    from edgeprune.files.run_folder import refuse_foreign
    from edgeprune.files.store import RunFolder
    from edgeprune.pipeline import Job

    refuse_foreign(folder)
    outcome = Job(model, settings, RunFolder(folder), console).plan_only()
    if outcome["00-export"] == "run":
        console.note("a dry run does not try the export to ONNX; the job tries it before it trains")
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
    clock = StageClock(console, settings.stages, settings.recipe.epochs)
    document = run_in(folder, model, settings, fresh, clock, lambda: console.log)
    times = clock.close()
    finish(console, document, folder, times)


def finish(console: "Console", document: dict[str, Any], folder: Path, times: Sequence[tuple[str, float]] = ()) -> None:
    """Print the result; exit with code 1 if a requirement does not hold.

    Args:
        console: Printed to.
        document: Content of report.json.
        folder: Run folder.
        times: Stages with the seconds that they took.
    """
    from edgeprune.report.pages.requirements import unmet
    from edgeprune.report.schema.json import parse

    report = parse(document, "the report")
    if console.as_json:
        console.json(document)
    else:
        _summary(console, report)
        _times(console, times)
        console.print(f"Report: {folder / 'report.html'}")
    if unmet(report):
        raise click.exceptions.Exit(1)


def _summary(console: "Console", report: "Report") -> None:
    from edgeprune.report.pages.requirements import sentence
    from edgeprune.report.pages.tables import comparison

    console.print()
    console.headline(sentence(report))
    console.print()
    rows = [(row.label, _short(row.before), _short(row.after), row.change) for row in comparison(report)]
    console.table(("", "unpruned", "pruned", "change"), rows, right=("unpruned", "pruned", "change"))
    console.print()
    for warning in report.warnings:
        console.print(f"warning: {warning}")


def _short(value: str) -> str:
    """A value without its interval, which the report has: the table fits a terminal of 80 columns."""
    return value.partition(" (")[0]


def _times(console: "Console", times: Sequence[tuple[str, float]]) -> None:
    """Print the stages that took longest, and all others as one row."""
    longest = sorted(times, key=lambda each: -each[1])[:_LISTED]
    rows = [(title, duration(seconds)) for title, seconds in times if (title, seconds) in longest]
    total, listed = sum(seconds for _, seconds in times), sum(seconds for _, seconds in longest)
    if len(times) > len(longest):
        rows.append((f"{len(times) - len(longest)} other stages", duration(total - listed)))
    if rows:
        console.table(("stage", "time"), [*rows, ("in all", duration(total))], right=("time",))
        console.print()
