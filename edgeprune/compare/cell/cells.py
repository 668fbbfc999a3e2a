"""From a grid to its cells, each with a readable name. Pure."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgeprune.compare.cell.settings import overrides_of
from edgeprune.compare.grid.grid import REFERENCE, WELL_KNOWN, Grid, Method
from edgeprune.compare.records import Cell, CellJob, SourceFile
from edgeprune.network.model_file import ModelOptions

Pair = tuple[SourceFile, SourceFile]  # a model, and frames that fit it


def expand(grid: Grid, pairs: Sequence[Pair], data: Sequence[SourceFile]) -> tuple[Cell, ...]:
    """List every cell of a grid: by data set, then model, ratio, method and seed; reference networks after the models.

    Args:
        grid: The grid.
        pairs: Each model with each data set that fits it.
        data: The data sets, in order; reference networks are trained on each.
    """
    cells = []
    for frames in data:
        for model in [model for model, fitting in pairs if fitting == frames]:
            whole = [method for method in grid.methods if method.kind == "none"]
            smaller = [method for method in grid.methods if method.kind != "none"]
            cells += [_of_model(model, frames, method, None, seed) for method in whole for seed in grid.seeds]
            cells += [
                _of_model(model, frames, method, ratio, seed)
                for ratio in grid.ratios
                for method in smaller
                for seed in grid.seeds
            ]
        cells += [
            Cell(_id(network.name, frames.name, "trained", None, seed), None, network, frames, None, None, seed)
            for network in grid.networks
            for seed in grid.seeds
        ]
    return tuple(cells)


def job_of(
    cell: Cell, grid: Grid, out: Path, split_seed: int, options: ModelOptions, checked: str | None = None
) -> CellJob:
    """Make the job of a cell in the run folder `out`."""
    job = _job(cell, out, "cells", grid, split_seed, options, checked)
    if cell.method is None or cell.method.kind != "channels":
        return job
    reference = reference_of(cell, grid.methods)
    return replace(job, reference=replace(job, cell=reference, folder=out / "cells" / reference.id))


def baseline_job(
    pair: Pair, grid: Grid, out: Path, split_seed: int, options: ModelOptions, checked: str | None = None
) -> CellJob:
    """Make the job of an unpruned network: its cost, its accuracy, its export."""
    model, data = pair
    cell = Cell(f"{_readable(model.name)}--{_readable(data.name)}", model, None, data, None, None, 0)
    return _job(cell, out, "baselines", grid, split_seed, options, checked)


def _job(
    cell: Cell, out: Path, among: str, grid: Grid, split_seed: int, options: ModelOptions, checked: str | None
) -> CellJob:
    overrides = overrides_of(grid.data)
    return CellJob(
        cell,
        out / among / cell.id,
        out / "judged",
        grid.training,
        grid.bench,
        split_seed,
        options,
        overrides=overrides,
        checked=checked,
        test_frames=grid.data.test_frames,
    )


def reference_of(cell: Cell, methods: Sequence[Method]) -> Cell:
    """Return the cell whose MACs a channel method is to match: edgeprune's, with the same model, data, ratio and seed.

    If the grid has no method of that name, it is edgeprune with its defaults.
    """
    named = [method for method in methods if method.name == REFERENCE and method.kind == "layers"]
    method = named[0] if named else Method(name=REFERENCE, **WELL_KNOWN[REFERENCE])
    assert cell.model is not None
    return _of_model(cell.model, cell.data, method, cell.ratio, cell.seed)


def _of_model(model: SourceFile, data: SourceFile, method: Method, ratio: float | None, seed: int) -> Cell:
    return Cell(_id(model.name, data.name, method.name, ratio, seed), model, None, data, method, ratio, seed)


def _id(subject: str, data: str, method: str, ratio: float | None, seed: int) -> str:
    parts = [_readable(subject), _readable(data), method, *([f"r{ratio:g}"] if ratio is not None else []), f"s{seed}"]
    return "--".join(parts)


def _readable(name: str) -> str:
    """Replace the characters that some file system does not allow in names."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", name)
