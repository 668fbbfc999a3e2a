"""Run of a packed measurement on a device, over SSH or by hand, with the same outcome."""

import contextlib
import shutil
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgeprune import registry
from edgeprune.device import archive
from edgeprune.device.bundle import Manifest, pack, read_manifest
from edgeprune.device.bundle.code import require_own_code
from edgeprune.device.probe import needs_of, probe, refuse, tool_version
from edgeprune.device.session import run_bundle
from edgeprune.errors import ConfigError
from edgeprune.files.whole import remove, replacing, writable
from edgeprune.protocols import DeviceRuntime, Progress
from edgeprune.records.device_outcome import DeviceOutcome
from edgeprune.records.device_run import OUT, Assignment, EngineFile, model_file
from edgeprune.records.frames import Frames
from edgeprune.records.names import Role
from edgeprune.targets import Precision, Target
from edgeprune.tasks.device.collect import collect, facts_of
from edgeprune.tasks.device.connect import Host, reached
from edgeprune.tasks.device.pack import DeviceOptions, ModelFiles, assign

BUNDLE, RESULT, UNPACKED = "bundle.tar", "device-result.tar", "device"
"""Names in a run folder: the bundle for the device, its result, and the logs of every step in the result."""


def check_device(host: Host, target: Target) -> None:
    """Check before long work that a device can be reached and fits the target.

    Raises:
        ConfigError: No recorded board has that name.
        DeviceError: The device cannot be reached, or does not fit the target.
    """
    with reached(host) as transport:
        refuse(probe(transport), needs_of(target))


def run_on_device(host: Host, target: Target, folder: Path, progress: Progress) -> DeviceOutcome:
    """Run a run folder's bundle on a device and read the result.

    Args:
        host: The device.
        target: Target of the bundle.
        folder: Folder of the run, with `bundle.tar` and the host's outputs; the result and its samples are added.
        progress: Reporter of the progress.

    Raises:
        ConfigError: The bundle holds code that this edgeprune did not pack.
        DeviceError: The device cannot be reached, does not fit the target, or fails.
    """
    own_bundle(folder / BUNDLE)
    with reached(host) as transport:
        result = run_bundle(transport, folder / BUNDLE, folder, progress)
        result.replace(folder / RESULT)
        replay = transport.replay
    return collected(folder / RESULT, target, folder, replay)


def own_bundle(bundle: Path) -> Manifest:
    """Read the manifest of a bundle, after checking that all code in it is edgeprune's own.

    Raises:
        ConfigError: The file does not exist, is not a bundle, or holds code that this edgeprune did not pack.
    """
    manifest = read_manifest(bundle)
    runtime = registry.get("runtimes", manifest.runtime)
    if not isinstance(runtime, DeviceRuntime):
        raise ConfigError(f"{bundle} is for {manifest.runtime!r:.40}, which runs nothing on devices", "Make it again")
    require_own_code(bundle, manifest, runtime.plans(manifest.assignment), runtime.files())
    return manifest


def bench_on_device(
    host: Host,
    models: dict[Role, Path],
    target: Target,
    precision: Precision,
    options: DeviceOptions,
    out: Path,
    progress: Progress,
) -> DeviceOutcome:
    """Measure exported files on a device, on frames of noise; samples and result go to the folder `out`.

    Args:
        host: The device.
        models: One or two ONNX files, in the precision and with the batch to measure.
        target: Target that the device must fit.
        precision: Precision of the files.
        options: Options of the measurement.
        out: Folder for samples and result.
        progress: Reporter of the progress.

    Raises:
        ConfigError: `out` cannot be written.
        ModelError: A file cannot be run on this machine.
        DeviceError: The device cannot be reached, does not fit the target, or fails.
    """
    writable(out / BUNDLE)
    with registry.get("runtimes", "onnxruntime").open(models["baseline"], 1) as session:
        channels, length = session.frame_shape
    noise = np.random.default_rng(0).standard_normal((options.batch, channels, length), dtype=np.float32)
    labels = np.zeros(options.batch, np.int64)
    frames = Frames(noise, labels, None, (), None, "noise", "")
    assign(target, precision, {role: ModelFiles(path) for role, path in models.items()}, frames, options, out, progress)
    progress.stage(f"measure on {host.name}")
    return run_on_device(host, target, out, progress)


def build_on_device(host: Host, model: Path, target: Target, out: Path, progress: Progress) -> EngineFile:
    """Build an engine of an exported file on a device, and fetch it.

    Raises:
        ConfigError: The target has no engines.
        DeviceError: The device cannot be reached, does not fit the target, or cannot build the engine.
    """
    runtime = registry.get("runtimes", target.runtime)
    with tempfile.TemporaryDirectory(prefix="edgeprune-") as place, reached(host) as transport:
        folder = Path(place)
        with registry.get("runtimes", "onnxruntime").open(model, 1) as session:
            channels, length = session.frame_shape
        work = Assignment(target.name, target.precisions[0], 1, 1, ("baseline",), channels, length, 1, 1, 1.0, 0.0, 1)
        plans = tuple(
            replace(plan, steps=tuple(step for step in plan.steps if step.engine)) for plan in runtime.plans(work)
        )
        engine = next((step.engine for plan in plans for step in plan.steps), None)
        if engine is None:
            raise ConfigError(f"{target.name} runs ONNX files as they are", "It needs no engine")
        writable(out)
        content: dict[str, Path | str | bytes] = {model_file("baseline"): model}
        manifest = pack(folder / BUNDLE, needs_of(target), work, target.runtime, plans, content)
        progress.stage(f"build {model.name} on {host.name}")
        result = run_bundle(transport, folder / BUNDLE, folder, progress, also={engine: out})
        archive.unpack(result, folder / UNPACKED, manifest.id)
        facts = facts_of(folder / UNPACKED, transport.replay)
        built: EngineFile = runtime.built(work, folder / UNPACKED, tool_version(facts, manifest.needs.tool) or 0)
    return built


def collected(result: Path, target: Target, folder: Path, replay: str | None = None) -> DeviceOutcome:
    """Read the result of a device, fetched or copied by hand.

    Args:
        result: The tar that `run.sh` wrote.
        target: Target of the bundle.
        folder: Folder of the run.
        replay: Name of the recorded board that played the device.

    Raises:
        DeviceError: The result is damaged or belongs to another bundle, or a step failed.
    """
    manifest = read_manifest(folder / BUNDLE)
    archive.unpack(result, folder / UNPACKED, manifest.id)
    if manifest.assignment.dla_core is not None:
        _take_models(folder / BUNDLE, manifest, folder / UNPACKED)
    outcome = collect(folder / UNPACKED, manifest, target, folder, replay)
    shutil.rmtree(folder / UNPACKED / OUT, ignore_errors=True)  # the tars have it too, and the models
    for role in manifest.assignment.roles:
        remove(folder / UNPACKED / model_file(role))
    with contextlib.suppress(OSError):  # not there, or not empty
        (folder / UNPACKED / model_file("baseline")).parent.rmdir()
    return outcome


def _take_models(bundle: Path, manifest: Manifest, folder: Path) -> None:
    """Copy the models of a bundle beside its result, to count the operators that run on a DLA."""
    with tarfile.open(bundle) as tar:
        for role in manifest.assignment.roles:
            packed = tar.extractfile(f"{manifest.folder}/{model_file(role)}")
            assert packed is not None
            with packed, replacing(folder / model_file(role)) as file:
                shutil.copyfileobj(packed, file)
