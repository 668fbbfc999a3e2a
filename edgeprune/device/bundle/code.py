"""Verification of a bundle's code: a device runs only code that this edgeprune packs."""

import re
import tarfile
from collections.abc import Mapping
from pathlib import Path

from edgeprune.device.bundle import SCRIPTS, SHIPPED, Manifest
from edgeprune.device.bundle.rendering import render, settings
from edgeprune.errors import ConfigError, reason_of
from edgeprune.records.device_run import Plan

_ID = re.compile(r"[0-9a-f]{64}")
_DATA = re.compile(r"(models|frames)/[a-z0-9-]+\.(onnx|bin)|bundle\.json|README\.txt|SHA256SUMS")


def require_own_code(path: Path, manifest: Manifest, plans: tuple[Plan, ...], files: Mapping[str, str]) -> None:
    """Compare a bundle's code with what would be packed for its assignment.

    Args:
        path: The tar.
        manifest: Manifest of the bundle.
        plans: Plans of the runtime for its assignment.
        files: The runtime's own files, by their path in the bundle.

    Raises:
        ConfigError: It contains other code, or is damaged.
    """
    due = {name: (SHIPPED / name).read_bytes() for name in SCRIPTS}
    due |= {f"plan/{plan.tool}-{plan.since}.sh": render(plan).encode() for plan in plans}
    due |= {name: text.encode() for name, text in files.items()}
    power = (manifest.power_mode, manifest.lock_clocks)
    due["settings.sh"] = settings(manifest.id, manifest.needs, manifest.need_bytes, *power).encode()
    try:
        with tarfile.open(path, "r:") as archive:
            odd = _foreign_entry(archive, manifest, due)
    except (OSError, tarfile.TarError, ValueError) as error:
        raise ConfigError(f"{path} is not a bundle: {reason_of(error)}") from error
    if odd is not None or not _ID.fullmatch(manifest.id):
        raise ConfigError(
            f"{path} is not what this edgeprune packs: {odd or 'its id'!r} is another; nothing was run",
            "It is of another version or was changed: remove it and make it again with prune-and-export",
        )


def _foreign_entry(archive: tarfile.TarFile, manifest: Manifest, due: Mapping[str, bytes]) -> str | None:
    """Find the first entry that differs, or missing code."""
    missing, seen = set(due), set()
    for member in archive:
        folder, _, name = member.name.partition("/")
        if folder != manifest.folder or not member.isfile() or name in seen:
            return member.name
        seen.add(name)
        if name in due:
            file = archive.extractfile(member) if member.size == len(due[name]) else None
            if file is None or file.read() != due[name]:
                return member.name
            missing.remove(name)
        elif not _DATA.fullmatch(name):
            return member.name
    return min(missing, default=None)
