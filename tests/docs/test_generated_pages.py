import re
from pathlib import Path

import pytest

from edgeprune.errors import EdgepruneError

PAGES = ("cli.md", "report.schema.json", "edgeprune-budget.schema.json", "targets.md", "report.md", "ci.md")


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_current(root, generate, name):
    path = root / "docs" / name
    assert path.read_text(encoding="utf-8") == generate.documents()[path], "run: make docs"


def test_every_generated_page_is_looked_at(root, generate):
    assert {path.relative_to(root / "docs").as_posix() for path in generate.documents()} == set(PAGES)


def test_every_command_and_each_of_its_options_is_on_the_page(root, generate):
    sections = re.split(r"^## ", (root / "docs" / "cli.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    pages = {section.partition("\n")[0]: section for section in sections}
    files = {file.stem.rstrip("_").replace("_", "-") for file in (root / "edgeprune" / "cli").glob("[a-z]*.py")}
    assert files
    assert {f"edgeprune {name}" for name in files} <= pages.keys()
    app = generate.app_context()
    for command, context in generate.commands(app.command, app):
        page = pages[context.command_path]
        for parameter in command.params:
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert option in page, f"{context.command_path} {option}"


def test_every_command_and_every_option_of_a_command_has_a_help_text(generate):
    app = generate.app_context()
    without = [context.command_path for command, context in generate.commands(app.command, app) if not command.help]
    assert without == []


def test_every_exit_code_an_error_has_is_on_the_page(root):
    page = (root / "docs" / "cli.md").read_text(encoding="utf-8")
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", page, flags=re.MULTILINE)}
    assert {kind.exit_code for kind in EdgepruneError.__subclasses__()} < documented
    assert {0, EdgepruneError.exit_code, 130} < documented


def test_what_stands_around_the_marks_is_left_alone(generate, tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- written by make docs -->\nold\n<!-- end -->\nafter\n")
    expected = "before\n<!-- written by make docs -->\n\nnew\n\n<!-- end -->\nafter\n"
    assert generate._between_marks(page, "new\n") == expected
    page.write_text(expected)
    assert generate._between_marks(page, "new\n") == expected


def test_a_page_without_marks_is_refused(generate, tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- written by make docs -->\n")
    with pytest.raises(SystemExit, match="lacks the marks"):
        generate._between_marks(page, "new\n")


def test_a_schema_in_words(generate):
    schema = {
        "properties": {
            "size": {"type": "integer", "minimum": 0, "description": "How large."},
            "ends": {"prefixItems": [{"type": "number"}, {"type": "number"}], "type": "array"},
            "kind": {"enum": ["a", "b"], "default": "a"},
            "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}},
        },
        "required": ["size", "ends", "parts"],
        "$defs": {
            "Part": {
                "description": "A part.",
                "properties": {"by_name": {"type": "object", "additionalProperties": {"type": "string"}}},
            }
        },
    }
    assert "".join(generate._key_tables(schema)) == (
        "| key | value | |\n|---|---|---|\n"
        "| `size` | integer ≥ 0 | How large. |\n"
        "| `ends` | [number, number] |  |\n"
        '| `kind` | `"a"` or `"b"`, default `"a"` |  |\n'
        "| `parts` | list of [Part](#part) |  |\n"
        "\n### Part\n\nA part.\n\n"
        "| key | value | |\n|---|---|---|\n"
        "| `by_name` | object of string, optional |  |\n"
    )
