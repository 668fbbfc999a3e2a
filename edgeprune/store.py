"""Files that are whole or absent: atomic writes, sha256, and the run folder whose finished stages are reused.

A run folder holds one `NN-stage.json` a stage. Each names what it was made from (`inputs`, by sha256) and what it left
(`artifacts`, by sha256); a stage is reused only when all of them still match.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

import edgeprune
from edgeprune.errors import ConfigError

STAGE_SCHEMA = "edgeprune-stage/1"
_UNFINISHED = ".*.*.????????"  # a hidden name with the random end that tempfile gives
Record = TypeVar("Record")


def to_plain(record: Any) -> Any:
    """A record as plain JSON values; fields that are None (not measured) are left out."""
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
    """Sha256 of a plain value, the same whatever the order of its keys."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def record_sha256(record: Any) -> str:
    """Sha256 of a record."""
    return canonical_sha256(to_plain(record))


def file_sha256(path: Path) -> str:
    """Sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file so that a reader sees the old one or the whole new one, never a part.

    Raises:
        ConfigError: The place cannot be written: no permission, no space, not a folder.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def clear_unfinished(folder: Path) -> None:
    """Remove what a process that was killed had begun to write there."""
    for leftover in folder.glob(_UNFINISHED):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone; it is free again when the process ends, in whatever way.

    Where the file system or the operating system knows no such locks, nothing is held.

    Raises:
        ConfigError: Another process holds it.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise ConfigError(f"another run is at work in {folder}", "Wait for its end, or choose another --out") from error
    except OSError:  # a network file system without locks on folders
        pass
    try:
        yield
    finally:
        os.close(handle)


def write_json(path: Path, plain: Any) -> None:
    """Write a plain value as readable JSON, atomically; NaN and infinity are refused."""
    with replacing(path) as file:
        file.write((json.dumps(plain, indent=2, allow_nan=False) + "\n").encode())


def append_text(path: Path, text: str) -> None:
    """Add text to the end of a file.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise unwritable(path, error) from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ConfigError: It is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"no such file: {path}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is not a JSON file: {error}") from error


def unwritable(path: Path, error: OSError) -> ConfigError:
    """The error for a place that cannot be written."""
    reason = error.strerror or error
    return ConfigError(f"cannot write {path}: {reason}", "Choose another place with --out, or make room")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run of the main job."""

    path: Path

    def reusable(self, stage: str, kind: type[Record], inputs: Mapping[str, str]) -> Record | None:
        """The finished record of a stage, or None when it is missing, of other inputs, or its artefacts changed."""
        file = self.path / f"{stage}.json"
        if not file.exists():
            return None
        try:
            envelope = read_json(file)
            if envelope["schema"] != STAGE_SCHEMA or envelope["inputs"] != dict(inputs):
                return None
            for name, sha256 in envelope["artifacts"].items():
                artifact = self.path / name
                if not artifact.is_file() or file_sha256(artifact) != sha256:
                    return None
            return from_plain(kind, envelope["record"], str(file))
        except (ConfigError, KeyError, TypeError, AttributeError):
            return None

    def save(self, stage: str, record: Any, inputs: Mapping[str, str], artifacts: tuple[str, ...]) -> None:
        """Mark a stage as finished."""
        write_json(
            self.path / f"{stage}.json",
            {
                "schema": STAGE_SCHEMA,
                "producer": f"edgeprune {edgeprune.__version__}",
                "created": now(),
                "inputs": dict(inputs),
                "artifacts": {name: file_sha256(self.path / name) for name in artifacts},
                "record": to_plain(record),
            },
        )

    def reuse_or_make(
        self,
        stage: str,
        kind: type[Record],
        inputs: Mapping[str, str],
        artifacts: tuple[str, ...],
        make: Callable[[], Record],
    ) -> Record:
        """The finished record of a stage, made now if it is not there."""
        record = self.reusable(stage, kind, inputs)
        if record is None:
            record = make()
            self.save(stage, record, inputs, artifacts)
        return record


def now() -> str:
    """This moment in UTC, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
