"""A bundle: one tar with the models, the frames and all code for a device, which needs only a POSIX shell.

By hand, it is copied to the device, unpacked, and run with `sh run.sh`; over SSH, edgeprune does the same. The files
`run.sh`, `probe.sh` and `agent.py` beside this one are part of it.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeprune.device.bundle.rendering import check_path, render, settings
from edgeprune.device.probe import Needs
from edgeprune.errors import ConfigError, DeviceError, EdgepruneError, reason_of
from edgeprune.files import tars
from edgeprune.files.bounds import claimed, parse_json, refuse_special
from edgeprune.files.store import canonical_sha256, from_plain, to_plain
from edgeprune.files.whole import replacing
from edgeprune.records.device_run import KNOWN_FRAMES, Assignment, Plan

SCHEMA = "edgeprune-bundle/1"
SHIPPED = Path(__file__).parent
SCRIPTS = ("run.sh", "probe.sh")
_ROOM_BYTES = 64 << 20
_ROOM_FOLD = 4  # space for engines, logs and the result, as a multiple of the models
_MANIFEST_BYTES = 16 << 20
_FLOAT32_BYTES = 4


@dataclass(frozen=True)
class Manifest:
    """Manifest of a bundle.

    Attributes:
        id: Sha256 of all content that affects the result.
        needs: Requirements that the device must meet.
        assignment: The measurement.
        runtime: Name of the runtime that made the plans and reads the result.
        files: Sha256 of each file except the manifest and those made from it.
        need_bytes: Space needed on the device's disk.
        power_mode: Power mode to measure in, or None to leave it.
        lock_clocks: Whether the clocks are locked during the measurement.
    """

    id: str
    needs: Needs
    assignment: Assignment
    runtime: str
    files: Mapping[str, str]
    need_bytes: int
    power_mode: str | None = None
    lock_clocks: bool = False

    @property
    def folder(self) -> str:
        """Name of the one folder in the tar."""
        return f"edgeprune-{self.id[:8]}"

    @property
    def result(self) -> str:
        """Name of the result's tar, beside that folder."""
        return f"edgeprune-result-{self.id[:8]}.tar"


def pack(
    out: Path,
    needs: Needs,
    assignment: Assignment,
    runtime: str,
    plans: tuple[Plan, ...],
    content: Mapping[str, Path | str | bytes],
    *,
    power_mode: str | None = None,
    lock_clocks: bool = False,
) -> Manifest:
    """Write a bundle; the same arguments give the same bytes.

    Args:
        out: The tar.
        needs: Requirements that the device must meet.
        assignment: The measurement.
        runtime: Name of the runtime that made the plans.
        plans: Steps to run, for each version of the tool.
        content: Models, frames and the runtime's own files, by their path in the bundle.
        power_mode: Name or number of the power mode to measure in, or None to leave it.
        lock_clocks: Whether to lock the clocks during the measurement.

    Raises:
        ConfigError: A file cannot be read, or `out` cannot be written.
        EdgepruneError: The size of a file of frames does not fit the models.
    """
    files = {name: (SHIPPED / name).read_bytes() for name in SCRIPTS}
    files |= {f"plan/{plan.tool}-{plan.since}.sh": render(plan).encode() for plan in plans}
    files |= {check_path(path): _bytes(path, value) for path, value in content.items()}
    _check_frames(files, assignment)
    hashes = {path: hashlib.sha256(data).hexdigest() for path, data in sorted(files.items())}
    need_bytes = _ROOM_BYTES + _ROOM_FOLD * sum(map(len, files.values()))
    said = (to_plain(needs), to_plain(assignment), runtime, hashes, power_mode, lock_clocks)
    manifest = Manifest(canonical_sha256(said), needs, assignment, runtime, hashes, need_bytes, power_mode, lock_clocks)
    plain = {"schema": SCHEMA, **to_plain(manifest)}
    files["bundle.json"] = (json.dumps(plain, indent=2) + "\n").encode()
    files["settings.sh"] = settings(manifest.id, needs, need_bytes, power_mode, lock_clocks).encode()
    files["README.txt"] = _readme(manifest, out.name).encode()
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in sorted(files.items()))
    files["SHA256SUMS"] = sums.encode()
    with replacing(out) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, data in sorted(files.items()):
            member = tarfile.TarInfo(f"{manifest.folder}/{path}")
            member.size = len(data)
            member.mode = 0o755 if path == "run.sh" else 0o644
            archive.addfile(member, io.BytesIO(data))
    return manifest


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of a bundle.

    Raises:
        ConfigError: The file does not exist, or is not a bundle.
    """
    refuse_special(path)
    with claimed(path, "a bundle", ConfigError):
        if not path.exists():
            raise ConfigError(f"no such file: {path}")
        tars.check(path)
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.name.endswith("/bundle.json") and member.isfile() and member.size <= _MANIFEST_BYTES:
                    file = archive.extractfile(member)
                    assert file is not None  # it is a file
                    return manifest_from(parse_json(file.read()), str(path))
    raise ConfigError(f"{path} is not a bundle: it has no bundle.json")


def manifest_from(plain: Any, source: str) -> Manifest:
    """Read the content of a `bundle.json`.

    Args:
        plain: Content as parsed from JSON.
        source: Name of the file in messages.

    Raises:
        DeviceError: Its version is not supported.
        ConfigError: A field is missing or wrong.
    """
    schema = plain.pop("schema", None) if isinstance(plain, dict) else None
    if schema != SCHEMA:
        raise DeviceError(f"{source} is a bundle of schema {schema!r:.40}; this edgeprune reads {SCHEMA}")
    return from_plain(Manifest, plain, source)


def _bytes(path: str, value: Path | str | bytes) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    try:
        return value.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {value} for {path}: {reason_of(error)}") from error


def _check_frames(files: Mapping[str, bytes], work: Assignment) -> None:
    """Check the size of files of frames: some versions of trtexec silently read only the first half of a longer one."""
    frames = {path: work.answer_batch for path in files if path.startswith("frames/")}
    for path, count in {**frames, **({KNOWN_FRAMES: work.batch} if KNOWN_FRAMES in files else {})}.items():
        due = count * work.channels * work.length * _FLOAT32_BYTES
        if len(files[path]) != due:
            raise EdgepruneError(f"{path} has {len(files[path])} bytes; the models take {due}")


def _readme(manifest: Manifest, name: str) -> str:
    roles = " and ".join(manifest.assignment.roles)
    power = (
        "It changes the power state through sudo and restores it."
        if manifest.power_mode or manifest.lock_clocks
        else ""
    )
    return f"""A measurement by edgeprune for {manifest.needs.target}: {roles}, {manifest.assignment.precision}.

Copy {name} to the device and run it there, best in tmux or with nohup, so that a lost terminal does not stop it:

    tar xf {name}
    cd {manifest.folder}
    sh run.sh

It needs {manifest.needs.tool} and {manifest.need_bytes >> 20} MiB of disk, and installs nothing. {power}
If it is interrupted, `sh run.sh` continues; `sh run.sh again` starts over. Run nothing else on the device meanwhile.

It leaves {manifest.result} beside the folder. Bring that back, and on the machine where the bundle was made:

    edgeprune device collect RUN {manifest.result}
"""
