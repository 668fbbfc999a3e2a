"""`edgeprune eval`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeprune.cli._model import MODEL, model_options
from edgeprune.cli._options import asked_options, chosen, compute_option, data_option, subcommand

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.network.model_file import ModelOptions
    from edgeprune.records.names import Split
    from edgeprune.records.results import Accuracy
    from edgeprune.tasks.data.reading import ReadOverrides


@subcommand("eval")
@click.argument("model", type=MODEL)
@data_option
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train"]),
    default="test",
    show_default=True,
    help="Split to evaluate.",
)
@compute_option
@asked_options("--split-method")
@model_options
def command(
    console: "Console",
    model: Path,
    data: Path | None,
    split: "Split",
    compute: str,
    asked: "ReadOverrides",
    options: "ModelOptions",
) -> None:
    """Measure the accuracy of MODEL, a .pt or .onnx file: overall, per SNR and per class.

    Examples:
        edgeprune eval model.pt --data frames.pkl
        edgeprune eval pruned.onnx --data frames.pkl --split validation
        edgeprune eval model.pt --data frames.pkl --json
    """
    from edgeprune.files.store import to_plain
    from edgeprune.network.compute import CPU
    from edgeprune.tasks.evaluate import evaluate

    where = CPU if model.suffix == ".onnx" else chosen(console, compute)  # ONNX Runtime runs the other on the CPU
    found, used = evaluate(model, options, data, asked, split, console, where)
    if console.as_json:
        console.json({**to_plain(found), "data": to_plain(used)})
    else:
        _tables(console, found)


def _tables(console: "Console", found: "Accuracy") -> None:
    from edgeprune.api.tables import of_accuracy

    tables = (of_accuracy(found, "SNR in dB"), of_accuracy(found, "class"))
    console.headline(tables[0].headline)
    if found.groups is None:
        console.note("it is not known which frames belong together; the intervals assume that frames are independent")
    elif found.groups < found.frames and found.design_effect is not None:
        console.note(f"{found.groups} groups of frames, design effect {found.design_effect:.2f}")
    for table in tables:
        console.print()
        console.table(table.columns, table.rows, table.right)
