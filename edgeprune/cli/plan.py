"""`edgeprune plan`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeprune.cli._model import MODEL, load_model, model_options
from edgeprune.cli._options import FILE, chosen, compute_option, data_option, subcommand, target_names
from edgeprune.cli._planning import plan_options

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.network.model_file import ModelOptions
    from edgeprune.tasks.latency.budget import LatencyBudget
    from edgeprune.tasks.plan import PlanSettings


@subcommand("plan")
@click.argument("model", type=MODEL)
@data_option
@plan_options
@click.option("--target", shell_complete=target_names, help="Target of --latency-budget.")
@click.option("--out", type=FILE, required=True, help="Plan to write, a JSON file.")
@compute_option
@model_options
def command(
    console: "Console",
    model: Path,
    data: Path | None,
    target: str | None,
    out: Path,
    compute: str,
    options: "ModelOptions",
    planning: "PlanSettings",
    latency_budget: float | None,
) -> None:
    """Decide which units of MODEL to keep, with the reason for each; writes no weights.

    Examples:
        edgeprune plan model.pt --data frames.pkl --keep-ratio 0.33 --out plan.json
        edgeprune plan model.pt --data frames.pkl --latency-budget 0.2 --target host-cpu --out plan.json
        edgeprune plan model.pt --data frames.pkl --keep 9 --criterion synflow --out plan.json
    """
    from edgeprune.api.tables import of_plan
    from edgeprune.files.store import to_plain
    from edgeprune.tasks.data.frames import find_data
    from edgeprune.tasks.latency.budget import write_plan_within
    from edgeprune.tasks.plan import write_plan

    budget = _budget(latency_budget, target)
    loaded = load_model(console, model, options)
    frames = find_data(loaded, data)
    where = chosen(console, compute)
    if budget is None:
        _, decided = write_plan(loaded, frames, planning, out, console, where)
    else:
        _, decided = write_plan_within(loaded, frames, planning, budget, out, console, where)
    if console.as_json:
        console.json(to_plain(decided))
        return
    table = of_plan(decided)
    console.table(table.columns, table.rows, table.right)
    console.headline(f"{table.headline}: {out}")


def _budget(latency_ms: float | None, target: str | None) -> "LatencyBudget | None":
    """Make the latency budget, or None.

    Raises:
        ConfigError: Only one of --latency-budget and --target is given, or the target is unknown.
    """
    from edgeprune import targets
    from edgeprune.errors import ConfigError
    from edgeprune.tasks.latency.budget import LatencyBudget

    if (latency_ms is None) != (target is None):
        given, missing = ("--target", "--latency-budget") if latency_ms is None else ("--latency-budget", "--target")
        raise ConfigError(
            f"{given} was given without {missing}", "Give both: a plan uses the target only for its latency"
        )
    if latency_ms is None or target is None:
        return None
    chosen = targets.get(target)
    return LatencyBudget(latency_ms, chosen, chosen.precisions[0])
