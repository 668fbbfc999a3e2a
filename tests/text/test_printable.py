import sys
import unicodedata

import pytest
from github_runner import obeyed

from edgeprune.text.printable import bounded, encodable, line, printable

SHOWN_THOUGH_UNSEEN = {"Zs"}  # blanks take room


def test_every_character_that_is_not_seen_is_shown_and_no_other():
    for code in range(sys.maxunicode + 1):
        character, kind = chr(code), unicodedata.category(chr(code))
        shown = printable(character)
        if kind in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(character) in (
            "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI",
        ):  # fmt: skip
            assert shown != character, hex(code)
            assert shown.isascii()
            assert shown.isprintable()
        elif kind[0] in "LMNPS" and code not in range(0xFFF0, 0x10000) and code not in range(0xE0000, 0xE1000):
            assert shown == character, hex(code)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("QAM16", "QAM16"),
        ("漢字 ± 3 × é", "漢字 ± 3 × é"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2J\x9b31m", r"\x1b[2J\x9b31m"),
        ("file\udcff.pt", r"file\udcff.pt"),
        ("gnp.\u202etxt", r"gnp.\u202etxt"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_is_shown_says_what_was_there(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "::error::pwned",
        "  ::stop-commands::token",
        "\u00a0\u3000::set-output name=x::y",
        "\n::error::pwned",
        "name ##[error]pwned",
        "##[[##[add-mask]x]",
        "###[command]x",
    ],
)
def test_no_line_is_a_command(text):
    assert any(obeyed(part) for part in text.splitlines())
    shown = line(text)
    assert len(shown.splitlines()) == 1
    assert obeyed(shown) is None
    assert "##vso[" not in line("a ##vso[task.setvariable]")
    assert not line("##teamcity[buildStop]").startswith("##teamcity[")


def test_other_lines_are_as_they_are():
    for text in ("reused  find the layers", "torch::nn is C++", "# title", "a:b", ":", ""):
        assert line(text) == text
    assert line("a", "b\tc", "d") == "a\tb\\tc\td"


def test_what_no_encoding_holds_is_an_escape_and_line_breaks_stay():
    assert encodable("a\n\udcffé") == "a\n\\udcffé"


def test_a_long_text_keeps_its_beginning_and_its_end():
    text = "".join(chr(97 + number % 26) for number in range(5000))
    short = bounded(text, 100)
    assert len(short) == 100
    assert text.startswith(short.split(" ... ")[0])
    assert text.endswith(short.split(" ... ")[1])
    assert bounded("x" * 500) == "x" * 500
