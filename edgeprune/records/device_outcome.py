"""Record of a measurement that was made on a device."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeprune.records.device_run import DeviceFacts, EngineFile, LayerTime
from edgeprune.records.names import Role
from edgeprune.records.results import AccuracyComparison, BenchReport


@dataclass(frozen=True)
class Agreement:
    """Agreement of one model's outputs on the device with those of the same file on the host.

    Attributes:
        top1: Share of frames with the same class.
        max_abs_logit_difference: Largest difference of one logit.
    """

    top1: float
    max_abs_logit_difference: float


@dataclass(frozen=True)
class DeviceAccuracy:
    """Accuracy measured on the device, on the test split, and its agreement with the host."""

    comparison: AccuracyComparison
    baseline: Agreement
    pruned: Agreement


@dataclass(frozen=True)
class Power:
    """Power and energy of one model.

    Attributes:
        power_w: Mean power of the board while the model runs.
        energy_mj: Energy of one inference, including the power of the idle board.
        net_energy_mj: Energy without the idle power; None if that is unknown.
        round_energies_mj: Energy of one inference in each round in which the meters were read, as `energy_mj`.
    """

    power_w: float
    energy_mj: float
    net_energy_mj: float | None = None
    round_energies_mj: tuple[float, ...] = ()


@dataclass(frozen=True)
class Energy:
    """Readings of the board's power meters.

    Attributes:
        rails: Power rails that were added up.
        baseline: Power of the unpruned model.
        pruned: Power of the pruned model, if it was measured.
        idle_w: Power of the idle board; None if it was not measured.
    """

    rails: tuple[str, ...]
    baseline: Power
    pruned: Power | None = None
    idle_w: float | None = None


@dataclass(frozen=True)
class DeviceOutcome:
    """Results of a run on a device.

    Attributes:
        bundle_id: Identifier of the bundle that was run.
        facts: Facts of the device.
        bench: Latency of both models.
        engines: Engines that were timed; they stay on the device.
        accuracy: Accuracy on the device; None if it was not requested.
        energy: Energy; None if the board has no meters.
        discarded: Rounds that do not count, each with the reason.
        layers: Times of each model's layers, slowest first; empty if the runtime does not report them.
    """

    bundle_id: str
    facts: DeviceFacts
    bench: BenchReport
    engines: tuple[EngineFile, ...] = ()
    accuracy: DeviceAccuracy | None = None
    energy: Energy | None = None
    discarded: tuple[str, ...] = ()
    layers: Mapping[Role, tuple[LayerTime, ...]] = field(default_factory=dict)
