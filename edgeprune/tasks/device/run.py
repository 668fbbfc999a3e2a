"""A packed measurement brought to a device and run there, or run there by hand: one way to the same outcome."""

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
"""Names in a run folder: what is sent to the device, what comes back, and the logs of every step in it."""


def check_device(host: Host, target: Target) -> None:
    """Find out before long work that a device answers and is what the target asks for.

    Raises:
        ConfigError: No recorded board has that name.
        DeviceError: It cannot be reached, or will not do.
    """
    with reached(host) as transport:
        refuse(probe(transport), needs_of(target))


def run_on_device(host: Host, target: Target, folder: Path, progress: Progress) -> DeviceOutcome:
    """Run a run folder's bundle on a device and read what it leaves.

    Args:
        host: The device.
        target: That the bundle was made for.
        folder: Folder of the run: `bundle.tar`, what the host answers, and afterwards the result and its samples.
        progress: Told how far it is.

    Raises:
        ConfigError: The bundle holds other code than this edgeprune packs.
        DeviceError: It cannot be reached, is not what the target asks for, or fails.
    """
    own_bundle(folder / BUNDLE)
    with reached(host) as transport:
        result = run_bundle(transport, folder / BUNDLE, folder, progress)
        result.replace(folder / RESULT)
        replay = transport.replay
    return collected(folder / RESULT, target, folder, replay)


def own_bundle(bundle: Path) -> Manifest:
    """What a bundle says of itself, if all that a device would run of it is edgeprune's own.

    Raises:
        ConfigError: No such file, not a bundle, or other code than this edgeprune packs.
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
        models: One or two ONNX files, typed for the precision and of the batch to be measured.
        target: What the device is.
        precision: Precision of the files.
        options: How to measure.
        out: Folder for what comes back.
        progress: Told how far it is.

    Raises:
        ConfigError: `out` cannot be written.
        ModelError: A file cannot be run here.
        DeviceError: The device cannot be reached, is not what the target asks for, or fails.
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


def build_there(host: Host, model: Path, target: Target, out: Path, progress: Progress) -> EngineFile:
    """Build an engine of an exported file on a device, and bring it here.

    Raises:
        ConfigError: The target's devices build none.
        DeviceError: The device cannot be reached, is not what the target asks for, or cannot build it.
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
    """Read a result that came from a device, however it came.

    Args:
        result: The tar that `run.sh` left there.
        target: That the bundle was made for.
        folder: Folder of the run.
        replay: Name of the recorded board that played the device.

    Raises:
        DeviceError: It is damaged, of another bundle, or a step failed.
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
    """Put the models of a bundle beside its result: what runs on a DLA is a share of their operators."""
    with tarfile.open(bundle) as tar:
        for role in manifest.assignment.roles:
            packed = tar.extractfile(f"{manifest.folder}/{model_file(role)}")
            assert packed is not None
            with packed, replacing(folder / model_file(role)) as file:
                shutil.copyfileobj(packed, file)
