"""Records and hashes of files, and the run folder whose finished stages are reused.

A run folder holds one `NN-stage.json` for each stage. It names the stage's inputs (`inputs`, by sha256) and outputs
(`artifacts`, by sha256); a stage is reused only if all of them still match.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

import edgeprune
from edgeprune.errors import ConfigError, reason_of
from edgeprune.files.bounds import claimed, parse_json
from edgeprune.files.run_folder import is_record, own_file
from edgeprune.files.whole import remove, replacing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

STAGE_SCHEMA = "edgeprune-stage/1"
Record = TypeVar("Record")


def to_plain(record: Any) -> Any:
    """Convert a record to plain JSON values; fields that are None (not measured) are left out."""
    return TypeAdapter(type(record)).dump_python(record, mode="json", exclude_none=True)


def from_plain(kind: type[Record], plain: Any, source: str) -> Record:
    """Read a record back, checking every field.

    Raises:
        ConfigError: A field is missing or of the wrong type; the message names the first.
    """
    try:
        return TypeAdapter(kind).validate_python(plain)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ConfigError(f"{source} is not a {kind.__name__}: {where}: {first['msg']}") from error


def canonical_sha256(plain: Any) -> str:
    """SHA-256 of a plain value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def record_sha256(record: Any) -> str:
    """SHA-256 of a record."""
    return canonical_sha256(to_plain(record))


def array_sha256(array: "npt.NDArray[np.generic] | None") -> str | None:
    """Sha256 of the type, shape and values of an array; None for none."""
    if array is None:
        return None
    about = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(about + array.tobytes()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_json(path: Path, plain: Any) -> None:
    """Write a plain value as readable JSON, atomically; NaN and infinity are refused."""
    with replacing(path) as file:
        file.write((json.dumps(plain, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ConfigError: It is missing, or not JSON.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"no such file: {path}") from error
    except (OSError, ValueError) as error:  # a zero byte in a name is a ValueError
        raise ConfigError(f"{path} is not a JSON file: {reason_of(error)}") from error
    with claimed(path, "a JSON file", ConfigError):
        return parse_json(content)


@dataclass(frozen=True)
class RunFolder:
    """Folder of one run of the main job."""

    path: Path

    def reusable(self, stage: str, kind: type[Record], inputs: Mapping[str, str]) -> Record | None:
        """Finished record of a stage; None if it is missing, its inputs differ, or its artefacts changed."""
        file = self.path / f"{stage}.json"
        if not file.exists():
            return None
        try:
            envelope = read_json(file)
            if envelope["schema"] != STAGE_SCHEMA or envelope["inputs"] != dict(inputs):
                return None
            if envelope.get("sha256") not in (None, canonical_sha256(envelope["record"])):  # None: of an older version
                return None
            for name, sha256 in envelope["artifacts"].items():
                if not own_file(self.path, name) or file_sha256(self.path / name) != sha256:
                    return None
            return from_plain(kind, envelope["record"], str(file))
        except (ConfigError, OSError, KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
            return None

    def save(self, stage: str, record: Any, inputs: Mapping[str, str], artifacts: tuple[str, ...]) -> None:
        """Mark a stage as finished."""
        plain = json.loads(json.dumps(to_plain(record), allow_nan=False))  # as it will be read back
        write_json(
            self.path / f"{stage}.json",
            {
                "schema": STAGE_SCHEMA,
                "producer": f"edgeprune {edgeprune.__version__}",
                "created": now(),
                "inputs": dict(inputs),
                "artifacts": {name: file_sha256(self.path / name) for name in artifacts},
                "sha256": canonical_sha256(plain),
                "record": plain,
            },
        )

    def forget(self, stage: str) -> None:
        """Remove the record of a stage; any other file of that name stays.

        Raises:
            ConfigError: It cannot be removed, or a link is on the way.
        """
        file = self.path / f"{stage}.json"
        if is_record(file):
            remove(file)

    def reuse_or_make(
        self,
        stage: str,
        kind: type[Record],
        inputs: Mapping[str, str],
        artifacts: tuple[str, ...],
        make: Callable[[], Record],
    ) -> Record:
        """Return the finished record of a stage; make it first if it is missing."""
        record = self.reusable(stage, kind, inputs)
        if record is None:
            record = make()
            self.save(stage, record, inputs, artifacts)
        return record


def now() -> str:
    """Return the current time in UTC, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
