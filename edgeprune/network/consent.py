"""Which functions a user had networks built by: `edgeprune import` remembers them, and later commands need not ask.

What is remembered is the user's own word, on the user's own machine: the function that --factory named, its file by
place and sha256, and its arguments. A model file that names that function is then built without --factory. Nothing in
a model file can widen that: a file that changed, other arguments, or another function are asked for as ever.
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
    """One function that was named: as a model file names it, where it was, and what it was given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    file: str
    sha256: str
    arguments: dict[str, Any]


_WORDS = TypeAdapter(list[_Word])


def remember(name: str, arguments: Mapping[str, Any]) -> bool:
    """Remember that the user had a network built by a function.

    Args:
        name: Name of the function, as `factory` took it; it was called in this process.
        arguments: That it was given.

    Returns:
        Whether it could be: False where there is no file, or no place to remember it in.
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
    """The function that a model file names, as `from_factory` takes it, where the user had it called before.

    Of a package its folder is put first among those that modules are looked for in.
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
    """The file of this user on this machine, by the XDG base directory specification."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "edgeprune" / _FILE


def _words() -> list[_Word]:
    """What was remembered; nothing where that is missing or damaged."""
    with contextlib.suppress(Exception):
        place = _place()
        if place.stat().st_size <= _MOST_BYTES:
            return _WORDS.validate_python(parse_json(place.read_bytes()))
    return []
