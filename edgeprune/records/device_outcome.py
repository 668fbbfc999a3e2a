"""What a device proved: the record of a measurement that was made elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeprune.records.device_run import DeviceFacts, EngineFile, LayerTime
from edgeprune.records.names import Role
from edgeprune.records.results import AccuracyComparison, BenchReport


@dataclass(frozen=True)
class Agreement:
    """How one model's answers on the device compare with those of the same file on the host.

    Attributes:
        top1: Share of frames that get the same class.
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
    """What one model takes.

    Attributes:
        power_w: Mean power of the board while it runs.
        energy_mj: Energy of one inference, including the power of the idle board.
        net_energy_mj: The same without it; None where the idle power is not known.
        round_energies_mj: Energy of one inference in each round in which the meters were read, as `energy_mj`.
    """

    power_w: float
    energy_mj: float
    net_energy_mj: float | None = None
    round_energies_mj: tuple[float, ...] = ()


@dataclass(frozen=True)
class Energy:
    """What the meters of the board said.

    Attributes:
        rails: The rails that were added up.
        baseline: The unpruned model.
        pruned: The pruned one, if it was measured.
        idle_w: Power of the board with nothing running; None where it was not measured.
    """

    rails: tuple[str, ...]
    baseline: Power
    pruned: Power | None = None
    idle_w: float | None = None


@dataclass(frozen=True)
class DeviceOutcome:
    """Everything that came back from a device.

    Attributes:
        bundle_id: Identifier of the bundle that was run.
        facts: What the device is.
        bench: Latency of both models.
        engines: The engines that were timed; they stay on the device.
        accuracy: On the device; None where it was not asked for.
        energy: None where the board has no meters.
        discarded: Rounds that do not count, each with the reason.
        layers: Times of each model's layers, slowest first; empty where the runtime tells none.
    """

    bundle_id: str
    facts: DeviceFacts
    bench: BenchReport
    engines: tuple[EngineFile, ...] = ()
    accuracy: DeviceAccuracy | None = None
    energy: Energy | None = None
    discarded: tuple[str, ...] = ()
    layers: Mapping[Role, tuple[LayerTime, ...]] = field(default_factory=dict)
