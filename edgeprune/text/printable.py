"""Safe output of text from files: to terminals, CI systems and pages.

Names in files are not vetted. Characters that a terminal or a runner would obey, or a reader would not see, are shown
as escapes; nothing else is changed.
"""

import re

_UNSEEN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters of ASCII and Latin-1
    "\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # zero width, breaks of lines, order of writing
    "\ud800-\udfff"  # halves of characters, which no encoding has
    "\ufff0-\uffff\U000e0000-\U000e0fff"  # not characters, and tags
    "]"
)
_COMMAND = re.compile(r"^(\s*):(?=:)|#(?=#\[|#vso\[|#teamcity\[)")
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
MOST = 500
"""Largest number of characters in a message."""


def printable(text: str) -> str:
    """Convert text to one line with its content visible: control characters and the like as escapes."""
    return _UNSEEN.sub(_escape, text)


def line(*parts: str) -> str:
    """Join parts by tabs to a line of output that no CI system takes for a command.

    GitHub Actions obeys lines that begin with `::` after blanks, and `##[` anywhere; Azure Pipelines `##vso[`, TeamCity
    `##teamcity[`.
    """
    text = "\t".join(map(printable, parts))
    return _COMMAND.sub(lambda found: f"{found[1] or ''}\\x{ord(found[0][-1]):02x}", text)


def encodable(text: str) -> str:
    """Make text encodable in UTF-8: surrogates become escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def bounded(text: str, most: int = MOST) -> str:
    """Shorten text to at most `most` characters, keeping its beginning and its end."""
    if len(text) <= most:
        return text
    end = most // 4
    return f"{text[: most - end - 5]} ... {text[-end:]}"


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in _NAMED:
        return _NAMED[character]
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
