"""A result that was run by hand on a device, put into its run folder."""

import shutil
from pathlib import Path
from typing import Any

from edgeprune.errors import ConfigError
from edgeprune.files.store import from_plain, read_json
from edgeprune.files.whole import replacing
from edgeprune.pipeline.device_stages import ARTIFACTS, BY_HAND, PACKED, STAGE, Packed, made_from
from edgeprune.pipeline.folder import open_folder
from edgeprune.pipeline.stages import hashes_of
from edgeprune.report.document import with_outcome
from edgeprune.report.folder import JSON_NAME, write
from edgeprune.targets import Target
from edgeprune.tasks.device.run import BUNDLE, RESULT, collected


def collect_into(folder: Path, result: Path) -> dict[str, Any]:
    """Read a result into the run folder whose bundle was run, and write its report again.

    Returns:
        The content of report.json.

    Raises:
        ConfigError: The folder has no report or no bundle.
        DeviceError: The result is damaged, of another bundle, or a step failed.
    """
    if not (folder / JSON_NAME).is_file() or not (folder / BUNDLE).is_file():
        raise ConfigError(
            f"{folder} is no run folder with a report and a {BUNDLE}", "Give the --out of prune-and-export for a device"
        )
    with open_folder(folder, fresh=False) as run:
        document = read_json(folder / JSON_NAME)
        outcome = collected(result, _target_of(folder), folder)
        if result.resolve() != (folder / RESULT).resolve():
            with result.open("rb") as source, replacing(folder / RESULT) as file:
                shutil.copyfileobj(source, file)
        hashes = hashes_of(made_from(outcome.bundle_id, BY_HAND), document["baseline"]["sha256"])
        document = with_outcome(document, outcome)
        run.save(STAGE, outcome, hashes, ARTIFACTS)
        write(folder, document)
    return document


def _target_of(folder: Path) -> Target:
    """The target that a run folder's bundle was made for, which may be a file of the user's own.

    Raises:
        ConfigError: The record of the bundle is missing or damaged.
    """
    record = folder / f"{PACKED}.json"
    envelope = read_json(record)
    plain = envelope.get("record") if isinstance(envelope, dict) else None
    return Target.model_validate(from_plain(Packed, plain, str(record)).target)
