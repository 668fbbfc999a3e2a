"""Text from files on its way out: to terminals, CI systems and pages.

Names come from files that nobody has vetted. What a terminal or a runner would obey, or a reader would not see, is
shown as an escape; nothing else is changed.
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
"""Characters of a message."""


def printable(text: str) -> str:
    """Text as one line that says what it holds: control characters and the like as escapes."""
    return _UNSEEN.sub(_escape, text)


def line(*parts: str) -> str:
    """A whole line of output, its parts apart by tabs, which no CI system takes for a command to it.

    GitHub Actions obeys lines that begin with `::` after blanks, and `##[` anywhere; Azure Pipelines `##vso[`, TeamCity
    `##teamcity[`.
    """
    text = "\t".join(map(printable, parts))
    return _COMMAND.sub(lambda found: f"{found[1] or ''}\\x{ord(found[0][-1]):02x}", text)


def encodable(text: str) -> str:
    """Text that UTF-8 can hold: halves of characters as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def bounded(text: str, most: int = MOST) -> str:
    """Text of at most so many characters, its end kept with its beginning."""
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
