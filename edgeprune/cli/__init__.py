"""The command line: one file for each command, and the one place that turns errors into messages and exit codes.

The file's stem is the command's name, with an underscore after a keyword; files with a leading underscore are shared.
A command imports what it calls when it is called, so that `--help` needs only click.
"""

import contextlib
import itertools
import keyword
import os
import sys
from pathlib import Path
from typing import ClassVar

import click

from edgeprune import __version__
from edgeprune.cli._help import HELP_NAMES, CommandGroup, Sections
from edgeprune.errors import EdgepruneError
from edgeprune.text.printable import line

_SECTIONS = {
    "The whole job": ("demo", "prune-and-export", "import", "compare"),
    "Step by step": ("inspect", "plan", "prune", "finetune", "eval", "export", "build", "bench"),
    "Training, data and devices": ("train", "data", "targets", "device", "doctor"),
    "Reports and CI": ("report", "check"),
}
_ORDER = tuple(itertools.chain.from_iterable(_SECTIONS.values()))
_INTERRUPTED = 130
_BUG = 70


class _Commands(CommandGroup):
    """Finds commands by file name and imports only the one that is run."""

    command_sections: ClassVar[Sections] = _SECTIONS

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        found = {file.stem.rstrip("_").replace("_", "-") for file in Path(__file__).parent.glob("[a-z]*.py")}
        return sorted(found, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        stem = cmd_name.replace("-", "_") + "_" * keyword.iskeyword(cmd_name)
        module = __import__(f"edgeprune.cli.{stem}", fromlist=["command"])
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from edgeprune.errors import unknown_name

        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            raise unknown_name("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)


def _global_options(command: click.Group) -> click.Group:
    from edgeprune.cli._options import global_options

    return global_options(command)


@_global_options
@click.group(cls=_Commands, context_settings={**HELP_NAMES, "max_content_width": 110})
@click.version_option(__version__, prog_name="edgeprune")
def app() -> None:
    """Prune the layers of a trained radio-signal classifier, export it for an edge device, and measure its accuracy
    and latency before and after.

    Start with: edgeprune prune-and-export MODEL.pt --target host-cpu
    """


def main() -> None:
    """Run the command line and exit with the code of docs/cli.md.

    When several processes are launched together, the first runs the command and the others take part in its training.
    """
    try:
        code = _launched() if {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys() else _run()
    except click.ClickException as error:
        _report_usage(error)
        code = error.exit_code
    except EdgepruneError as error:
        _report(error.message, error.hint)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _report("interrupted", "The same command continues where this one stopped")
        code = _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception:
        import traceback

        for text in traceback.format_exc().splitlines():
            click.echo(line(text), err=True)
        _report("this is a bug in edgeprune", "Please report it with the lines above")
        code = _BUG
    sys.exit(code)


def _run() -> int:
    if "MASTER_ADDR" in os.environ and "RANK" not in os.environ:  # without GPUs accelerate leaves the others to MPI
        click.echo("accelerate started only one process; without GPUs, --multi_gpu starts several", err=True)
    return app(standalone_mode=False) or 0  # a command that ends by click's Exit returns its code, others nothing


def _launched() -> int:
    from edgeprune.train.finetune import learn_along
    from edgeprune.train.parallel import follow, joined

    with joined() as processes:
        return _run() if processes.rank == 0 else follow(processes, learn_along)


def _report_usage(error: click.ClickException) -> None:
    """Print click's own message; it may contain names that come from files."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    with contextlib.suppress(OSError):
        if context is not None:
            hint = f"Try '{context.command_path} {context.help_option_names[0]}' for help."
            click.echo(f"{context.get_usage()}\n{hint}\n", err=True)
        click.echo(line(f"error: {error.format_message()}"), err=True)


def _report(message: str, hint: str) -> None:
    with contextlib.suppress(OSError):
        click.secho(line(f"error: {message}"), fg="red", err=True)
        if hint:
            click.echo(line(f"  {hint}."), err=True)
