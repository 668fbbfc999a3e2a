"""`edgeprune prune-and-export`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeprune.cli._options import (
    FILE,
    FOLDER,
    data_option,
    model_options,
    subcommand,
    target_option,
)
from edgeprune.cli._planning import plan_options
from edgeprune.names import CHANNEL_METHODS

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.model_file import ModelOptions
    from edgeprune.report.schema import Report
    from edgeprune.tasks.planning import PlanSettings


@subcommand("prune-and-export")
@click.argument("model", type=FILE)
@target_option
@data_option
@plan_options
@click.option(
    "--max-accuracy-drop",
    type=click.FloatRange(0, 1),
    metavar="R",
    help="Most top-1 that may be lost on the validation split, as a share (0.005 is half a point). Alone, it finds the "
    "fewest units that lose no more; beside a number of units or a latency budget it is checked: exit code 1.",
)
@click.option(
    "--then-width",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="R",
    help="After the layers, remove channels until R times their MACs are left.",
)
@click.option(
    "--width-method",
    type=click.Choice(sorted(CHANNEL_METHODS)),
    default="l1",
    show_default=True,
    help="Which channels those are.",
)
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True, help="Of fine-tuning.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=0.1, show_default=True)
@click.option("--distill/--no-distill", default=True, show_default=True, help="Learn from the unpruned model too.")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "int8"]), help="Default: the target's first.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Frames in one inference.")
@click.option("--out", type=FOLDER, help="The run folder.  [default: runs/MODEL-TARGET]")
@click.option("--fresh", is_flag=True, help="Start over instead of reusing finished stages.")
@click.option("--dry-run", is_flag=True, help="Only say which stages would be reused and which run.")
@model_options
def command(
    console: "Console",
    model: Path,
    target: str,
    data: Path | None,
    max_accuracy_drop: float | None,
    then_width: float | None,
    width_method: str,
    epochs: int,
    learning_rate: float,
    distill: bool,
    precision: str | None,
    batch: int,
    out: Path | None,
    fresh: bool,
    dry_run: bool,
    options: "ModelOptions",
    planning: "PlanSettings",
    latency_budget: float | None,
) -> None:
    """Prune MODEL, fine-tune it, export it for a target, measure both, and write a report.

    Run again, it reuses what is finished and continues what was interrupted. Exit code 1 when the report says that the
    latency budget or the bound on accuracy does not hold.
    """
    from edgeprune import checkpoint as checkpoints
    from edgeprune import targets
    from edgeprune.pipeline import Job, Settings, open_folder
    from edgeprune.store import RunFolder, append_text, now
    from edgeprune.tasks.inputs import find_data
    from edgeprune.tasks.measuring import precision_of
    from edgeprune.tasks.narrowing import Width
    from edgeprune.train.finetune import Recipe

    chosen = targets.get(target)
    loaded = checkpoints.load(model, options)
    settings = Settings(
        target=chosen,
        data=find_data(loaded, data),
        planning=planning,
        recipe=Recipe(epochs=epochs, learning_rate=learning_rate, seed=planning.seed),
        distill=distill,
        precision=precision_of(chosen, precision),
        batch=batch,
        command=shlex.join(["edgeprune", *sys.argv[1:]]),
        latency_budget_ms=latency_budget,
        max_accuracy_drop=max_accuracy_drop,
        fewest=max_accuracy_drop is not None and latency_budget is None and not planning.says_how_many,
        width=None if then_width is None else Width(then_width, width_method),
    )
    folder = out or Path("runs") / f"{loaded.name}-{chosen.name}"
    if dry_run:
        outcome = Job(loaded, settings, RunFolder(folder), console).plan_only()
        if console.as_json:
            console.json({"out": str(folder), "stages": outcome})
        else:
            console.table(("stage", "does", ""), [(name, what, outcome[name]) for name, what in settings.stages])
        return
    with open_folder(folder, fresh) as held:
        try:
            document = Job(loaded, settings, held, console).run()
        finally:
            append_text(folder / "log.txt", f"{now()} {settings.command}\n{console.log}")
    _finish(console, document, folder)


def _finish(console: "Console", document: dict[str, Any], folder: Path) -> None:
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
