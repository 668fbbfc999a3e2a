"""Generate the reference pages of docs/ from the code: `make docs` runs this, and a test finds pages that are stale.

`cli.md` and the JSON Schemas are written whole; in `targets.md`, `report.md` and `ci.md`, what lies between two marks.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from edgeprune.cli import app
from edgeprune.cli._help import EVERY_OPTION
from edgeprune.cli.check import Dispatching
from edgeprune.errors import EdgepruneError
from edgeprune.gate import budget
from edgeprune.report.schema.json import json_schema
from edgeprune.targets import Target

DOCS = Path(__file__).parent
WIDTH = 100
Schema = Mapping[str, Any]

CLI_INTRODUCTION = """# The command line

`make docs` generates this page from the commands themselves.

Results go to standard output; progress and messages go to standard error. On a terminal, a command prints tables and
progress bars; elsewhere, it prints tab-separated lines and a progress line every few seconds. `--json`, `--quiet` and
`--verbose` may stand before or after the command's name. `--json` prints one JSON object and nothing else on standard
output.

A command writes each file completely or not at all. If training or `prune-and-export` is interrupted, the same command
continues.

A model file written by edgeprune records which network it holds. For a plain `state_dict`, give `--arch`,
`--class-names` and `--input-shape`.

Shell completion comes from click: put `eval "$(_EDGEPRUNE_COMPLETE=bash_source edgeprune)"` in `~/.bashrc`, or use
`zsh_source` or `fish_source` in those shells.
"""


def main() -> None:
    """Write every document that is not current, and name it."""
    for path, text in documents().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path.relative_to(DOCS.parent)}\n")


def documents() -> dict[Path, str]:
    """Each generated document as it should be."""
    target, report, limits = Target.model_json_schema(), json_schema(), budget.json_schema()
    return {
        DOCS / "cli.md": cli_page(),
        DOCS / "report.schema.json": json.dumps(report, indent=2) + "\n",
        DOCS / "edgeprune-budget.schema.json": json.dumps(limits, indent=2) + "\n",
        DOCS / "targets.md": _between_marks(DOCS / "targets.md", "".join(_key_tables(target))),
        DOCS / "report.md": _between_marks(DOCS / "report.md", "".join(_key_tables(report))),
        DOCS / "ci.md": _between_marks(DOCS / "ci.md", "".join(_key_tables(limits["$defs"]["Limits"]))),
    }


def commands(group: click.Group, parent: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Every command of a group in the order of its help, groups before what is in them."""
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        assert command is not None
        context = click.Context(command, parent=parent, info_name=name)
        yield command, context
        if isinstance(command, click.Group):
            yield from commands(command, context)
        for other, inner in command.others.items() if isinstance(command, Dispatching) else ():
            yield inner, click.Context(inner, parent=parent, info_name=f"{name} {other}")


def app_context() -> click.Context:
    """A context for the whole program that renders help alike on every terminal."""
    return click.Context(
        app, info_name="edgeprune", terminal_width=WIDTH, max_content_width=WIDTH, help_option_names=["-h", "--help"]
    )


def cli_page() -> str:
    """The text of cli.md."""
    root = app_context()
    parts = [CLI_INTRODUCTION, "\n## Exit codes\n\n", *_exit_codes(), "\n## edgeprune\n\n", _help(app, root)]
    for command, context in commands(app, root):
        parts += [f"\n## {context.command_path}\n\n", _help(command, context)]
    return "".join(parts)


def _help(command: click.Command, context: click.Context) -> str:
    context.meta[EVERY_OPTION] = True
    lines = (line.rstrip() for line in command.get_help(context).splitlines())
    return "```text\n" + "\n".join(lines) + "\n```\n"


def _exit_codes() -> list[str]:
    over = "Done, but the network exceeds its latency budget or its accuracy drop; the report says by how much."
    unsure = "`check` cannot judge: a figure is missing, or the noise is larger than the limit."
    rows = {
        0: ["Done."],
        1: [over],
        5: [unsure],
        70: ["A bug in edgeprune; its traceback is printed."],
        130: ["Interrupted."],
    }
    for kind in EdgepruneError.__subclasses__():
        rows.setdefault(kind.exit_code, []).append(str(kind.__doc__))
    return ["| code | meaning |\n|---|---|\n", *(f"| {code} | {' '.join(rows[code])} |\n" for code in sorted(rows))]


def _key_tables(schema: Schema) -> Iterator[str]:
    """A table of the keys of a JSON Schema's root, then one for each kind of object in it, in order of appearance."""
    found = [""]
    for name in found:
        part = schema["$defs"][name] if name else schema
        if "properties" not in part:
            continue
        inner = re.findall(r'"#/\$defs/(\w+)"', json.dumps(part["properties"]))
        found += [each for each in dict.fromkeys(inner) if each not in found]
        if name:
            yield f"\n### {name}\n\n{part['description']}\n\n"
        yield "| key | value | |\n|---|---|---|\n"
        for key, value in part["properties"].items():
            yield f"| `{key}` | {_kind(value)}{_presence(key, value, part)} | {value.get('description', '')} |\n"


def _presence(key: str, value: Schema, part: Schema) -> str:
    if key in part.get("required", ()):
        return ""
    return f", default `{json.dumps(value['default'])}`" if value.get("default") not in (None, {}) else ", optional"


def _kind(value: Schema) -> str:
    """What a value may be, in a few words."""
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[1]
        return "any value" if name == "JsonValue" else f"[{name}](#{name.lower()})"
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if "enum" in value:
        return " or ".join(f"`{json.dumps(each)}`" for each in value["enum"])
    if "prefixItems" in value:
        return "[" + ", ".join(_kind(each) for each in value["prefixItems"]) + "]"
    if value.get("type") == "array":
        return f"list of {_kind(value['items'])}"
    if value.get("type") == "object" and isinstance(value.get("additionalProperties"), dict):
        return f"object of {_kind(value['additionalProperties'])}"
    return str(value.get("type", "any value")) + _bounds(value)


def _bounds(value: Schema) -> str:
    signs = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    said = [f"{sign} {value[bound]:g}" for bound, sign in signs if bound in value]
    return f" {', '.join(said)}" if said else ""


def _between_marks(path: Path, text: str) -> str:
    """The document with what lies between its marks replaced."""
    whole = path.read_text(encoding="utf-8")
    before, begin, rest = whole.partition("<!-- written by make docs -->\n")
    _, end, after = rest.partition("<!-- end -->\n")
    if not (begin and end):
        raise SystemExit(f"{path} lacks the marks of the generated part")
    return f"{before}{begin}\n{text}\n{end}{after}"


if __name__ == "__main__":
    main()
