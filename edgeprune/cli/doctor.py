"""`edgeprune doctor`."""

from typing import TYPE_CHECKING

import click

from edgeprune.cli._options import subcommand

if TYPE_CHECKING:
    from edgeprune.cli._console import Console


@subcommand("doctor")
def command(console: "Console") -> None:
    """Show what is installed, and test what the main job needs.

    Examples:
        edgeprune doctor
        edgeprune doctor --json
    """
    from edgeprune.tasks.doctor import diagnose

    findings = diagnose()
    if console.as_json:
        console.json({each.what: {"found": each.found, "ok": each.ok} for each in findings})
    else:
        rows = [(each.what, "ok" if each.ok else "PROBLEM", each.found) for each in findings]
        console.table(("what", "", "found"), rows)
    if not all(each.ok for each in findings):
        raise click.exceptions.Exit(2)
