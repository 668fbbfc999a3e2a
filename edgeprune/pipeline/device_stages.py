"""Measurement on a device: always packed, and run if a device is given."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import edgeprune
from edgeprune.errors import ConfigError
from edgeprune.files.store import file_sha256, from_plain, read_json, to_plain
from edgeprune.files.whole import replacing
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.pipeline.folder import open_folder
from edgeprune.pipeline.prune_stages import PruneStages
from edgeprune.records.device_outcome import DeviceOutcome
from edgeprune.records.names import Role
from edgeprune.records.pruning import OnnxModel
from edgeprune.report.document import with_outcome
from edgeprune.report.folder import JSON_NAME, write
from edgeprune.targets import Target
from edgeprune.tasks import export
from edgeprune.tasks.device.connect import Host
from edgeprune.tasks.device.pack import ANSWER_BATCH, HOST, ModelFiles, assign
from edgeprune.tasks.device.run import BUNDLE, RESULT, collected, run_on_device
from edgeprune.tasks.stages import hashes_of

PACKED, STAGE, BY_HAND = "10-bundle", "11-device", "by hand"
ARTIFACTS = (RESULT, "samples-baseline.npz", "samples-pruned.npz")


def made_from(bundle_id: str, host: str) -> dict[str, str]:
    """Name the inputs of an outcome: a bundle, and the device that ran it."""
    return {"bundle": bundle_id, "host": host}


@dataclass(frozen=True)
class Packed:
    """A measurement ready to be run on a device.

    `path` is relative to the run folder; `target` holds all settings of the target.
    """

    bundle_id: str
    path: str
    sha256: str
    target: dict[str, Any]


@dataclass(frozen=True)
class DeviceStages:
    """The stages that measure both networks on a device.

    Attributes:
        stages: The stages that made the pruned network.
        checkpoint: The pruned network that was exported.
        baseline: The unpruned network as ONNX.
        pruned: The pruned network as ONNX.
    """

    stages: PruneStages
    checkpoint: Checkpoint
    baseline: OnnxModel
    pruned: OnnxModel

    def pack(self) -> Packed:
        """Pack both networks and the frames of the test split."""
        work, cache = self.stages.work, self.stages.cache
        settings = work.settings
        inputs = {
            "models": [self.baseline.sha256, self.pruned.sha256],
            "target": settings.target.model_dump(),
            "precision": settings.precision,
            "device_options": to_plain(settings.device_options),
            "data": work.split("test").sha256,
            "edgeprune": edgeprune.__version__,  # its scripts and plans are in the bundle
        }

        def make() -> Packed:
            models: dict[Role, ModelFiles] = {
                "baseline": self._files("baseline", work.model, self.baseline),
                "pruned": self._files("pruned", self.checkpoint, self.pruned),
            }
            test = work.split("test")
            target, precision = settings.target, settings.precision
            packed = assign(target, precision, models, test, settings.device_options, cache.path, cache.progress)
            return Packed(packed.id, BUNDLE, file_sha256(cache.path / BUNDLE), target.model_dump(mode="json"))

        packed = cache.stage(PACKED, Packed, inputs, make, (BUNDLE, HOST))
        cache.note(f"{BUNDLE} holds all that the device needs")
        return packed

    def measure(self, host: Host | None, packed: Packed) -> DeviceOutcome | None:
        """Run the bundle on a device; without one, use a result that was run by hand and collected, if there is one."""
        settings, cache = self.stages.work.settings, self.stages.cache
        if host is None:
            return cache.found(STAGE, DeviceOutcome, made_from(packed.bundle_id, BY_HAND))

        def make() -> DeviceOutcome:
            return run_on_device(host, settings.target, cache.path, cache.progress)

        return cache.stage(STAGE, DeviceOutcome, made_from(packed.bundle_id, host.name), make, ARTIFACTS)

    def _files(self, role: Role, model: Checkpoint, timed_as: OnnxModel) -> ModelFiles:
        """Return one network's files: the one to time, and one for many frames if the batch is fixed."""
        work, cache = self.stages.work, self.stages.cache
        timed = cache.path / f"{role}.onnx"
        if work.settings.target.batch == "dynamic":
            return ModelFiles(timed, timed)
        answering: Path = cache.path / f"{role}-answers.onnx"
        kept = () if timed_as.quantisation is None else timed_as.quantisation.kept
        options = replace(work.settings.precision_options, max_drop=None, keep=kept)
        target = work.settings.target
        export.export_checked(model, work.parts(), target, answering, options, ANSWER_BATCH, cache.progress)
        return ModelFiles(timed, answering)


def collect_into(folder: Path, result: Path) -> dict[str, Any]:
    """Read a result into the run folder of its bundle, and write the report again.

    Returns:
        The content of report.json.

    Raises:
        ConfigError: The folder has no report or no bundle.
        DeviceError: The result is damaged or belongs to another bundle, or a step failed.
    """
    if not (folder / JSON_NAME).is_file() or not (folder / BUNDLE).is_file():
        raise ConfigError(
            f"{folder} is no run folder with a report and a {BUNDLE}",
            "Give the run folder that prune-and-export made for a device",
        )
    with open_folder(folder, fresh=False) as run:
        document = read_json(folder / JSON_NAME)
        target, made_for = _packed(folder)
        outcome = collected(result, target, folder)
        if result.resolve() != (folder / RESULT).resolve():
            with result.open("rb") as source, replacing(folder / RESULT) as file:
                shutil.copyfileobj(source, file)
        hashes = hashes_of(made_from(outcome.bundle_id, BY_HAND), {"model": made_for})
        document = with_outcome(document, outcome)
        run.save(STAGE, outcome, hashes, ARTIFACTS)
        write(folder, document)
    return document


def _packed(folder: Path) -> tuple[Target, str]:
    """Read which target and model a run folder's bundle was made for; the target may come from the user's own file.

    Returns:
        The target, and the identity of the model (`first_stages.identity_of`).

    Raises:
        ConfigError: The record of the bundle is missing or damaged.
    """
    record = folder / f"{PACKED}.json"
    envelope = read_json(record)
    envelope = envelope if isinstance(envelope, dict) else {}
    target = Target.model_validate(from_plain(Packed, envelope.get("record"), str(record)).target)
    inputs = from_plain(dict[str, str], envelope.get("inputs"), str(record))
    if "model" not in inputs:
        raise ConfigError(f"{record} does not say which model the bundle is of", "Run prune-and-export again")
    return target, inputs["model"]
