"""A command that takes arguments of its own and has others below it: `check REPORT.json` and `check calibrate`."""

from typing import Any

import click


class Dispatching(click.Command):
    """A command whose first word may name another one.

    Args:
        own: What runs otherwise; its name, options and help become those of this command.
        others: By name.
    """

    def __init__(self, own: click.Command, others: dict[str, click.Command]) -> None:
        super().__init__(own.name, callback=own.callback, params=own.params, help=own.help, epilog=own.epilog)
        self.others = others

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of the command that the words name."""
        if args and args[0] in self.others:
            return self.others[args[0]].make_context(f"{info_name} {args[0]}", args[1:], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)
