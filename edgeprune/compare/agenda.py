"""What there is to do: models and data looked at, the cells listed."""

from dataclasses import dataclass
from pathlib import Path

from edgeprune import checkpoint as checkpoints
from edgeprune import datasets
from edgeprune.checkpoint import Checkpoint
from edgeprune.compare.cells import Pair, baseline_job, expand, job_of
from edgeprune.compare.document import DataFacts
from edgeprune.compare.grid import Grid
from edgeprune.compare.results import Cell, Job, Source
from edgeprune.errors import ConfigError, DataError
from edgeprune.frames import fit_to
from edgeprune.model_file import ModelOptions
from edgeprune.store import file_sha256
from edgeprune.tasks.inputs import SPLIT_SEED, find_data, split_of, split_seed_of, splits_of


@dataclass(frozen=True)
class Agenda:
    """All work of a comparison.

    Attributes:
        baselines: For each model and data set that fit, the work on the unpruned network.
        jobs: The work on each cell, in the order of the table.
        data: The data sets with the seed of their split.
        warnings: Models and data sets that do not fit each other.
    """

    baselines: dict[Pair, Job]
    jobs: tuple[Job, ...]
    data: tuple[DataFacts, ...]
    warnings: tuple[str, ...]


def agenda_of(grid: Grid, out: Path, options: ModelOptions) -> Agenda:
    """Look at models and data, and list the work.

    Raises:
        ConfigError: A file is missing, or no data are named for reference networks.
        ModelError: A model cannot be read.
        DataError: Frames cannot be read, or a model fits none of the data.
    """
    models = {path: checkpoints.load(path, options) for path in grid.models}
    given = [_source(path) for path in grid.data.path or ()]
    own = {path: given or [_source(find_data(model, None).resolve())] for path, model in models.items()}
    problems = _problems(models, own)
    pairs = {
        (Source(model.name, path, model.sha256), data): split_seed_of(model)
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
    seeds = {frames: _split_seed(frames, pairs) for frames in data}
    cells = expand(grid, tuple(pairs), data)
    return Agenda(
        baselines={pair: baseline_job(pair, grid, out, seed, options) for pair, seed in pairs.items()},
        jobs=tuple(job_of(cell, grid, out, _seed_of(cell, pairs, seeds), options) for cell in cells),
        data=tuple(DataFacts(each.name, each.path.name, each.sha256, seeds[each]) for each in data),
        warnings=tuple(
            f"{models[path].name} is not compared on {data.name}: {problem.message}"
            for (path, data), problem in problems.items()
        ),
    )


def _problems(models: dict[Path, Checkpoint], own: dict[Path, list[Source]]) -> dict[tuple[Path, Source], DataError]:
    """Why models do not fit data sets, each of which is read once.

    Raises:
        DataError: Frames cannot be read, or a model fits none of its data.
    """
    found = {}
    for data in dict.fromkeys(each for sources in own.values() for each in sources):
        frames = datasets.read(data.path)
        for path, model in models.items():
            if data in own[path]:
                try:
                    splits_of(fit_to(frames, model.classes, model.input), split_seed_of(model), split_of(model))
                except DataError as error:
                    found[path, data] = error
    for path, sources in own.items():
        if all((path, data) in found for data in sources):
            raise found[path, sources[0]]
    return found


def _source(path: Path) -> Source:
    try:
        return Source(path.stem, path, file_sha256(path))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error


def _split_seed(data: Source, pairs: dict[Pair, int]) -> int:
    """The seed that a data set is split by for reference networks: that of the first model on it."""
    return next((seed for (_, frames), seed in pairs.items() if frames == data), SPLIT_SEED)


def _seed_of(cell: Cell, pairs: dict[Pair, int], seeds: dict[Source, int]) -> int:
    return seeds[cell.data] if cell.model is None else pairs[cell.model, cell.data]
