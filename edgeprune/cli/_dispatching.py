"""A command that takes arguments of its own and has others below it: `check REPORT.json` and `check calibrate`."""

import itertools
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
        """The context of the command that the words name; the global options may stand before its name."""
        everywhere = {flag for each in self.params if not each.expose_value for flag in each.opts}
        flags = list(itertools.takewhile(everywhere.__contains__, args))
        name, *rest = args[len(flags) :] or [""]
        if name in self.others:
            return self.others[name].make_context(f"{info_name} {name}", [*flags, *rest], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)
