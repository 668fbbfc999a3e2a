"""The records that a report holds as they are, and the types of their fields.

A report is read back with these alone. Each field has its bounds and its description for the report's schema.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from edgeprune.records.names import Split

_PLAIN_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


def _inside(path: str) -> str:
    if _PLAIN_NAME.fullmatch(path):  # nearly every path, and pathlib's classes are slow
        return path
    posix, windows = PurePosixPath(path), PureWindowsPath(path)
    if not posix.parts or posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        raise ValueError("a path must be relative and stay within the folder of the report")
    return path


def _ordered(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] > interval[1]:
        raise ValueError("the lower end of an interval is above its upper end")
    return interval


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RelativePath = Annotated[str, AfterValidator(_inside), Field(description="Relative to the report, within its folder.")]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
AtLeastZero = Annotated[float, Field(ge=0)]
Milliseconds = Positive
Interval = Annotated[tuple[float, float], AfterValidator(_ordered), Field(description="Lower and upper end, 95 %.")]


class Reported:
    """A record that a report holds as it is; reading one refuses unknown keys and numbers that are not finite."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class EpochMetrics(Reported):
    """One epoch of fine-tuning."""

    epoch: Count
    train_loss: float
    validation_loss: float
    validation_top1: Share
    seconds: AtLeastZero


@dataclass(frozen=True)
class TrainingResult(Reported):
    """The fine-tuning of the pruned network; the weights of `best_epoch` were kept, the best on validation."""

    best_epoch: Count
    best_validation_top1: Share
    epochs: tuple[EpochMetrics, ...]
    precision: str
    distilled: bool


@dataclass(frozen=True)
class Sensitivity(Reported):
    """Loss from quantizing one operator alone, on validation frames."""

    name: str
    kl: Annotated[AtLeastZero, Field(description="Mean divergence of the outputs from those in float32, in nats.")]
    top1_drop: float


@dataclass(frozen=True)
class Quantisation(Reported):
    """Quantization of an int8 file."""

    method: Annotated[str, Field(description="Method that found the range of an activation.")]
    calibration: Annotated[str, Field(description="Source of the calibration frames.")]
    calibration_sha256: str
    calibration_frames: Count
    quantised: Annotated[Count, Field(description="Operators in eight bits.")]
    kept: Annotated[tuple[str, ...], Field(description="Operators kept out of int8 for accuracy, worst first.")] = ()
    kept_in: str = "fp32"
    sensitivity: Annotated[
        tuple[Sensitivity, ...], Field(description="Loss from every operator, worst first, if some had to be kept.")
    ] = ()


@dataclass(frozen=True)
class GainCheck(Reported):
    """The checked frames, all multiplied by `gain`."""

    gain: Positive
    same_top1: Annotated[Share, Field(description="Share of them whose class is that of float32 at the same gain.")]


@dataclass(frozen=True)
class PrecisionTrial(Reported):
    """The pruned network in one precision."""

    precision: str
    median_ms: Annotated[Milliseconds, Field(description="Median latency of one inference on the target.")]
    validation_drop: Annotated[float, Field(description="Top-1 lost to the precision on the validation split.")]
    size_bytes: Count


@dataclass(frozen=True)
class PrecisionChoice(Reported):
    """The measured precisions; the fastest that loses at most `max_drop` was chosen, or else the most accurate."""

    max_drop: Share
    candidates: tuple[PrecisionTrial, ...]
    chosen: str


@dataclass(frozen=True)
class Trial(Reported):
    """A fine-tuned network with a number of units, and its loss of top-1 on the validation split."""

    units: Count
    validation_top1: Share
    drop: float


@dataclass(frozen=True)
class LatencySummary(Reported):
    """One network's latency; the file at `samples_path` holds every single time.

    A percentile is absent if there are too few times for it.
    """

    median_ms: Milliseconds
    mean_ms: Milliseconds
    samples: Count
    samples_path: RelativePath
    round_medians_ms: tuple[Milliseconds, ...]
    p90_ms: Milliseconds | None = None
    p99_ms: Milliseconds | None = None
    samples_sha256: Annotated[Sha256 | None, Field(description="Hash of that file.")] = None


@dataclass(frozen=True)
class LayerTime(Reported):
    """One layer of an engine, which may be several operators of the model."""

    name: Annotated[str, Field(description="The runtime's name of the layer.")]
    mean_ms: Annotated[AtLeastZero, Field(description="Mean time in one inference, timed layer by layer.")]
    share: Annotated[Share, Field(description="Share of the times of all layers.")]


@dataclass(frozen=True)
class Agreement(Reported):
    """Agreement of one network's outputs on the device with those of the same file on the host."""

    top1: Annotated[Share, Field(description="Share of frames that get the same class.")]
    max_abs_logit_difference: AtLeastZero


@dataclass(frozen=True)
class Power(Reported):
    """Power of the board while one network runs."""

    power_w: AtLeastZero
    energy_mj: Annotated[AtLeastZero, Field(description="Energy of one inference, with the power of the idle board.")]
    net_energy_mj: Annotated[AtLeastZero | None, Field(description="The same without the idle board.")] = None
    round_energies_mj: Annotated[
        tuple[AtLeastZero, ...], Field(description="Energy of one inference in each round, as `energy_mj`.")
    ] = ()


@dataclass(frozen=True)
class Energy(Reported):
    """Readings of the board's meters."""

    rails: Annotated[tuple[str, ...], Field(description="Power rails whose sum is the power.")]
    baseline: Power
    pruned: Power | None = None
    idle_w: AtLeastZero | None = None


@dataclass(frozen=True)
class Rate:
    """Share of frames with its 95 % Wilson interval; for grouped frames at their effective number."""

    top1: float
    ci95: tuple[float, float]
    frames: int


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of one network on one split. `confusion[i][j]` counts frames of class i classified as class j.

    `groups` is the number of groups of dependent frames, and `design_effect` the factor by which they increase the
    variance of top-1; both are None if the groups are unknown.
    """

    split: Split
    frames: int
    top1: float
    ci95: tuple[float, float]
    by_snr: dict[str, Rate]
    by_class: dict[str, Rate]
    confusion: tuple[tuple[int, ...], ...]
    groups: int | None = None
    design_effect: float | None = None


@dataclass(frozen=True)
class AccuracyComparison:
    """Unpruned and pruned network on the same frames: `drop` is baseline minus pruned, McNemar's test is paired."""

    baseline: Accuracy
    pruned: Accuracy
    drop: float
    drop_ci95: tuple[float, float]
    mcnemar_p: float


@dataclass(frozen=True)
class BenchReport:
    """Latency measurement and its conditions. `speedup` is baseline over candidate; absent with one model.

    `builds` is the build of the engines for each round; None if nothing is built. `process_of_round` is the process
    that measured each round, of `processes`; both are None in records of older versions, whose rounds were all of one
    process.
    """

    runtime: str
    precision: str
    batch: int
    threads: int
    mode: str
    rounds: int
    device: dict[str, Any]
    baseline: LatencySummary
    warnings: tuple[str, ...]
    pruned: LatencySummary | None = None
    speedup: float | None = None
    speedup_ci95: tuple[float, float] | None = None
    builds: tuple[int, ...] | None = None
    processes: int | None = None
    process_of_round: tuple[int, ...] | None = None
