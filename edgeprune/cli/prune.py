"""`edgeprune prune`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeprune.cli._model import MODEL, load_model, model_options
from edgeprune.cli._options import FILE, chosen, compute_option, subcommand
from edgeprune.cli._planning import bridge_option

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.network.model_file import ModelOptions
    from edgeprune.records.names import Bridge


@subcommand("prune")
@click.argument("model", type=MODEL)
@click.option("--plan", "plan_path", type=FILE, required=True, help="Plan that `edgeprune plan` wrote for this model.")
@click.option("--data", type=FILE, help="Labeled frames; bridges and batch norm are fitted on their train split.")
@bridge_option
@compute_option
@click.option("--out", type=FILE, required=True, help="Model file to write.")
@model_options
def command(
    console: "Console",
    model: Path,
    plan_path: Path,
    data: Path | None,
    bridge: "Bridge",
    compute: str,
    out: Path,
    options: "ModelOptions",
) -> None:
    """Apply a plan to MODEL: remove the dropped units and keep all other weights.

    Examples:
        edgeprune prune model.pt --plan plan.json --data frames.pkl --out reassembled.pt
        edgeprune prune model.pt --plan plan.json --data frames.pkl --bridge kaiming --out reassembled.pt
        edgeprune prune model.pt --plan plan.json --out reassembled.pt --compute cpu
    """
    from edgeprune.tasks.plan import PlanSettings, prune

    loaded = load_model(console, model, options)
    where = chosen(console, compute)
    saved = prune(loaded, plan_path, out, data, PlanSettings(bridge=bridge), console, where)
    before, after = (sum(p.numel() for p in each.model.parameters()) for each in (loaded, saved))
    if console.as_json:
        console.json({"model": str(out), "sha256": saved.sha256, "params_before": before, "params": after})
    else:
        console.headline(f"{before:,} parameters before, {after:,} after: {out}")
        console.print("Recover its accuracy with: edgeprune finetune")
