"""`edgeprune train`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeprune.cli._completion import model_names
from edgeprune.cli._options import DATA, FILE, seed_option, subcommand, training_frames_option

if TYPE_CHECKING:
    from edgeprune.cli._console import Console


@subcommand("train")
@click.option(
    "--model", "name", required=True, shell_complete=model_names, help="Name of a network, as in resnet56-1d."
)
@click.option("--data", type=DATA, required=True, help="Labelled frames that `edgeprune data info` reads.")
@click.option("--out", type=FILE, required=True, help="The model file to write.")
@click.option("--epochs", type=click.IntRange(1), default=30, show_default=True)
@click.option("--batch-size", type=click.IntRange(2), default=256, show_default=True)
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=0.2, show_default=True)
@click.option("--weight-decay", type=click.FloatRange(0), default=5e-4, show_default=True)
@click.option("--rotate/--no-rotate", default=True, show_default=True, help="Turn frames by random quarters.")
@click.option("--split-seed", type=click.IntRange(0), default=2016, show_default=True, help="Of the data's split.")
@training_frames_option
@seed_option
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
    frames: int | None,
    seed: int,
) -> None:
    """Train a network from scratch; the best epoch on the validation split is kept.

    Interrupted, the same command continues after the last finished epoch.
    """
    from edgeprune.store import to_plain
    from edgeprune.tasks.training import train_new
    from edgeprune.train.finetune import Recipe

    recipe = Recipe(epochs, batch_size, learning_rate, weight_decay, rotate, seed=seed)
    saved, result = train_new(name, data, out, recipe, split_seed, frames, console)
    if console.as_json:
        console.json({"model": str(out), "sha256": saved.sha256, "training": to_plain(result)})
    else:
        console.headline(f"{result.best_validation_top1:.2%} on validation (epoch {result.best_epoch}): {out}")
