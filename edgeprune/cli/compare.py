"""`edgeprune compare`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeprune.cli._model import MODEL, model_options
from edgeprune.cli._options import DATA, FILE, FOLDER, asked_options, compute_option, subcommand

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.compare.document import Comparison
    from edgeprune.compare.grid.grid import Grid
    from edgeprune.network.model_file import ModelOptions
    from edgeprune.tasks.data.reading import ReadOverrides


@subcommand("compare", sections={"Comparison": ("grid", "study", "ratios", "seeds", "ray_address")})
@click.argument("model", type=MODEL, required=False)
@click.option("--grid", type=FILE, help="Grid file: what to compare, in TOML.")
@click.option("--study", help="Study of MODEL: segments, metrics, criteria, scratch, kept or deviations.")
@click.option("--data", type=DATA, help="Data of a study.  [default: the data named in the model file]")
@click.option("--epochs", type=click.IntRange(0), help="Override the epochs of the grid or study.")
@click.option("--frames", type=click.IntRange(2), help="Override the largest number of frames to train on.")
@click.option("--seeds", help="Override the seeds, for example 0,1,2.")
@click.option("--ratios", help="Override the ratios, for example 0.67,0.89.")
@click.option("--rounds", type=click.IntRange(6), help="Override the rounds in which latency is measured.")
@click.option("--round-ms", type=click.FloatRange(1), help="Override the length of a round in ms.")
@click.option(
    "--workers",
    type=click.IntRange(0),
    help="Cells to run at a time; 0 runs them one by one in this process.  [default: number of cores]",
)
@click.option(
    "--threads", type=click.IntRange(1), help="Threads per worker.  [default: the cores divided among the workers]"
)
@compute_option
@click.option("--ray-address", help="Ray cluster whose machines see the same files.  [default: this machine]")
@click.option("--out", type=FOLDER, help="Run folder.  [default: runs/compare-NAME]")
@asked_options("--split", "--split-method")
@click.option("--dry-run", is_flag=True, help="Only show which cells are finished and which would run.")
@model_options
def command(
    console: "Console",
    model: Path | None,
    grid: Path | None,
    study: str | None,
    data: Path | None,
    epochs: int | None,
    frames: int | None,
    seeds: str | None,
    ratios: str | None,
    rounds: int | None,
    round_ms: float | None,
    workers: int | None,
    threads: int | None,
    compute: str,
    ray_address: str | None,
    out: Path | None,
    dry_run: bool,
    asked: "ReadOverrides",
    options: "ModelOptions",
) -> None:
    """Compare methods on the same models and data: one table, and one plot of accuracy against measured latency.

    Give --grid FILE, or --study NAME with a MODEL. Run again, the command reuses finished cells.

    Examples:
        edgeprune compare --study criteria model.pt --data frames.pkl
        edgeprune compare --grid grid.toml --workers 2 --out runs/comparison
        edgeprune compare --grid grid.toml --epochs 2 --seeds 0 --dry-run
    """
    from edgeprune.compare.run import cell_states, compare
    from edgeprune.compare.workers import Workers

    tables: dict[str, dict[str, Any]] = {
        "training": {"epochs": epochs, "frames": frames},
        "bench": {"rounds": rounds, "round_ms": round_ms},
        "data": {"split": asked.split, "stream": asked.stream, **asked.reading},
    }
    overrides = _overrides(tables, seeds, ratios)
    chosen, name = _grid(grid, study, model, data, overrides)
    folder = out or Path("runs") / f"compare-{name}"
    if dry_run:
        outcome = cell_states(chosen, folder, options, console)
        if console.as_json:
            console.json({"out": str(folder), "cells": outcome})
        else:
            console.table(("cell", ""), list(outcome.items()))
        return
    typed = shlex.join(["edgeprune", *sys.argv[1:]])
    _show(
        console,
        compare(chosen, folder, options, Workers(workers, ray_address, threads, compute), typed, console),
        folder,
    )


def _grid(
    grid: Path | None, study: str | None, model: Path | None, data: Path | None, overrides: dict[str, Any]
) -> "tuple[Grid, str]":
    """Read the grid, and return it with a name for the run.

    Raises:
        ConfigError: Neither a grid nor a study with its model is given, or both are.
    """
    from edgeprune.compare.grid.read import read, study_names
    from edgeprune.compare.grid.read import study as study_of
    from edgeprune.errors import ConfigError

    if (grid is not None and (study or model or data)) or (grid is None and study is None):
        raise ConfigError(
            "compare takes either --grid FILE or --study NAME MODEL", f"Studies: {', '.join(study_names())}"
        )
    if grid is not None:
        return read(grid, overrides), grid.stem
    assert study is not None
    if model is None:
        raise ConfigError(
            f"--study {study} names no model", f"For example: edgeprune compare --study {study} trained.pt"
        )
    return study_of(study, model, data, overrides), f"{study}-{model.stem}"


def _overrides(tables: dict[str, dict[str, Any]], seeds: str | None, ratios: str | None) -> dict[str, Any]:
    """Collect the command line's overrides of the file's values.

    Raises:
        ConfigError: A list holds something other than numbers.
    """
    given = {name: {key: value for key, value in table.items() if value is not None} for name, table in tables.items()}
    found: dict[str, Any] = {name: table for name, table in given.items() if table}
    for option, text, kind in (("--seeds", seeds, int), ("--ratios", ratios, float)):
        if text is not None:
            found[option.removeprefix("--")] = _numbers(option, text, kind)
    return found


def _numbers(option: str, text: str, kind: type[int] | type[float]) -> list[int | float]:
    from edgeprune.errors import ConfigError

    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"{option} {text!r} is not a list of numbers", "For example: 0,1,2") from error


def _show(console: "Console", comparison: "Comparison", folder: Path) -> None:
    from edgeprune.compare.report import columns
    from edgeprune.compare.report.folder import JSON_NAME
    from edgeprune.files.store import read_json

    if console.as_json:
        console.json(read_json(folder / JSON_NAME))
        return
    lines = [line for group in columns.groups(comparison) for line in group.lines]
    rows = [(number, columns.name(line.row), *rest) for line in lines for number, _, *rest in [line.cells]]
    console.table(columns.HEADER, rows, right=[title for title in columns.HEADER if title != "Method"])
    for failed in comparison.failed:
        console.print(f"failed: {failed.id}: {failed.reason}")
    for warning in (*comparison.warnings, *comparison.measurement.warnings):
        console.print(f"warning: {warning}")
    for finding in columns.findings(comparison):
        console.headline(finding)
    console.print(f"Pages: {folder / 'compare.html'}")
