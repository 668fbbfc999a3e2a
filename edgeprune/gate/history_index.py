"""Index of verified reports in a history: hashes in a file beside them, so that each is verified once.

The index is data like the reports. It states only that certain bytes were found consistent. Figures are always read
from the reports themselves, and the baseline is always verified again. An index that is damaged, of another version or
not writable only costs time.
"""

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

import edgeprune
from edgeprune.errors import ConfigError
from edgeprune.files.store import canonical_sha256, file_sha256, read_json, write_json

NAME = "edgeprune-history.json"
SCHEMA = "edgeprune-history/1"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Verified:
    """Index of one folder, read on creation.

    Args:
        folder: Folder of the reports.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._known = _read(self._path)
        self._met: set[str] = set()

    def knows(self, key: str) -> bool:
        """Whether files were verified before; from now on they count as used."""
        self._met.add(key)
        return key in self._known

    def close(self) -> None:
        """Write the used entries, if they differ from the file."""
        if self._met == self._known:
            return
        with contextlib.suppress(ConfigError):  # a folder that may only be read
            write_json(
                self._path,
                {"schema": SCHEMA, "edgeprune_version": edgeprune.__version__, "verified": sorted(self._met)},
            )


def key_of(files: Iterable[Path], folder: Path) -> str:
    """Key of a set of files: a hash of their names and content."""
    return canonical_sha256([[str(file.relative_to(folder)), file_sha256(file)] for file in files])


def _read(path: Path) -> set[str]:
    try:
        plain = read_json(path)
    except (ConfigError, RecursionError):
        return set()
    if not isinstance(plain, dict) or plain.get("schema") != SCHEMA:
        return set()
    found = plain.get("verified")
    if plain.get("edgeprune_version") != edgeprune.__version__ or not isinstance(found, list):
        return set()
    return {each for each in found if isinstance(each, str) and _SHA256.fullmatch(each)}
