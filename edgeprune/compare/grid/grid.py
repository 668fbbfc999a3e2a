"""The schema of a grid file: models, methods, ratios, seeds and data to compare, and the settings."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgeprune.records.names import CHANNEL_METHODS

REFERENCE = "edgeprune"  # channel methods match the MACs of its cells

# Criteria of the paper, within the default segments.
_WITHIN_SEGMENTS = ("synflow", "synflow-search")

# Baselines without segments: they choose among all units at once.
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
    """A table of a grid file: unknown keys and values of another type are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Method(GridTable):
    """One way to make a network smaller. The defaults are those of `edgeprune plan`."""

    name: Name
    kind: Literal["layers", "channels", "none"] = Field(
        default="layers", description="Drop layers, drop channels, or only train on."
    )
    criterion: str | None = Field(
        default=None, description="Criterion that scores the layers; for channels, the method."
    )
    metric: str | None = Field(default=None, description="Similarity metric of the layers.")
    segments: Literal["auto"] | Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Number of segments."
    )
    profile: Literal["rows", "column-sums"] | None = Field(
        default=None, description="Profile of the similarity matrix to segment."
    )
    bridge: str | None = Field(
        default=None, description="Start of the layers rebuilt for another width after one that changes the shape."
    )
    then_width: float | None = Field(
        default=None, gt=0, lt=1, description="Share of MACs to leave when channels are dropped after the layers."
    )
    width_method: str = Field(default="l1", description="Method that chooses those channels.")
    init: Literal["inherited", "scratch"] = Field(
        default="inherited", description="Whether the kept units start from trained or from fresh weights."
    )
    distill: bool | None = Field(default=None, description="Replaces the value in [training].")
    mix: float | None = Field(default=None, ge=0, le=1, description="Replaces the value in [training].")
    released: tuple[Deviation, ...] = Field(
        default=(), description="Deviations of the authors' released code to reproduce."
    )


class Network(GridTable):
    """A network that is trained from fresh weights, for reference."""

    name: str
    learning_rate: float | None = Field(default=None, gt=0, description="Replaces the value in [training].")


class Data(GridTable):
    """The frames; by default the data of each model's training, or the shipped set that matches the model.

    They are read and split as in the model's training, and for networks trained from fresh weights as by
    `edgeprune train`. The keys here override that.
    """

    path: tuple[Path, ...] | None = Field(default=None, min_length=1, description="Files or folders.")
    split: str | None = Field(default=None, description="Method of the split.")
    split_seed: int | None = Field(default=None, ge=0, description="Seed of the split if no model has one.")
    length: int | None = Field(default=None, ge=1, description="Samples of a frame, cut from a recording.")
    hop: int | None = Field(default=None, ge=1, description="Samples from the start of one frame to the next.")
    sample_rate_hz: float | None = Field(default=None, gt=0, description="Sample rate to resample recordings to, Hz.")
    skip_bad_files: bool = Field(default=False, description="Leave out recordings that cannot be read.")
    stream: bool | None = Field(
        default=None, description="Read frames while they are used (true), or all in advance (false)."
    )
    test_frames: int | None = Field(
        default=None, ge=1, description="Maximum number of test frames to evaluate on, spread over the test split."
    )


class Training(GridTable):
    """Training of every cell after it was pruned."""

    epochs: int = Field(default=20, ge=0, description="Number of epochs; 0 leaves a cell untrained after pruning.")
    batch_size: int = Field(default=256, ge=2)
    learning_rate: float = Field(default=0.1, gt=0, description="Peak of the one-cycle schedule.")
    weight_decay: float = Field(default=5e-4, ge=0)
    frames: int | None = Field(
        default=None, ge=2, description="Maximum number of frames to train on, spread over the train split."
    )
    validation_frames: int | None = Field(
        default=None,
        ge=1,
        description="Maximum number of frames to choose the epoch by, spread over the validation split.",
    )
    distill: bool = Field(default=True, description="Learn from the unpruned model too.")
    mix: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Fraction of each batch mixed with a second signal, in cells with distillation.",
    )


class GridBench(GridTable):
    """Settings of the latency measurement."""

    target: str = "host-cpu"
    rounds: int = Field(default=16, ge=6)
    round_ms: float = Field(default=60.0, gt=0)


class Grid(GridTable):
    """A comparison: every model with every method, ratio, seed and data set, and the reference networks beside them."""

    title: str = Field(default="Comparison", min_length=1, max_length=120, description="Title of the pages.")
    models: tuple[Path, ...] = Field(default=(), description="Trained model files.")
    methods: tuple[Method, ...] = Field(default=(), description="Names of methods, or tables.")
    ratios: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(0.67,), description="Shares of the droppable units to remove."
    )
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = (0,)
    networks: tuple[Network, ...] = Field(default=(), description="Names of networks to train from scratch, or tables.")
    data: Data = Data()
    training: Training = Training()
    bench: GridBench = GridBench()
    plots: tuple[Literal["curves", "kept"], ...] = Field(
        default=(), description="Additional plots: training curves, kept units."
    )
