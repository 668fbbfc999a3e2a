"""`edgeprune export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeprune.cli._model import MODEL, load_model, model_options
from edgeprune.cli._options import (
    FILE,
    chosen,
    compute_option,
    data_option,
    precision_options,
    subcommand,
    target_option,
)

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.network.model_file import ModelOptions
    from edgeprune.records.pruning import OnnxModel


@subcommand("export")
@click.argument("model", type=MODEL)
@target_option
@click.option("--out", type=FILE, required=True, help="ONNX file to write.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    help="Precision of the file.  [default: the target's first]",
)
@precision_options
@click.option(
    "--max-accuracy-drop",
    type=click.FloatRange(0, 1),
    metavar="R",
    help="Largest loss of top-1 accuracy on the validation split that the precision may cause, as a fraction. int8 "
    "keeps its most sensitive layers in fp16 or fp32 to stay within it; exit code 1 if that is not enough.",
)
@click.option(
    "--batch", type=click.IntRange(1), default=1, show_default=True, help="Batch size, for targets with a static batch."
)
@compute_option
@data_option
@model_options
def command(
    console: "Console",
    model: Path,
    target: str,
    out: Path,
    precision: str | None,
    calibration: dict[str, Any],
    qat: int | None,
    max_accuracy_drop: float | None,
    batch: int,
    compute: str,
    data: Path | None,
    options: "ModelOptions",
) -> None:
    """Write MODEL as ONNX for a target, simplified and checked against PyTorch on real frames.

    With --qat, the network after quantization-aware training is saved beside it as NAME-qat.pt.

    Examples:
        edgeprune export pruned.pt --target host-cpu --data frames.pkl --out pruned.onnx
        edgeprune export pruned.pt --target jetson-orin --precision fp16 --data frames.pkl --out pruned.onnx
        edgeprune export pruned.pt --target jetson-orin --precision int8 --calib-data calibration --out pruned.onnx
    """
    from edgeprune import targets
    from edgeprune.files.store import to_plain
    from edgeprune.network.compute import CPU
    from edgeprune.tasks.data.frames import find_data
    from edgeprune.tasks.export import export_model, precision_of
    from edgeprune.tasks.precision import PrecisionOptions

    goal = targets.get(target)
    wanted = PrecisionOptions(precision_of(goal, precision), max_drop=max_accuracy_drop, qat_epochs=qat, **calibration)
    wanted.check()
    loaded = load_model(console, model, options)
    where = CPU if qat is None else chosen(console, compute)  # exports are traced and checked on the CPU
    written = export_model(loaded, find_data(loaded, data), goal, out, wanted, batch, console, where)
    if console.as_json:
        console.json(to_plain(written))
    else:
        _say(console, written, out)
    if max_accuracy_drop is not None and (written.validation_drop or 0) > max_accuracy_drop:
        console.note(
            f"{written.precision} loses {100 * (written.validation_drop or 0):.2f} points of top-1 on the validation "
            f"split; at most {100 * max_accuracy_drop:g} are allowed"
        )
        raise click.exceptions.Exit(1)


def _say(console: "Console", written: "OnnxModel", out: Path) -> None:
    for note in written.simplifier_notes:
        console.note(note)
    console.headline(
        f"{written.precision}, opset {written.opset}, {written.nodes} operators, {written.size_bytes:,} bytes, "
        f"simplified by {written.simplifier}: {out}"
    )
    console.print(
        f"Same class as PyTorch for {written.same_top1:.1%} of {written.checked_frames} frames; largest logit "
        f"difference {written.max_abs_logit_difference:.2g}"
    )
    if written.gains:
        least = min(check.same_top1 for check in written.gains)
        gains = [check.gain for check in written.gains]
        console.print(
            f"Same class for {least:.1%} or more when frames are scaled by a gain of {min(gains):g} to {max(gains):g}"
        )
    quantisation = written.quantisation
    if quantisation is not None:
        console.print(
            f"Calibrated by {quantisation.method} on {quantisation.calibration_frames} frames ("
            f"{quantisation.calibration}); {quantisation.quantised} layers in int8"
        )
    if quantisation is not None and quantisation.kept:
        console.print(f"Kept in {quantisation.kept_in}, worst first: {', '.join(quantisation.kept)}")
    if written.validation_drop is not None:
        console.print(f"Loses {100 * written.validation_drop:.2f} points of top-1 on the validation split")
