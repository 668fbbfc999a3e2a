"""`edgeprune eval`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeprune.cli._compute import chosen, compute_option
from edgeprune.cli._options import FILE, asked_options, data_option, model_options, subcommand

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.network.model_file import ModelOptions
    from edgeprune.records.names import Split
    from edgeprune.records.results import Accuracy
    from edgeprune.tasks.data.reading import Asked


@subcommand("eval")
@click.argument("model", type=FILE)
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
    asked: "Asked",
    options: "ModelOptions",
) -> None:
    """Measure the accuracy of MODEL, a .pt or .onnx file: overall, per SNR and per class."""
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
    low, high = found.ci95
    console.headline(f"{found.top1:.2%} of {found.frames} {found.split} frames (95 % interval {low:.2%} to {high:.2%})")
    if found.groups is None:
        console.note("it is not known which frames belong together; the intervals assume that frames are independent")
    elif found.groups < found.frames and found.design_effect is not None:
        console.note(f"{found.groups} groups of frames, design effect {found.design_effect:.2f}")
    for what, rates in (("SNR in dB", found.by_snr), ("class", found.by_class)):
        rows = [
            (name, f"{rate.top1:.2%}", f"{rate.ci95[0]:.2%} to {rate.ci95[1]:.2%}", str(rate.frames))
            for name, rate in rates.items()
        ]
        console.print()
        console.table((what, "top-1", "95 % interval", "frames"), rows, right=("top-1", "95 % interval", "frames"))
