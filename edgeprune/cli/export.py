"""`edgeprune export`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeprune.cli._options import FILE, data_option, model_options, subcommand, target_option

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.model_file import ModelOptions


@subcommand("export")
@click.argument("model", type=FILE)
@target_option
@click.option("--out", type=FILE, required=True, help="The ONNX file to write.")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "int8"]), help="Default: the target's first.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="For targets of static batch.")
@data_option
@model_options
def command(
    console: "Console",
    model: Path,
    target: str,
    out: Path,
    precision: str | None,
    batch: int,
    data: Path | None,
    options: "ModelOptions",
) -> None:
    """Write MODEL as ONNX for a target, simplified, and checked against PyTorch on real frames."""
    from edgeprune import checkpoint as checkpoints
    from edgeprune import targets
    from edgeprune.store import to_plain
    from edgeprune.tasks.inputs import find_data
    from edgeprune.tasks.measuring import export_model, precision_of

    chosen = targets.get(target)
    wanted = precision_of(chosen, precision)
    loaded = checkpoints.load(model, options)
    written = export_model(loaded, find_data(loaded, data), chosen, out, wanted, batch, console)
    if console.as_json:
        console.json(to_plain(written))
        return
    for note in written.simplifier_notes:
        console.note(note)
    console.headline(
        f"{written.precision}, opset {written.opset}, {written.nodes} operators, {written.size_bytes:,} bytes, "
        f"simplified by {written.simplifier}: {out}"
    )
    console.print(
        f"The same class as PyTorch for {written.same_top1:.1%} of {written.checked_frames} frames; largest difference "
        f"of a logit {written.max_abs_logit_difference:.2g}"
    )
