"""The records of a comparison: its cells and their results. Plain values, as in `edgeprune.records`."""

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
    """One point of the grid, or the unpruned network that it is compared with.

    Attributes:
        id: Readable name, also of the cell's folder.
        model: The trained network to start from, or None for a network that is trained from fresh weights.
        network: The network to train from fresh weights, or None.
        data: The frames.
        method: Method applied to the model, or None to leave it as it is.
        ratio: Share of the droppable units to remove, or None to remove none.
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
    """All that is needed to work on one cell; it can be sent to another machine that sees the same files.

    Attributes:
        cell: The cell.
        folder: Folder of the cell.
        shared_cache: Folder of the results that cells of the same model and data share.
        training: Training settings.
        bench: Settings of the latency measurement, which also decide the export.
        split_seed: Seed of the data split.
        options: Options given for the model files.
        reference: The cell whose MACs a channel method is to match, or None.
        overrides: Reading and splitting of the frames where they differ from those of the model's training.
        checked: Sha256 of the split if it is known that no frame is in two parts, else None.
        test_frames: Maximum number of test frames to evaluate on, or None for all.
        compute: Device on which networks run, on the machine that does the work.
    """

    cell: Cell
    folder: Path
    shared_cache: Path
    training: Training
    bench: GridBench
    split_seed: int
    options: ModelOptions
    reference: "CellJob | None" = None
    overrides: ReadOverrides = AS_TRAINED
    checked: str | None = None
    test_frames: int | None = None
    compute: str = "cpu"


@dataclass(frozen=True)
class CellPlan:
    """The layers to keep.

    Attributes:
        plan: The decision on every unit.
        fixed: Units that cannot be dropped.
        transitions: Paths of the units that are kept, could be dropped, and change the shape of the signal.
    """

    plan: PrunePlan
    fixed: tuple[int, ...]
    transitions: tuple[str, ...]


@dataclass(frozen=True)
class Shape:
    """A pruned network before training: the sha256 of its model file, and its cost."""

    sha256: str
    cost: Cost


@dataclass(frozen=True)
class Tested:
    """The finished network: its accuracy on the test split, and its cost."""

    accuracy: Accuracy
    cost: Cost


@dataclass(frozen=True)
class Finished:
    """All results of a cell; `plan` only if layers were chosen, `training` only if the network was trained."""

    cell: Cell
    plan: CellPlan | None
    training: TrainingResult | None
    tested: Tested
    onnx: OnnxModel
