"""`edgeprune import`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeprune.cli._model import MODEL, model_options
from edgeprune.cli._options import DATA, FILE, asked_options, chosen, compute_option, subcommand

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.network.model_file import ModelOptions
    from edgeprune.tasks.data.reading import ReadOverrides


@subcommand("import")
@click.argument("weights", type=MODEL)
@click.option("--data", type=DATA, required=True, help="Labeled frames that `edgeprune data info` reads.")
@click.option("--out", type=FILE, required=True, help="The model file to write.")
@compute_option
@asked_options("--split", "--split-method")
@model_options
def command(
    console: "Console",
    weights: Path,
    data: Path,
    out: Path,
    compute: str,
    asked: "ReadOverrides",
    options: "ModelOptions",
) -> None:
    """Bring in a network of your own: identify what its WEIGHTS do not record, measure it, and write a model file.

    Unless they are given, shape and classes come from the data, and the normalization is found on the validation
    split. Other commands on this machine need no such options for the written file; another machine needs --factory
    again, since it runs your code.

    Examples:
        edgeprune import weights.pt --factory net.py:build --data frames.pkl --out model.pt
        edgeprune import weights.pt --factory nets.resnet:build --factory-arg width=32 --data frames.h5 --out model.pt
        edgeprune import whole.pt --trust-pickle --data frames.pkl --class-names BPSK,QPSK,8PSK --out model.pt
    """
    from edgeprune.files.store import to_plain
    from edgeprune.tasks.bring_in import bring_in

    saved, baseline = bring_in(weights, options, data, asked, out, console, chosen(console, compute))
    if console.as_json:
        console.json(
            {
                "model": str(out),
                "sha256": saved.sha256,
                "classes": list(saved.classes),
                "input": to_plain(saved.input),
                "arch": to_plain(saved.arch),
                "data": to_plain(saved.data),
                "validation": to_plain(baseline),
            }
        )
    else:
        console.headline(f"{baseline.top1:.2%} on validation, frames scaled as {baseline.normalisation}: {out}")
