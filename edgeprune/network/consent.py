"""The user's consent to run factories: `edgeprune import` remembers it, and later commands need no --factory.

The consent is the user's own, on the user's own machine: the function that --factory named, its file by path and
sha256, and its arguments. A model file that names that function is then built without --factory. Nothing in a model
file can widen the consent: a changed file, other arguments or another function need --factory again.
"""

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from edgeprune.files.bounds import parse_json
from edgeprune.files.store import file_sha256
from edgeprune.files.whole import replacing
from edgeprune.network.factory import portable, source_of

_FILE = "factories.json"
_MOST_BYTES = 1 << 20
_MOST_KEPT = 200


class _Word(BaseModel):
    """Consent to one function: its name in a model file, its location, and its arguments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    file: str
    sha256: str
    arguments: dict[str, Any]


_WORDS = TypeAdapter(list[_Word])


def remember(name: str, arguments: Mapping[str, Any]) -> bool:
    """Remember the user's consent to a function.

    Args:
        name: Name of the function, as given for `factory`; it was called in this process.
        arguments: Arguments of the call.

    Returns:
        Whether it was remembered: False if the function has no file, or the consent cannot be written.
    """
    file = source_of(name)
    if file is None:
        return False
    word = _Word(name=portable(name), file=str(file), sha256=file_sha256(file), arguments=dict(arguments))
    words = [word, *(each for each in _words() if each != word)][:_MOST_KEPT]
    try:
        with replacing(_place()) as out:
            out.write(json.dumps([each.model_dump() for each in words], indent=2).encode())
    except Exception:  # a machine whose home cannot be written is asked each time
        return False
    return True


def remembered(name: str, arguments: Mapping[str, Any]) -> str | None:
    """Return the function that a model file names, as `from_factory` takes it, if the user has consented to it.

    For a function in a package, the folder of the package comes first in the search path of modules.
    """
    for word in _words():
        file = Path(word.file)
        if (word.name, word.arguments) != (name, dict(arguments)) or not _unchanged(file, word.sha256):
            continue
        place, _, attribute = name.rpartition(":")
        if place.endswith(".py"):
            return f"{file}:{attribute}"
        parts = place.split(".")
        depth = len(parts) if file.name == "__init__.py" else len(parts) - 1
        root = str(file.parents[depth])
        if place in sys.modules or root in sys.path[:1]:
            return name
        sys.path.insert(0, root)
        return name
    return None


def _unchanged(file: Path, sha256: str) -> bool:
    with contextlib.suppress(OSError):
        return file_sha256(file) == sha256
    return False


def _place() -> Path:
    """Path of this user's file, by the XDG base directory specification."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "edgeprune" / _FILE


def _words() -> list[_Word]:
    """Read all consents; empty if the file is missing or damaged."""
    with contextlib.suppress(Exception):
        place = _place()
        if place.stat().st_size <= _MOST_BYTES:
            return _WORDS.validate_python(parse_json(place.read_bytes()))
    return []
