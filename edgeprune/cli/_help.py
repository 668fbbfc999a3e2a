"""Help of the commands: options in sections, everyday options first, then examples.

`--help` explains the everyday options and names the others, which `--help-all` explains too.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import click

Sections = Mapping[str, Sequence[str]]
"""Names of options by the section of the help that lists them."""

SECTIONS: Sections = {
    "Model": (
        *("model", "name", "unpruned", "teacher", "accept_baseline", "arch", "factory", "factory_arg", "weights_key"),
        *("trust_pickle", "class_names", "input_shape", "normalisation"),
    ),
    "Data": (
        *("data", "recipe", "frames_per", "snr", "quirks", "size", "strategy", "drop_duplicates"),
        *("split", "method", "split_seed", "stream", "length", "hop", "sample_rate_hz", "skip_bad_files"),
    ),
    "Target and device": (
        *(
            "target",
            "device",
            "batch",
            "max_batch",
            "threads",
            "processes",
            "repeat",
            "rounds",
            "round_ms",
            "timing_cache",
        ),
        *("ssh_config", "power_mode", "lock_clocks", "dla"),
    ),
    "Pruning": (
        *("plan_path", "keep_ratio", "keep", "latency_budget", "max_accuracy_drop", "then_width", "width_method"),
        *("criterion", "metric", "segments", "profile", "bridge"),
    ),
    "Training": (
        *("epochs", "frames", "learning_rate", "batch_size", "weight_decay", "distill", "mix", "rotate", "qat"),
        *("seed", "compute"),
    ),
    "Precision": ("precision", "calib_data", "calib_method"),
    "Output": ("out", "add", "fresh", "dry_run", "workers", "json", "quiet", "verbose", "version", "help_all", "help"),
}
_RARE = frozenset(
    {
        *("accept_baseline", "arch", "factory_arg", "weights_key", "class_names", "input_shape", "normalisation"),
        *("method", "split_seed", "stream", "length", "hop", "sample_rate_hz", "skip_bad_files"),
        *("width_method", "criterion", "metric", "segments", "profile", "bridge"),
        *("frames", "learning_rate", "batch_size", "distill", "mix", "qat", "seed", "compute"),
        *("calib_data", "calib_method", "batch", "threads", "processes", "rounds", "round_ms"),
        *("ssh_config", "power_mode", "lock_clocks", "dla", "gitlab_metrics", "benchmark_json", "verdict_json"),
        *("ray_address", "seeds", "ratios", "verbose"),
    }
)
_METAVARS = {
    "integer": "N",
    "integer range": "N",
    "float range": "R",
    "round_ms": "MS",
    "sample_rate_hz": "HZ",
    "segments": "N|auto",
    "class_names": "A,B,...",
    "input_shape": "C,L",
    "target": "TARGET",
    "power_mode": "MODE",
    **dict.fromkeys(("arch", "criterion", "metric", "study", "name"), "NAME"),
}
"""Placeholder for the value of an option without one, by the name of the option or of its type."""
_MOST = 12
"""A command with no more options than this explains all of them."""
EVERY_OPTION = "edgeprune.every_option"
"""Key of a context's `meta`, set where every option is to be explained."""


HELP_NAMES = {"help_option_names": ["-h", "--help"]}


def _explain_all(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.meta[EVERY_OPTION] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


help_all_option = click.option(
    "--help-all",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_explain_all,
    help="Explain every option, and exit.",
)


def _write_words(formatter: click.HelpFormatter, words: Sequence[str], broken: str = "", indent: int = 0) -> None:
    """Write words, broken between them where the line is full; lines that go on end with `broken`."""
    begin = " " * formatter.current_indent
    line = begin + words[0]
    for word in words[1:]:
        if len(line) + len(word) + len(broken) >= formatter.width:
            formatter.write(f"{line}{broken}\n")
            line = begin + " " * indent + word
        else:
            line += f" {word}"
    formatter.write(f"{line}\n")


class SectionedCommand(click.Command):
    """A command whose help has sections and examples.

    Args:
        own_sections: Sections of this command alone; they come first.
        examples: Command lines, one a line.
    """

    def __init__(self, *args: Any, own_sections: Sections | None = None, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings = {**self.context_settings, **HELP_NAMES}  # click keeps the first option it makes of them
        self.own_sections, self.examples = dict(own_sections or {}), examples
        for each in self.params:
            if each.metavar is None and isinstance(each, click.Option):
                each.metavar = _METAVARS.get(each.name or "") or _METAVARS.get(each.type.name)

    def sections(self, ctx: click.Context) -> Iterator[tuple[str, list[click.Option]]]:
        """List the options in the order of the help; those in no named section are under "Options"."""
        options = [each for each in self.get_params(ctx) if isinstance(each, click.Option)]
        left = {"help" if "--help" in each.opts else each.name: each for each in options}
        titles = dict.fromkeys((*self.own_sections, *SECTIONS))
        for title in titles:
            names = (*self.own_sections.get(title, ()), *SECTIONS.get(title, ()))
            if found := [left.pop(name) for name in names if name in left]:
                yield title, found
        if left:
            yield "Options", list(left.values())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, and the names of options that are not explained."""
        sections = list(self.sections(ctx))
        everything = EVERY_OPTION in ctx.meta or sum(len(found) for _, found in sections) <= _MOST
        unexplained = []
        for title, found in sections:
            shown = [each for each in found if everything or each.required or each.name not in _RARE]
            unexplained += [max(each.opts, key=len) for each in found if each not in shown]
            if records := [record for each in shown if (record := each.get_help_record(ctx))]:
                with formatter.section(title):
                    formatter.write_dl(records)
        if unexplained:
            with formatter.section("More options, explained by --help-all"):
                _write_words(formatter, [*(f"{name}," for name in unexplained[:-1]), unexplained[-1]])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (click's)
        """Write the examples unchanged."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.splitlines():
                    _write_words(formatter, line.replace(" --", "\n--").split("\n"), " \\", 4)


class CommandGroup(click.Group):
    """Commands whose summaries are whole sentences, however narrow the terminal is.

    `help X` is the same as `X --help`.
    """

    command_sections: ClassVar[Sections] = {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Turn `help X` into `X --help`."""
        if args[:1] == ["help"]:
            args = [*args[1:], "--help"]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section."""
        left = dict.fromkeys(self.list_commands(ctx))
        for title, names in (*self.command_sections.items(), ("Commands", tuple(left))):
            rows = []
            for name in names:
                if name in left and (found := self.get_command(ctx, name)) is not None:
                    rows.append((name, found.get_short_help_str(limit=500)))
                    del left[name]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
