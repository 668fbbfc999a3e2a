"""`edgeprune demo`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeprune.cli._options import FOLDER, subcommand
from edgeprune.cli.prune_and_export import command as prune_and_export

if TYPE_CHECKING:
    from edgeprune.cli._console import Console

MODEL = "resnet56-1d-gr2016a.pt"


@subcommand("demo")
@click.option("--out", type=FOLDER, default=Path("edgeprune-demo"), show_default=True, help="Run folder.")
@click.option("--epochs", type=click.IntRange(1), default=60, show_default=True, help="Epochs of fine-tuning.")
def command(console: "Console", out: Path, epochs: int) -> None:
    """Prune the shipped network on the shipped frames, export it, and measure both networks on this machine.

    Keeps a third of the units of a residual network that tells eleven modulations apart. It fine-tunes on 5,500 frames,
    a seventh of those that the network was trained on, and so loses more accuracy than a job on all of them.

    Examples:
        edgeprune demo
    """
    from edgeprune.files.shipped import shipped

    model = shipped("examples") / MODEL
    words = [str(model), "--data", "shipped", "--target", "host-cpu", "--epochs", str(epochs), "--out", str(out)]
    with prune_and_export.make_context("prune-and-export", words, parent=click.get_current_context()) as context:
        prune_and_export.invoke(context)
    if console.as_json or console.quiet:
        return
    console.print("Open it in a browser. Then try:")
    console.print(f"  edgeprune inspect {model}")
    console.print("  edgeprune device probe replay:orin-nano-jp62 --target jetson-orin")
    console.print("  edgeprune import weights.pt --factory net.py:build --data frames.pkl --out model.pt")
