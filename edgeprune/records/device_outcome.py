"""Record of a measurement that was made on a device."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeprune.records.device_run import DeviceFacts, EngineFile
from edgeprune.records.names import Role
from edgeprune.records.results import AccuracyComparison, Agreement, BenchReport, Energy, LayerTime


@dataclass(frozen=True)
class DeviceAccuracy:
    """Accuracy measured on the device, on the test split, and its agreement with the host."""

    comparison: AccuracyComparison
    baseline: Agreement
    pruned: Agreement


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
