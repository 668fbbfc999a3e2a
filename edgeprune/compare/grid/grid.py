"""What a grid file may hold: which models, methods, ratios, seeds and data are compared, and how."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgeprune.records.names import CHANNEL_METHODS

REFERENCE = "edgeprune"  # its cells say how many MACs the channel methods may leave

# Scores of the paper, within the default segments.
_WITHIN_SEGMENTS = ("synflow", "synflow-search")

# Baselines that know no segments choose among all units at once.
_WITHOUT_SEGMENTS = ("random", "uniform", "reinit", "linear-probe", "block-influence", "taylor", "leave-one-out")

WELL_KNOWN: dict[str, dict[str, Any]] = {
    REFERENCE: {"kind": "layers"},
    **{name: {"kind": "layers", "criterion": name} for name in _WITHIN_SEGMENTS},
    "paper": {"kind": "layers", "criterion": "synflow-search", "profile": "column-sums", "distill": False},
    **{name: {"kind": "layers", "criterion": name, "segments": 1} for name in _WITHOUT_SEGMENTS},
    "scratch": {"kind": "layers", "init": "scratch"},
    **{name: {"kind": "channels", "criterion": name} for name in CHANNEL_METHODS},
    "train-on": {"kind": "none"},
}


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=60)]
Deviation = Literal["traceback", "probe", "choice", "transitions"]


class GridTable(BaseModel):
    """A piece of a grid: every key is known, every value of its own type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Method(GridTable):
    """One way to make a network small. What is not given is as `edgeprune plan` has it."""

    name: Name
    kind: Literal["layers", "channels", "none"] = Field(
        default="layers", description="Drop layers, drop channels, or only train on."
    )
    criterion: str | None = Field(default=None, description="Scores layers; of channels, the method.")
    metric: str | None = Field(default=None, description="Compares layers.")
    segments: Literal["auto"] | Annotated[int, Field(ge=1)] | None = Field(default=None, description="How many.")
    profile: Literal["rows", "column-sums"] | None = Field(default=None, description="What is segmented.")
    bridge: str | None = Field(default=None, description="How a dropped layer that changes the shape is bridged.")
    then_width: float | None = Field(
        default=None, gt=0, lt=1, description="Share of MACs that is left when channels are dropped after the layers."
    )
    width_method: str = Field(default="l1", description="By what those channels are chosen.")
    init: Literal["inherited", "scratch"] = Field(
        default="inherited", description="Whether the kept units start from trained or from fresh weights."
    )
    distill: bool | None = Field(default=None, description="In place of that of [training].")
    mix: float | None = Field(default=None, ge=0, le=1, description="In place of that of [training].")
    released: tuple[Deviation, ...] = Field(default=(), description="What to do as the authors' released code does it.")


class Network(GridTable):
    """A network that is trained from fresh weights, for reference."""

    name: str
    learning_rate: float | None = Field(default=None, gt=0, description="In place of that of [training].")


class Data(GridTable):
    """The frames; without them what each model was trained on, or the shipped set that matches it.

    They are split and read as when a model was trained, and for networks that are trained from fresh weights as by
    `edgeprune train`, but for what is given here.
    """

    path: tuple[Path, ...] | None = Field(default=None, min_length=1, description="Files or folders.")
    split: str | None = Field(default=None, description="How they are split.")
    split_seed: int | None = Field(default=None, ge=0, description="Of the split where no model says.")
    length: int | None = Field(default=None, ge=1, description="Samples of a frame, cut from a recording.")
    hop: int | None = Field(default=None, ge=1, description="Samples from one frame to the next.")
    sample_rate_hz: float | None = Field(default=None, gt=0, description="Recordings are resampled to it.")
    skip_bad_files: bool = Field(default=False, description="Leave out recordings that cannot be read.")
    stream: bool | None = Field(default=None, description="Read frames while they are used, or all before.")
    test_frames: int | None = Field(
        default=None, ge=1, description="Most frames of the test split to judge by, spread over it."
    )


class Training(GridTable):
    """How every cell is trained after it was pruned."""

    epochs: int = Field(default=20, ge=0, description="0 leaves a cell as it was pruned.")
    batch_size: int = Field(default=256, ge=2)
    learning_rate: float = Field(default=0.1, gt=0, description="Peak of the one-cycle schedule.")
    weight_decay: float = Field(default=5e-4, ge=0)
    frames: int | None = Field(default=None, ge=2, description="Most frames to train on, spread over the train split.")
    validation_frames: int | None = Field(
        default=None, ge=1, description="Most frames to choose the epoch by, spread over the validation split."
    )
    distill: bool = Field(default=True, description="Learn from the unpruned model too.")
    mix: float = Field(
        default=0.0, ge=0, le=1, description="Share of the frames that get another on top, in cells that distil."
    )


class GridBench(GridTable):
    """How latency is measured."""

    target: str = "host-cpu"
    rounds: int = Field(default=16, ge=6)
    round_ms: float = Field(default=60.0, gt=0)


class Grid(GridTable):
    """A comparison: every model with every method, ratio, seed and data set, and the reference networks beside them."""

    title: str = Field(default="Comparison", min_length=1, max_length=120, description="Of the pages.")
    models: tuple[Path, ...] = Field(default=(), description="Trained model files.")
    methods: tuple[Method, ...] = Field(default=(), description="Names of methods, or tables.")
    ratios: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(0.67,), description="Shares of the droppable units that are removed."
    )
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = (0,)
    networks: tuple[Network, ...] = Field(default=(), description="Names of networks to train from scratch, or tables.")
    data: Data = Data()
    training: Training = Training()
    bench: GridBench = GridBench()
    plots: tuple[Literal["curves", "kept"], ...] = Field(
        default=(), description="Plots beside the usual ones: how training went, which units stayed."
    )
