"""The records of a comparison: what its cells are, and what each leaves. Plain values, as in `edgeprune.records`."""

from dataclasses import dataclass
from pathlib import Path

from edgeprune.compare.document import Cost
from edgeprune.compare.grid.grid import GridBench, Method, Network, Training
from edgeprune.network.model_file import ModelOptions
from edgeprune.records.pruning import OnnxModel, PrunePlan
from edgeprune.records.results import Accuracy, TrainingResult
from edgeprune.tasks.data.reading import ReadOverrides

AS_TRAINED = ReadOverrides()
"""Frames are read and split as when the model was trained."""


@dataclass(frozen=True)
class SourceFile:
    """A file or folder that cells are made from; `name` is its stem."""

    name: str
    path: Path
    sha256: str


@dataclass(frozen=True)
class Cell:
    """One point of the grid, or an unpruned network beside it.

    Attributes:
        id: Readable, and the name of its folder.
        model: The trained network it starts from, or None for a network that is trained from fresh weights.
        network: That network, or None.
        data: The frames.
        method: What is done to the model, or None when it is taken as it is.
        ratio: Share of the droppable units that is removed, or None where nothing is.
        seed: Random seed.
    """

    id: str
    model: SourceFile | None
    network: Network | None
    data: SourceFile
    method: Method | None
    ratio: float | None
    seed: int

    @property
    def subject(self) -> str:
        """Name of the model or network."""
        if self.model is not None:
            return self.model.name
        assert self.network is not None
        return self.network.name


@dataclass(frozen=True)
class CellJob:
    """All that the work on one cell takes; it can be sent to another machine that sees the same files.

    Attributes:
        cell: Which cell.
        folder: Folder of the cell.
        shared_cache: Folder of what cells of the same model and data share.
        training: How to train.
        bench: How it will be measured, which says how to export.
        split_seed: Seed of the data split.
        options: What the command line said of the model files.
        reference: The cell whose MACs a channel method is to match, or None.
        asked: How frames are read and split otherwise than when the model was trained.
        checked: Sha256 of their split, where it is known that no frame is in two parts.
        test_frames: Most frames of the test split to judge by, or None for all.
        compute: Where networks run, on the machine that does the work.
    """

    cell: Cell
    folder: Path
    shared_cache: Path
    training: Training
    bench: GridBench
    split_seed: int
    options: ModelOptions
    reference: "CellJob | None" = None
    asked: ReadOverrides = AS_TRAINED
    checked: str | None = None
    test_frames: int | None = None
    compute: str = "cpu"


@dataclass(frozen=True)
class CellPlan:
    """Which layers stay.

    Attributes:
        plan: Every unit with its decision.
        fixed: Units that cannot be dropped.
        transitions: Paths of the units that stay, could be dropped, and change the shape of the signal.
    """

    plan: PrunePlan
    fixed: tuple[int, ...]
    transitions: tuple[str, ...]


@dataclass(frozen=True)
class Shape:
    """What is trained: the sha256 of its model file, and what it takes."""

    sha256: str
    cost: Cost


@dataclass(frozen=True)
class Tested:
    """The finished network: its accuracy on the test split, and what it takes."""

    accuracy: Accuracy
    cost: Cost


@dataclass(frozen=True)
class Finished:
    """Everything a cell left; `plan` where layers were chosen, `training` where there was any."""

    cell: Cell
    plan: CellPlan | None
    training: TrainingResult | None
    tested: Tested
    onnx: OnnxModel
