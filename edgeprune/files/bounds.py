"""Memory bounds for reading files, and the one place where a malformed file becomes an error.

Reading a file takes at most 4 times its own size plus 500 MB. A declared size is therefore checked before anything of
it is allocated: it may be `FOLD` times the file plus `ROOM_BYTES`. The rest is for intermediate results.
"""

import json
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from edgeprune.errors import ConfigError, EdgepruneError, reason_of

FOLD = 3
ROOM_BYTES = 128 << 20
MOST_DEPTH = 100
"""Greatest depth of nested containers in a file."""


class MalformedError(ValueError):
    """Malformed file; the text says where and how, without the name of the file."""


@contextmanager
def claimed(path: Path, what: str, kind: type[EdgepruneError], hint: str = "") -> Iterator[None]:
    """Turn any failure in reading a file into one error; errors of edgeprune pass unchanged.

    A damaged file can fail anywhere, so no list of exceptions is complete.

    Args:
        path: The file, for the message.
        what: Expected content, with its article: 'a model file'.
        kind: Class of the error.
        hint: Advice for the user.

    Raises:
        EdgepruneError: An error of the given kind.
    """
    try:
        yield
    except EdgepruneError:
        raise
    except MemoryError as error:
        raise kind(f"{path} asks for more memory than there is", hint) from error
    except RecursionError as error:
        raise kind(f"{path} is not {what}: it is nested too deeply", hint) from error
    except OSError as error:
        raise kind(f"cannot read {path}: {error.strerror or reason_of(error)}", hint) from error
    except Exception as error:
        raise kind(f"{path} is not {what}: {reason_of(error)}", hint) from error


def refuse_special(path: Path) -> None:
    """Refuse a device, a pipe or a socket, since reading one may never end.

    Raises:
        ConfigError: It is one of these, or its name is not a valid file name.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # whoever opens it says why
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ConfigError(f"{path} is neither a file nor a folder", "Give a file; devices and pipes are not read")


def allowed_bytes(file_bytes: int) -> int:
    """Memory that the declared content of a file may take."""
    return FOLD * file_bytes + ROOM_BYTES


def refuse_inflated(declared_bytes: int, file_bytes: int, what: str) -> None:
    """Refuse content that would take far more memory than its file.

    Raises:
        MalformedError: It would take too much.
    """
    allowed = allowed_bytes(file_bytes)
    if declared_bytes > allowed:
        raise MalformedError(f"{what} would take {declared_bytes} bytes, and a file of {file_bytes} may take {allowed}")


def refuse_deep(plain: Any, most: int = MOST_DEPTH) -> None:
    """Refuse plain values that are nested too deeply for later traversal.

    Raises:
        MalformedError: They are too deep.
    """
    level, seen = [plain], set()
    for _ in range(most):
        within: list[Any] = []
        for value in level:
            if isinstance(value, dict | list | tuple) and id(value) not in seen:
                seen.add(id(value))
                within += value.values() if isinstance(value, dict) else value
        if not within:
            return
        level = within
    raise MalformedError(f"it is nested more than {most} levels deep")


class Bounded:
    """Binary file whose reads allocate no more than what remains in it.

    Args:
        file: File open for reading, at any position.
        size: Size of the file in bytes.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self.size = file, size

    def read(self, count: int = -1) -> bytes:
        """Read at most `count` bytes."""
        left = max(self.size - self._file.tell(), 0)
        return self._file.read(left if count < 0 else min(count, left))

    def readline(self, count: int = -1) -> bytes:
        """Read up to the end of a line."""
        return self._file.readline(count)

    def tell(self) -> int:
        """Return the position in the file."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a position in the file."""
        return self._file.seek(offset, whence)


# Memory that Python takes for a value, at most, in bytes beyond its text (CPython 3.11).
_CONTAINER_BYTES, _VALUE_BYTES = 240, 40
_UNUSUAL = re.compile(rb"\d{19}|[eE]\+?\d{3}|\\u[dD][89a-fA-F]|NaN|Infinity")
_MOST_INTEGER = 2**63 - 1


def parse_json(content: bytes) -> Any:
    """Parse a JSON text to a plain value.

    Raises:
        MalformedError: It is not JSON, is nested too deeply, or would take far more memory than its size; or it
        contains a
            number beyond 64 bits, or half a surrogate pair.
    """
    containers = content.count(b"{") + content.count(b"[")
    values = containers + content.count(b",")
    refuse_inflated(containers * _CONTAINER_BYTES + values * _VALUE_BYTES, len(content), "its values")
    try:
        text = content.decode("utf-8")
        if _UNUSUAL.search(content):
            plain = json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=_no_number)
            json.dumps(plain, ensure_ascii=False).encode("utf-8")
        else:
            plain = json.loads(text)
    except UnicodeDecodeError as error:
        raise MalformedError(f"byte {error.start} is not UTF-8") from error
    except UnicodeEncodeError as error:
        raise MalformedError("a text in it holds half a character (a lone surrogate)") from error
    except RecursionError as error:
        raise MalformedError("it is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise MalformedError(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except ValueError as error:
        raise MalformedError(str(error)) from error
    refuse_deep(plain)
    return plain


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -_MOST_INTEGER <= int(digits) <= _MOST_INTEGER:
        raise MalformedError(f"{digits:.20}... is an integer of more than 64 bits")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise MalformedError(f"{digits:.40} is larger than any number of 64 bits")
    return value


def _no_number(name: str) -> float:
    raise MalformedError(f"{name} is no number")
