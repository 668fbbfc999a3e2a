"""JSON from outside, read only if its size, nesting and numbers are safe for all later code."""

import json
import re
from typing import Any

from edgeprune.files.bounds import MalformedError, refuse_deep, refuse_inflated

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
