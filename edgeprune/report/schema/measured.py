"""The measured sections of report.json, accuracy and latency, and the types they share with the rest."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edgeprune.records.names import Split
from edgeprune.records.results import Agreement, Count, Interval, LatencySummary, LayerTime, Milliseconds, Rate, Share


class Part(BaseModel):
    """A piece of a report: every key is known, every number finite."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        defer_build=True,  # one validator, that of the whole, when a report is read
    )


def _joined(
    shares: Mapping[str, float], intervals: Mapping[str, tuple[float, float]], frames: Mapping[str, int]
) -> dict[str, Rate]:
    if not shares.keys() == intervals.keys() == frames.keys():
        raise ValueError("shares, their intervals and their frames have different keys")
    return {key: Rate(share, intervals[key], frames[key]) for key, share in shares.items()}


class AccuracyOf(Part):
    """One network's share of correctly classified frames; intervals are Wilson's, at the effective number of frames."""

    top1: Share
    ci95: Interval
    design_effect: Annotated[float, Field(ge=1)] | None = Field(
        default=None,
        description="Variance of top-1 over that of independent frames, if groups are known.",
    )
    by_snr: dict[str, Share] | None = Field(default=None, description="Keys are labeled SNR in dB.")
    by_snr_ci95: dict[str, Interval] | None = None
    by_snr_frames: dict[str, Count] | None = None
    by_class: dict[str, Share]
    by_class_ci95: dict[str, Interval]
    by_class_frames: dict[str, Count]
    confusion: tuple[tuple[int, ...], ...] = Field(description="[i][j]: frames of class i classified as class j.")

    def at_snr(self) -> dict[str, Rate]:
        """Rate at each SNR, lowest first; empty when the frames have none."""
        rates = _joined(self.by_snr or {}, self.by_snr_ci95 or {}, self.by_snr_frames or {})
        return dict(sorted(rates.items(), key=lambda item: float(item[0])))

    def of_class(self) -> dict[str, Rate]:
        """Rate on the frames of each class."""
        return _joined(self.by_class, self.by_class_ci95, self.by_class_frames)

    @model_validator(mode="after")
    def _keys_agree(self) -> "AccuracyOf":
        self.at_snr()
        self.of_class()
        return self


class AccuracySection(Part):
    """Both networks on the same frames; `drop` is baseline minus pruned."""

    split: Split
    frames: Count
    groups: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Number of groups of dependent frames; absent if they are unknown."
    )
    baseline: AccuracyOf
    pruned: AccuracyOf
    drop: Annotated[float, Field(ge=-1, le=1)]
    drop_ci95: Interval
    mcnemar_p: Share

    @model_validator(mode="after")
    def _same_frames(self) -> "AccuracySection":
        before, after = self.baseline, self.pruned
        if before.at_snr().keys() != after.at_snr().keys() or before.by_class.keys() != after.by_class.keys():
            raise ValueError("baseline and pruned differ in their SNRs or classes")
        return self


class Agreements(Part):
    """Agreement of both networks' outputs on the device with those on the host."""

    baseline: Agreement
    pruned: Agreement


class DeviceAccuracySection(AccuracySection):
    """Accuracy measured on the device, with the files that run there."""

    agreement: Agreements


class LayersSection(Part):
    """The layers of both engines, slowest first; a network whose runtime reports none is absent."""

    baseline: tuple[LayerTime, ...] = ()
    pruned: tuple[LayerTime, ...] = ()


class LatencySection(Part):
    """Latency of both networks, measured in turns on one device; `speedup` is baseline over pruned."""

    runtime: str
    precision: str
    batch: Annotated[int, Field(ge=1)]
    threads: Annotated[int, Field(ge=1)]
    mode: str
    rounds: Count
    builds: tuple[Count, ...] | None = Field(
        default=None, description="Build of the engines of both networks in each round."
    )
    processes: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Number of processes that measured; each loaded both networks anew."
    )
    process_of_round: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        default=None, description="Process of both networks in each round."
    )
    baseline: LatencySummary
    pruned: LatencySummary | None = None
    speedup: Annotated[float, Field(gt=0)] | None = None
    speedup_ci95: Interval | None = None
    budget_ms: Milliseconds | None = Field(default=None, description="Maximum allowed for the pruned median.")
    predicted_ms: Milliseconds | None = Field(
        default=None, description="Predicted median of the pruned network, before it was timed."
    )

    @model_validator(mode="after")
    def _compared_or_not(self) -> "LatencySection":
        if len({self.pruned is None, self.speedup is None, self.speedup_ci95 is None}) > 1:
            raise ValueError("pruned, speedup and speedup_ci95 come together or not at all")
        if self.builds is not None and len(self.builds) != self.rounds:
            raise ValueError(f"builds tells of {len(self.builds)} rounds; there are {self.rounds}")
        if (self.processes is None) != (self.process_of_round is None):
            raise ValueError("processes and process_of_round come together or not at all")
        return self
