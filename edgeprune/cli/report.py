"""`edgeprune report`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeprune.cli._options import FOLDER, subcommand

if TYPE_CHECKING:
    from edgeprune.cli._console import Console


@subcommand("report")
@click.argument("run", type=FOLDER)
def command(console: "Console", run: Path) -> None:
    """Write report.md and report.html of the run folder RUN again, from its report.json and samples.

    Examples:
        edgeprune report runs/model-host-cpu
    """
    from edgeprune.files.store import read_json
    from edgeprune.report.folder import rerender
    from edgeprune.report.pages.requirements import sentence
    from edgeprune.report.schema.json import load

    rerender(run)
    if console.as_json:
        console.json(read_json(run / "report.json"))
    else:
        console.headline(sentence(load(run / "report.json")))
        console.print(f"Report: {run / 'report.html'}")
