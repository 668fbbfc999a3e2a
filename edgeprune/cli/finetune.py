"""`edgeprune finetune`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeprune.cli._model import MODEL, load_model, model_options, options_of_teacher
from edgeprune.cli._options import (
    FILE,
    asked_options,
    batch_size_option,
    chosen,
    compute_option,
    data_option,
    mix_option,
    seed_option,
    subcommand,
    training_frames_option,
)

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.network.model_file import ModelOptions
    from edgeprune.tasks.data.reading import ReadOverrides


@subcommand("finetune")
@click.argument("model", type=MODEL)
@data_option
@click.option("--out", type=FILE, required=True, help="Model file to write.")
@click.option("--teacher", type=FILE, help="Distill from this model file, usually the unpruned one.")
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True, help="Number of epochs.")
@batch_size_option
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    default=0.1,
    show_default=True,
    help="Peak learning rate.",
)
@mix_option
@training_frames_option
@compute_option
@seed_option
@asked_options("--split", "--split-method")
@model_options
def command(
    console: "Console",
    model: Path,
    data: Path | None,
    out: Path,
    teacher: Path | None,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    mix: float,
    frames: int | None,
    compute: str,
    seed: int,
    asked: "ReadOverrides",
    options: "ModelOptions",
) -> None:
    """Fine-tune MODEL; the best epoch on the validation split is kept.

    If interrupted, the same command continues after the last finished epoch.

    Examples:
        edgeprune finetune reassembled.pt --data frames.pkl --teacher model.pt --out pruned.pt
        edgeprune finetune reassembled.pt --data frames.pkl --teacher model.pt --mix 0.5 --epochs 60 --out pruned.pt
        edgeprune finetune reassembled.pt --data frames.pkl --learning-rate 0.01 --out pruned.pt
    """
    from dataclasses import replace

    from edgeprune.files.store import to_plain
    from edgeprune.tasks.data.frames import find_data
    from edgeprune.tasks.train import finetune_model, require_teacher
    from edgeprune.train.finetune import Recipe

    require_teacher(mix, teacher is not None)
    loaded = load_model(console, model, replace(options, shared=teacher is not None))
    tutor = load_model(console, teacher, options_of_teacher(options, loaded)) if teacher else None
    recipe = Recipe(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, mix=mix, seed=seed)
    where = chosen(console, compute)
    saved, result = finetune_model(loaded, find_data(loaded, data), out, recipe, tutor, asked, frames, console, where)
    if console.as_json:
        console.json(
            {"model": str(out), "sha256": saved.sha256, "data": to_plain(saved.data), "training": to_plain(result)}
        )
    else:
        console.headline(f"{result.best_validation_top1:.2%} on validation (epoch {result.best_epoch}): {out}")
