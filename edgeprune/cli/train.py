"""`edgeprune train`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeprune.cli._options import (
    DATA,
    FILE,
    batch_size_option,
    chosen,
    compute_option,
    model_names,
    reading_options,
    seed_option,
    stream_option,
    subcommand,
    training_frames_option,
)

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.records.frames import Reading


@subcommand("train")
@click.option(
    "--model", "name", required=True, shell_complete=model_names, help="Name of a network, for example resnet56-1d."
)
@click.option(
    "--data", type=DATA, required=True, help="Labeled frames: a file or folder that `edgeprune data info` can read."
)
@click.option("--out", type=FILE, required=True, help="Model file to write.")
@click.option("--epochs", type=click.IntRange(1), default=30, show_default=True, help="Number of epochs.")
@batch_size_option
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    default=0.2,
    show_default=True,
    help="Peak learning rate.",
)
@click.option("--weight-decay", type=click.FloatRange(0), default=5e-4, show_default=True, help="Weight decay.")
@click.option(
    "--rotate/--no-rotate",
    default=True,
    show_default=True,
    help="Rotate frames by random multiples of 90 degrees.",
)
@click.option("--split-seed", type=click.IntRange(0), default=2016, show_default=True, help="Random seed of the split.")
@click.option(
    "--split",
    "--split-method",
    "method",
    metavar="METHOD",
    default="auto",
    show_default=True,
    help="Method of the data split; saved in the model file, so that later commands use the same split.",
)
@stream_option
@training_frames_option
@compute_option
@seed_option
@reading_options
def command(
    console: "Console",
    name: str,
    data: Path,
    out: Path,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    rotate: bool,
    split_seed: int,
    method: str,
    stream: bool | None,
    frames: int | None,
    compute: str,
    seed: int,
    reading: "Reading",
) -> None:
    """Train a network from scratch; the best epoch on the validation split is kept.

    If interrupted, the same command continues after the last finished epoch. Data larger than memory are read during
    training, shuffled in blocks.

    Examples:
        edgeprune train --model resnet56-1d --data frames.pkl --out model.pt
        edgeprune train --model mcldnn --data frames.h5 --epochs 60 --out model.pt
        edgeprune train --model resnet56-1d --data recordings/ --length 1024 --sample-rate-hz 200e3 --out model.pt
    """
    from edgeprune.files.store import to_plain
    from edgeprune.tasks.data.reading import ReadOptions
    from edgeprune.tasks.train import train_new
    from edgeprune.train.finetune import Recipe

    recipe = Recipe(epochs, batch_size, learning_rate, weight_decay, rotate, seed=seed)
    handling = ReadOptions(split_seed, method, reading, stream)
    saved, result = train_new(name, data, out, recipe, handling, frames, console, chosen(console, compute))
    if console.as_json:
        console.json(
            {"model": str(out), "sha256": saved.sha256, "data": to_plain(saved.data), "training": to_plain(result)}
        )
    else:
        console.headline(f"{result.best_validation_top1:.2%} on validation (epoch {result.best_epoch}): {out}")
