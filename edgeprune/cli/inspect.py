"""`edgeprune inspect`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeprune.cli._model import MODEL, load_model, model_options
from edgeprune.cli._options import subcommand

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.network.model_file import ModelOptions


@subcommand("inspect")
@click.argument("model", type=MODEL)
@model_options
def command(console: "Console", model: Path, options: "ModelOptions") -> None:
    """Show the units of MODEL, and how each can be dropped or why it cannot.

    Examples:
        edgeprune inspect model.pt
        edgeprune inspect weights.pt --factory net.py:build --input-shape 2,128
        edgeprune inspect model.pt --json
    """
    from dataclasses import replace

    from edgeprune.api.tables import of_units
    from edgeprune.files.store import to_plain
    from edgeprune.prune.units.chain import layers_of

    loaded = load_model(console, model, replace(options, nameless=True))
    chain = layers_of(loaded.model, loaded.input, loaded.sha256)
    if console.as_json:
        units = [{**to_plain(unit), "droppable": unit.droppable, "drop": unit.drop} for unit in chain.units]
        console.json({"units": units, "params": chain.params, "macs": chain.macs})
        return
    table = of_units(chain)
    console.table(table.columns, table.rows, table.right)
    console.headline(table.headline)
