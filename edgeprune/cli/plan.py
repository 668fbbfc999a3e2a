"""`edgeprune plan`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeprune.cli._options import FILE, data_option, model_options, subcommand
from edgeprune.cli._planning import plan_options

if TYPE_CHECKING:
    from edgeprune.checkpoint import ModelOptions
    from edgeprune.cli._console import Console
    from edgeprune.tasks.planning import PlanSettings


@subcommand("plan")
@click.argument("model", type=FILE)
@data_option
@plan_options
@click.option("--out", type=FILE, required=True, help="The plan to write, a JSON file.")
@model_options
def command(
    console: "Console",
    model: Path,
    data: Path | None,
    out: Path,
    options: "ModelOptions",
    planning: "PlanSettings",
) -> None:
    """Decide which units of MODEL stay, with the reason for each; writes no weights."""
    from edgeprune import checkpoint as checkpoints
    from edgeprune.store import to_plain
    from edgeprune.tasks.inputs import find_data
    from edgeprune.tasks.planning import write_plan

    loaded = checkpoints.load(model, options)
    chain, decided = write_plan(loaded, find_data(loaded, data), planning, out, console)
    if console.as_json:
        console.json(to_plain(decided))
        return
    rows = [
        (
            str(decision.index),
            decision.path,
            str(decision.segment),
            "" if decision.score is None else f"{decision.score:.4g}",
            "keep" if decision.kept else "drop",
            decision.reason,
        )
        for decision in decided.decisions
    ]
    console.table(("unit", "path", "segment", "score", "", "reason"), rows, right=("unit", "segment", "score"))
    console.headline(f"keeps {len(decided.kept)} of {len(chain.units)} units: {out}")
