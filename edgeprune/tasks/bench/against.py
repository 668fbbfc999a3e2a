"""Measurement of a new run's pruned network in turns with an older run's, in one session.

Differences from one day to the next (placement in memory, temperature, a driver) then affect both alike.
"""

from pathlib import Path
from typing import Any, cast

from edgeprune import targets
from edgeprune.bench import samples
from edgeprune.errors import ConfigError, DataError
from edgeprune.files.store import file_sha256, to_plain, write_json
from edgeprune.gate.evidence import Evidence
from edgeprune.gate.session import TimedSession, session_of
from edgeprune.protocols import Progress
from edgeprune.records.names import Role
from edgeprune.records.results import BenchReport
from edgeprune.report.folder import JSON_NAME
from edgeprune.targets import Precision, Target
from edgeprune.tasks.bench.files import BenchChoices, bench_files
from edgeprune.tasks.device.connect import Host
from edgeprune.tasks.device.pack import DeviceOptions
from edgeprune.tasks.device.run import bench_on_device

FOLDER = "against"
"""In the folder of the new run: samples and `bench.json`, whose `baseline` is the older pruned network."""


def report_in(run: Path) -> Path:
    """Return the report of a run, given its folder or the report itself."""
    return run / JSON_NAME if run.is_dir() else run


def measure_against(
    new: Evidence, old: Evidence, target: Target | None, host: Host | None, power: dict[str, Any], progress: Progress
) -> TimedSession:
    """Measure the pruned networks of two runs in one session, with the settings of the new report.

    Args:
        new: The report to judge.
        old: The report of the older run.
        target: Target to measure on; by default that of both reports.
        host: The device, for targets that are devices.
        power: Power mode, clocks and DLA core of the device: fields of `DeviceOptions`.
        progress: Reporter of the progress.

    Returns:
        The measurement; its baseline is the older network.

    Raises:
        ConfigError: The reports differ in target, precision or batch, or a device is missing.
        DataError: A network is not beside its report.
        DeviceError: The device cannot be reached, or fails.
    """
    for what, was, now in (
        ("target", old.report.target, new.report.target),
        ("latency.precision", _precision(old), _precision(new)),
        ("latency.batch", _batch(old), _batch(new)),
    ):
        if was != now:
            raise ConfigError(
                f"{what} is {was} in {old.source} and {now} in {new.source}",
                "Name with `against` a run made the same way",
            )
    target = target or targets.get(new.report.target)
    if target.on_device != (host is not None):
        found = "is a device" if target.on_device else "is measured on this machine"
        raise ConfigError(f"{target.name} {found}", "Use `device=HOST` for devices, and for them alone")
    models: dict[Role, Path] = {"baseline": _network(old), "pruned": _network(new)}
    out = Path(new.source).parent / FOLDER
    measured = _measured(models, new, target, host, power, out, progress)
    write_json(out / "bench.json", to_plain(measured))
    before, after = (samples.read(out / f"samples-{role}.npz")[0] for role in models)
    first, second = (file_sha256(path) for path in models.values())
    return session_of(target.name, measured, before, after, (first, second))


def _measured(
    models: dict[Role, Path],
    new: Evidence,
    target: Target,
    host: Host | None,
    power: dict[str, Any],
    out: Path,
    progress: Progress,
) -> BenchReport:
    precision, batch = _precision(new) or target.precisions[0], _batch(new) or 1
    threads = new.report.latency.threads if new.report.latency else None
    if host is None:
        choices = BenchChoices(batch, threads)
        return bench_files(models["baseline"], models["pruned"], target, choices, out, progress, precision)
    return bench_on_device(host, models, target, precision, DeviceOptions(batch, threads, **power), out, progress).bench


def _precision(evidence: Evidence) -> Precision | None:
    return cast("Precision", evidence.report.latency.precision) if evidence.report.latency else None


def _batch(evidence: Evidence) -> int | None:
    return evidence.report.latency.batch if evidence.report.latency else None


def _network(evidence: Evidence) -> Path:
    path = Path(evidence.source).parent / evidence.report.artifacts.pruned_onnx.path
    if not path.is_file():
        raise DataError(
            f"{path} is not there: the pruned network of {evidence.source} cannot be measured",
            "Keep pruned.onnx beside report.json, or compare the reports alone with `baseline`",
        )
    return path
