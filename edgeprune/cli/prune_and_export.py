"""`edgeprune prune-and-export`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edgeprune.cli._device import device_options
from edgeprune.cli._model import MODEL, load_model, model_options
from edgeprune.cli._options import (
    FOLDER,
    asked_options,
    batch_size_option,
    chosen,
    compute_option,
    data_option,
    mix_option,
    precision_options,
    subcommand,
    target_option,
    training_frames_option,
)
from edgeprune.cli._planning import plan_options
from edgeprune.records.names import CHANNEL_METHODS

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.network.model_file import ModelOptions
    from edgeprune.targets import Precision
    from edgeprune.tasks.data.reading import ReadOverrides
    from edgeprune.tasks.device.connect import Host
    from edgeprune.tasks.plan import PlanSettings


@subcommand("prune-and-export")
@click.argument("model", type=MODEL)
@target_option
@data_option
@plan_options
@click.option(
    "--max-accuracy-drop",
    type=click.FloatRange(0, 1),
    metavar="R",
    help="Largest loss of top-1 accuracy on the validation split, as a fraction (0.005 is half a point). Given alone, "
    "the fewest units that stay within it are kept. Given with a number of units or a latency budget, it is checked: "
    "exit code 1 if it does not hold.",
)
@click.option(
    "--then-width",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="R",
    help="After whole layers, prune channels too, until this fraction of the remaining MACs is left: 0.5 halves them.",
)
@click.option(
    "--width-method",
    type=click.Choice(sorted(CHANNEL_METHODS)),
    default="l1",
    show_default=True,
    help="Method that chooses the channels to remove.",
)
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True, help="Epochs of fine-tuning.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    default=0.1,
    show_default=True,
    help="Peak learning rate of fine-tuning.",
)
@click.option(
    "--distill/--no-distill", default=True, show_default=True, help="Also learn from the outputs of the unpruned model."
)
@batch_size_option
@mix_option
@training_frames_option
@compute_option
@asked_options("--split", "--split-method")
@click.option(
    "--accept-baseline",
    is_flag=True,
    help="Continue with a MODEL whose unpruned accuracy on the validation split is below three times chance.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8", "auto"]),
    help="auto measures each precision of the target and takes the fastest that loses at most --max-accuracy-drop, or "
    "half a point.  [default: the target's first]",
)
@precision_options
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Frames per inference.")
@click.option("--out", type=FOLDER, help="Run folder.  [default: runs/MODEL-TARGET]")
@click.option("--fresh", is_flag=True, help="Forget the finished stages in the run folder and start over.")
@click.option("--dry-run", is_flag=True, help="Only show which stages would be reused and which would run.")
@device_options
@model_options
def command(
    console: "Console",
    model: Path,
    target: str,
    data: Path | None,
    max_accuracy_drop: float | None,
    then_width: float | None,
    width_method: str,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    distill: bool,
    mix: float,
    frames: int | None,
    compute: str,
    asked: "ReadOverrides",
    accept_baseline: bool,
    precision: "Precision | Literal['auto'] | None",
    calibration: dict[str, Any],
    qat: int | None,
    batch: int,
    out: Path | None,
    fresh: bool,
    dry_run: bool,
    options: "ModelOptions",
    planning: "PlanSettings",
    latency_budget: float | None,
    host: "Host | None",
    power: dict[str, Any],
) -> None:
    """Prune MODEL, fine-tune it, export it for a target, measure both networks, and write a report.

    For a target that is a device, both are measured on --device HOST. Without --device, the run folder holds
    bundle.tar: run it on the device by hand, then add its result to the report with `edgeprune device collect`.

    First, the unpruned MODEL is measured on the validation split and exported: if either fails, the job ends there.

    Run again, the command continues where it stopped. Exit code 1 means that the latency budget or the bound on
    accuracy does not hold.

    Examples:
        edgeprune prune-and-export model.pt --target host-cpu --data frames.pkl
        edgeprune prune-and-export model.pt --target jetson-orin --device orin --keep-ratio 0.2
        edgeprune prune-and-export model.pt --target host-cpu --max-accuracy-drop 0.005
    """
    from edgeprune import targets
    from edgeprune.cli._job import work
    from edgeprune.pipeline import Settings
    from edgeprune.tasks.data.frames import find_data
    from edgeprune.train.finetune import Recipe

    goal, loaded = targets.get(target), load_model(console, model, options)
    settings = Settings.of(
        goal,
        find_data(loaded, data),
        planning,
        recipe=Recipe(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, mix=mix, seed=planning.seed),
        distill=distill,
        precision=precision,
        calibration=calibration,
        qat=qat,
        batch=batch,
        command=shlex.join(["edgeprune", *sys.argv[1:]]),
        latency_budget=latency_budget,
        max_accuracy_drop=max_accuracy_drop,
        then_width=then_width,
        width_method=width_method,
        host=host,
        power=power,
        frames=frames,
        compute=chosen(console, compute),
        overrides=asked,
        accept_baseline=accept_baseline,
    )
    work(console, loaded, settings, out or Path("runs", f"{loaded.name}-{goal.name}"), fresh, dry_run)
