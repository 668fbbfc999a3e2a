"""`edgeprune targets`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeprune.cli._help import CommandGroup
from edgeprune.cli._options import FILE, global_options, subcommand

if TYPE_CHECKING:
    from edgeprune.cli._console import Console


@global_options
@click.group("targets", cls=CommandGroup)
def command() -> None:
    """Show and check the targets: the kinds of device that a model can be exported for."""


@subcommand("list")
def _list(console: "Console") -> None:
    """List the shipped targets.

    Examples:
        edgeprune targets list
    """
    from edgeprune import targets

    found = [targets.get(name) for name in targets.names()]
    if console.as_json:
        console.json({"targets": [target.model_dump(mode="json") for target in found]})
    else:
        rows = [(each.name, each.runtime, ", ".join(each.precisions), each.description) for each in found]
        console.table(("target", "runtime", "precisions", "what it is"), rows)


@subcommand("show")
@click.argument("name")
def _show(console: "Console", name: str) -> None:
    """Show every setting of the target NAME.

    Examples:
        edgeprune targets show jetson-orin
    """
    from edgeprune import targets

    plain = targets.get(name).model_dump(mode="json")
    if console.as_json:
        console.json(plain)
    else:
        notes = [("note", note) for note in plain.pop("notes")]
        rows = [(key, _words(value)) for key, value in plain.items() if value not in (None, [])]
        console.table(("key", "value"), rows + notes)


@subcommand("validate")
@click.argument("file", type=FILE, required=False)
def _validate(console: "Console", file: Path | None) -> None:
    """Check a target FILE of your own, or all shipped targets.

    Examples:
        edgeprune targets validate my-board.toml
    """
    from edgeprune import targets

    checked = [targets.read(file)] if file else [targets.get(name) for name in targets.names()]
    names = [target.name for target in checked]
    if console.as_json:
        console.json({"valid": names})
    else:
        console.print(f"valid: {', '.join(names)}")


def _words(value: Any) -> str:
    """Write a setting for readers: a set of rails as a sum, alternatives joined by 'or'."""
    match value:
        case dict():
            return ", ".join(f"{key} {inner}" for key, inner in value.items())
        case [[*_], *_]:
            return " or ".join(" + ".join(each) for each in value)
        case list():
            return ", ".join(map(str, value))
    return str(value)


for each in (_list, _show, _validate):
    command.add_command(each)
