"""Unpacking of a result's tar. It is untrusted: every entry must be a complete file that a run leaves."""

import re
import shutil
import tarfile
from pathlib import Path

from edgeprune.errors import ConfigError, DeviceError, reason_of
from edgeprune.files import tars
from edgeprune.files.bounds import parse_json
from edgeprune.files.run_folder import unwritable
from edgeprune.files.store import file_sha256
from edgeprune.files.whole import begun_folder
from edgeprune.records.device_run import OUT, RESULT, STEPS

SUMS = f"{RESULT}/SHA256SUMS"
_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_ALLOWED = re.compile(
    rf"{RESULT}/(facts\.txt|status|bundle\.json|SHA256SUMS|engines\.txt|plan\.txt|starts\.txt|power\.log)"
    rf"|{re.escape(OUT)}/({_NAME}/)*{_NAME}"
    rf"|{re.escape(STEPS)}/{_NAME}\.(log|rc|s|tegrastats|cached)"
)
_FOLDER = re.compile(rf"{RESULT}(/{_NAME})*/?")
_MOST_ENTRIES = 20_000
_MOST_BYTES = 512 << 20
_MOST_BYTES_IN_ALL = 2 << 30
_HINT = "Bring the file that the run left on the device, as it is"


def unpack(archive: Path, folder: Path, bundle_id: str) -> None:
    """Unpack a result into `folder/result/`, completely or not at all.

    Args:
        archive: The tar.
        folder: Folder to unpack into; an earlier result in it is replaced.
        bundle_id: Identifier of the bundle that the result must belong to.

    Raises:
        DeviceError: It is truncated, was tampered with, or belongs to another bundle.
        ConfigError: `folder` cannot be written, or holds something else in place of a result.
    """
    with begun_folder(folder) as fresh:
        try:
            _extract(archive, fresh)
            _check_sums(archive.name, fresh)
            _check_bundle(archive.name, fresh, bundle_id)
            target = folder / RESULT
            _refuse_others(target)
            if target.exists():
                target.replace(fresh / "earlier")
            (fresh / RESULT).replace(target)
        except OSError as error:
            raise unwritable(folder, error) from error


def _refuse_others(target: Path) -> None:
    """Check that only an earlier result is replaced.

    Raises:
        ConfigError: There is a link in its place, or a file in it that no run leaves.
    """
    names = [target, *target.rglob("*")] if target.is_dir() or target.is_symlink() else []
    for path in names:
        name = path.relative_to(target.parent).as_posix()
        if path.is_symlink() or not (path.is_dir() or _ALLOWED.fullmatch(name)):
            raise ConfigError(f"{path} is not of an earlier result, which would be replaced", "Move it elsewhere")


def _extract(archive: Path, fresh: Path) -> None:
    """Write the entries; none is created but files and folders of known names."""
    count = total = 0
    try:
        tars.check(archive)
        with tarfile.open(archive, "r:") as entries:
            for entry in entries:
                count, total = count + 1, total + entry.size
                if count > _MOST_ENTRIES or entry.size > _MOST_BYTES or total > _MOST_BYTES_IN_ALL:
                    raise DeviceError(f"{archive.name} is far too large for a result: {entry.name!r:.80}", _HINT)
                if entry.isdir() and _FOLDER.fullmatch(entry.name):
                    continue
                if not entry.isfile() or not _ALLOWED.fullmatch(entry.name):
                    raise DeviceError(f"{archive.name} holds {entry.name!r:.80}, which no run leaves", _HINT)
                target = fresh / entry.name
                if target.exists():
                    raise DeviceError(f"{archive.name} holds {entry.name} twice", _HINT)
                target.parent.mkdir(parents=True, exist_ok=True)
                source = entries.extractfile(entry)
                assert source is not None  # it is a file
                with target.open("wb") as file:
                    shutil.copyfileobj(source, file)
                if target.stat().st_size != entry.size:
                    raise DeviceError(f"{archive.name} is cut off within {entry.name}", _HINT)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise DeviceError(f"{archive.name} is no result: {reason_of(error)}", _HINT) from error
    except FileNotFoundError as error:
        raise ConfigError(f"no such file: {archive}") from error
    except RecursionError as error:  # tarfile goes into itself for every extended header
        raise DeviceError(f"{archive.name} is no result: it is nested too deeply", _HINT) from error


def _check_sums(name: str, fresh: Path) -> None:
    """Check that the list of hashes names every file and no other."""
    try:
        lines = (fresh / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceError(f"{name} is cut off: it has no {SUMS}", _HINT) from error
    sums = {path: sha256 for sha256, _, path in (line.partition("  ") for line in lines)}
    found = {path.relative_to(fresh).as_posix() for path in fresh.rglob("*") if path.is_file()} - {SUMS}
    if found != sums.keys():
        odd = min(found ^ sums.keys())
        raise DeviceError(f"{name} does not hold what its {SUMS} says: {odd!r:.80}", _HINT)
    for path in sorted(found):
        if file_sha256(fresh / path) != sums[path]:
            raise DeviceError(f"{name} was changed: {path} is not what its {SUMS} says", _HINT)


def _check_bundle(name: str, fresh: Path, bundle_id: str) -> None:
    try:
        found = parse_json((fresh / RESULT / "bundle.json").read_bytes())["id"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DeviceError(f"{name} does not say which bundle it is the result of", _HINT) from error
    if found != bundle_id:
        raise DeviceError(
            f"{name} is the result of bundle {found!r:.20}, and not of {bundle_id[:8]!r}",
            "The models or the settings have changed since: make the bundle and measure again",
        )
