"""The list of work: models and data checked, cells listed."""

from dataclasses import dataclass, replace
from pathlib import Path

from edgeprune import datasets
from edgeprune.compare.cell.cells import Pair, baseline_job, expand, job_of
from edgeprune.compare.cell.frames import frames_of
from edgeprune.compare.cell.settings import overrides_of
from edgeprune.compare.document import DataFacts
from edgeprune.compare.grid.grid import Grid
from edgeprune.compare.records import Cell, CellJob, SourceFile
from edgeprune.errors import ConfigError, DataError
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.network.model_file import ModelOptions
from edgeprune.protocols import NullProgress, Progress
from edgeprune.records.frames import Reading
from edgeprune.tasks.data.frames import find_data, fitted, split_seed_of, tell_frames
from edgeprune.tasks.data.reading import SPLIT_SEED, ReadOverrides, handling_of, reading_of
from edgeprune.tasks.identify import settled

_Fit = tuple[Path, SourceFile]
"""A model file, and frames."""


@dataclass(frozen=True)
class Worklist:
    """All work of a comparison.

    Attributes:
        baselines: Job on the unpruned network, for each model and data set that fit.
        jobs: Job on each cell, in the order of the table.
        data: The data sets with the seed of their split.
        warnings: Models and data sets that do not fit each other.
    """

    baselines: dict[Pair, CellJob]
    jobs: tuple[CellJob, ...]
    data: tuple[DataFacts, ...]
    warnings: tuple[str, ...]


def worklist_of(grid: Grid, out: Path, options: ModelOptions, progress: Progress | None = None) -> Worklist:
    """Check models and data, note which frames are used, and list the work.

    Raises:
        ConfigError: A file is missing, or no data are named for reference networks.
        ModelError: A model cannot be read.
        DataError: Frames cannot be read, or a model fits none of the data.
    """
    if len(grid.models) > 1:
        options = replace(options, shared=True)
    models = {path: checkpoints.load(path, options) for path in grid.models}
    overrides = overrides_of(grid.data)
    given = [_source(path, reading_of(None, Reading.length, overrides)) for path in grid.data.path or ()]
    own = {path: given or [_own_source(model, overrides)] for path, model in models.items()}
    checked, problems = _fitting(models, own, overrides, progress or NullProgress())
    told = {path: _options_of(model, options) for path, model in models.items()}
    pairs = {
        (SourceFile(model.name, path, model.sha256), data): split_seed_of(model)
        for path, model in models.items()
        for data in own[path]
        if (path, data) not in problems
    }
    data = given or list(dict.fromkeys(frames for _, frames in pairs))
    if not data:
        raise ConfigError("the reference networks have no data to be trained on", "Name some in [data] path")
    names = [each.name for each in data]
    if len(set(names)) < len(names):
        raise ConfigError(f"two data sets have the same name: {', '.join(names)}", "Rename one of the files")
    seeds = {frames: _split_seed(frames, pairs, grid) for frames in data}
    cells = expand(grid, tuple(pairs), data)
    return Worklist(
        baselines={
            (model, frames): baseline_job(
                (model, frames), grid, out, seed, told[model.path], checked[model.path, frames]
            )
            for (model, frames), seed in pairs.items()
        },
        jobs=tuple(
            job_of(
                cell,
                grid,
                out,
                _seed_of(cell, pairs, seeds),
                options if cell.model is None else told[cell.model.path],
                checked.get(_fit_of(cell)),
            )
            for cell in cells
        ),
        data=tuple(DataFacts(each.name, each.path.name, each.sha256, seeds[each]) for each in data),
        warnings=tuple(
            f"{models[path].name} is not compared on {data.name}: {problem.message}"
            for (path, data), problem in problems.items()
        ),
    )


def _fitting(
    models: dict[Path, Checkpoint], own: dict[Path, list[SourceFile]], overrides: ReadOverrides, progress: Progress
) -> tuple[dict[_Fit | None, str | None], dict[_Fit, DataError]]:
    """Hash the split of each model and data set that fit, and say why the others do not fit; each set is read once.

    For a foreign model, the first data set that fits decides how its frames are scaled; `models` is updated with that.

    Raises:
        DataError: Frames cannot be read, or a model fits none of its data.
    """
    checked: dict[_Fit | None, str | None] = {}
    found: dict[_Fit, DataError] = {}
    for data in dict.fromkeys(each for sources in own.values() for each in sources):
        told = False
        for path in (path for path, sources in own.items() if data in sources):
            model, handling = models[path], handling_of(models[path], overrides)
            frames = frames_of(data, handling.reading, handling.stream)
            try:
                parts = fitted(model, frames, handling)
                checked[path, data] = parts["train"].split_sha256
                if not told:
                    tell_frames(parts, progress)
                    told = True
                models[path] = settled(model, parts["validation"], NullProgress(), strict=True)
            except DataError as error:
                found[path, data] = error
    frames_of.cache_clear()
    for path, sources in own.items():
        if all((path, data) in found for data in sources):
            raise found[path, sources[0]]
    return checked, found


def _options_of(model: Checkpoint, options: ModelOptions) -> ModelOptions:
    """Complete the options given for a model's file with what was identified of it."""
    if model.arch.outputs is None or model.data is not None:
        return options
    return replace(options, normalisation=model.input.normalisation, outputs=model.arch.outputs)


def _own_source(model: Checkpoint, overrides: ReadOverrides) -> SourceFile:
    return _source(find_data(model, None).resolve(), handling_of(model, overrides).reading)


def _source(path: Path, reading: Reading | None) -> SourceFile:
    return SourceFile(path.stem, path, datasets.sha256_of(path, reading))


def _split_seed(data: SourceFile, pairs: dict[Pair, int], grid: Grid) -> int:
    """Return the seed to split a data set by for reference networks: that of the first model on it."""
    otherwise = SPLIT_SEED if grid.data.split_seed is None else grid.data.split_seed
    return next((seed for (_, frames), seed in pairs.items() if frames == data), otherwise)


def _fit_of(cell: Cell) -> _Fit | None:
    return None if cell.model is None else (cell.model.path, cell.data)


def _seed_of(cell: Cell, pairs: dict[Pair, int], seeds: dict[SourceFile, int]) -> int:
    return seeds[cell.data] if cell.model is None else pairs[cell.model, cell.data]
