"""Options that several commands share, and the console that every command is handed."""

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, update_wrapper, wraps
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgeprune.cli._console import Verbosity
from edgeprune.cli._help import SectionedCommand, Sections, help_all_option
from edgeprune.errors import EdgepruneError

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.export import Method
    from edgeprune.network.compute import Compute
    from edgeprune.registry import Kind

Command = TypeVar("Command", bound=Callable[..., Any])

_PARAMETER = re.compile(r"`(?P<name>[a-z_]+)(?:=(?P<value>[^`]*))?`")
_OTHERWISE = {"classes": "class_names"}
"""Options whose names differ from those of the library's parameters."""
_QUOTES = "'\""

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)

DATA = click.Path(path_type=Path)


def plugin_names(kind: "Kind") -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Complete with the names of plug-ins."""

    def complete(_ctx: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
        from edgeprune import registry

        return [name for name in registry.names(kind) if name.startswith(typed)]

    return complete


def model_names(_ctx: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """Complete with the names of networks."""
    from edgeprune import registry

    return [name for name in registry.model_names() if name.startswith(typed)]


def target_names(_ctx: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """Complete with the names of targets."""
    from edgeprune import targets

    return [name for name in targets.names() if name.startswith(typed)]


data_option = click.option(
    "--data",
    type=DATA,
    help="Labeled frames: a file or folder that `edgeprune data info` can read, or 'shipped' for the shipped frames.  "
    "[default: the data named in the model file]",
)
target_option = click.option(
    "--target",
    required=True,
    shell_complete=target_names,
    help="Name of a target (see: edgeprune targets list) or path of its .toml file.",
)
seed_option = click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Random seed.")


def _set(attribute: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def callback(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value:
            setattr(ctx.ensure_object(Verbosity), attribute, True)

    return callback


def global_options(command: Command) -> Command:
    """Add --json, --quiet and --verbose, which hold before and after the command's name."""
    for flags, attribute, text in (
        (("--json",), "as_json", "Print one JSON object on stdout; everything else goes to stderr."),
        (("-q", "--quiet"), "quiet", "Print only results and errors."),
        (("-v", "--verbose"), "verbose", "Print more detail."),
    ):
        command = click.option(
            *flags, is_flag=True, expose_value=False, is_eager=True, callback=_set(attribute), help=text
        )(command)
    return command


@contextmanager
def told_in_options(command: click.Command) -> Iterator[None]:
    """Let errors name a command's options in place of parameters: `keep_ratio=2` becomes --keep-ratio 2.

    Raises:
        EdgepruneError: As it was raised, in these words.
    """
    try:
        yield
    except EdgepruneError as error:
        known = _spelled(command)
        error.message, error.hint = (
            _PARAMETER.sub(partial(_as_option, known), text) for text in (error.message, error.hint)
        )
        raise


def _spelled(command: click.Command) -> dict[str, click.Parameter]:
    """Map the parameters of a command by their Python names."""
    known: dict[str, click.Parameter] = {}
    for parameter in command.params:
        for option in (parameter.name or "", *parameter.opts):
            known[option.lstrip("-").replace("-", "_")] = parameter
    return known | {ours: known[typed] for ours, typed in _OTHERWISE.items() if typed in known}


def _as_option(known: dict[str, click.Parameter], match: "re.Match[str]") -> str:
    name, value = match["name"], match["value"]
    parameter = known.get(name)
    if parameter is None:
        return match.group()
    if not isinstance(parameter, click.Option):
        return parameter.make_metavar(click.get_current_context())
    off = value == "False" and parameter.secondary_opts
    option = max(parameter.secondary_opts if off else parameter.opts, key=len)
    return option if value is None or parameter.is_flag else f"{option} {value.strip(_QUOTES)}"


def subcommand(name: str, sections: Sections | None = None) -> Callable[[Callable[..., None]], SectionedCommand]:
    """Make a command of a function that takes a console first.

    The docstring of the function is the help; what follows "Examples:" in it is printed as it is.

    Args:
        name: Name of the command.
        sections: Sections of its help that no other command has, with the names of their options.
    """

    def decorate(function: Callable[..., None]) -> SectionedCommand:
        @click.pass_context
        def invoke(ctx: click.Context, /, *args: Any, **kwargs: Any) -> None:
            from edgeprune.cli._console import Console

            with told_in_options(ctx.command):
                function(Console(ctx.ensure_object(Verbosity)), *args, **kwargs)

        text, _, examples = inspect.cleandoc(function.__doc__ or "").partition("\n\nExamples:\n")
        make = click.command(name, SectionedCommand, help=text, own_sections=sections, examples=dedent(examples))
        return help_all_option(global_options(make(update_wrapper(invoke, function))))

    return decorate


training_frames_option = click.option(
    "--frames",
    type=click.IntRange(2),
    help="Train on at most this many frames, spread over the whole train split.  [default: all]",
)

batch_size_option = click.option(
    "--batch-size", type=click.IntRange(2), default=256, show_default=True, help="Frames per training step."
)

mix_option = click.option(
    "--mix",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    metavar="R",
    help="Fraction of each batch mixed with a second signal; the teacher labels the mixture. Each epoch takes longer, "
    "but the network learns more over many epochs.",
)


def with_options(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    """Add options to a command, in the order in which its help lists them; click lists what is added last first."""
    for add in reversed(options):
        command = add(command)
    return command


def _reading_flags(length: int | None) -> tuple[Callable[[Command], Command], ...]:
    """Make the options for cutting frames; without a default length they are overrides."""
    return (
        click.option(
            "--length",
            type=click.IntRange(1),
            default=length,
            show_default=length is not None,
            help="Samples per frame when frames are cut from a recording."
            + ("" if length else "  [default: as in training, else the model's input length]"),
        ),
        click.option(
            "--hop",
            type=click.IntRange(1),
            help="Samples from the start of one frame to the start of the next.  [default: --length]",
        ),
        click.option(
            "--sample-rate-hz",
            type=click.FloatRange(0, min_open=True),
            help="Resample recordings to this rate.",
        ),
        click.option("--skip-bad-files", is_flag=True, help="Skip recordings that cannot be read, and list them."),
    )


def reading_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options for cutting frames from recordings; the function takes them as `reading`."""

    @wraps(function)
    def call(
        *args: Any, length: int, hop: int | None, sample_rate_hz: float | None, skip_bad_files: bool, **kwargs: Any
    ) -> None:
        from edgeprune.records.frames import Reading

        function(*args, reading=Reading(length, hop, sample_rate_hz, skip_bad_files), **kwargs)

    return with_options(call, _reading_flags(length=128))


stream_option = click.option(
    "--stream/--no-stream",
    default=None,
    help="Read frames from the file as they are used, or load all of them first.  [default: depends on free memory]",
)


def asked_options(*split_flags: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options that override how data were read and split in training; taken as `asked`.

    Args:
        split_flags: Names of the option for the split.
    """

    def add(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def call(
            *args: Any,
            method: str | None,
            stream: bool | None,
            length: int | None,
            hop: int | None,
            sample_rate_hz: float | None,
            skip_bad_files: bool,
            **kwargs: Any,
        ) -> None:
            from edgeprune.tasks.data.reading import ReadOverrides

            given = {"length": length, "hop": hop, "sample_rate_hz": sample_rate_hz}
            reading: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
            if skip_bad_files:
                reading["skip_bad_files"] = True
            function(*args, asked=ReadOverrides(method, reading, stream), **kwargs)

        split_option = click.option(
            *split_flags,
            "method",
            metavar="METHOD",
            help="Method of the data split.  [default: as in training, else auto]",
        )
        return with_options(call, (split_option, stream_option, *_reading_flags(length=None)))

    return add


compute_option = click.option(
    "--compute",
    metavar="WHERE",
    default="auto",
    show_default=True,
    envvar="EDGEPRUNE_COMPUTE",
    show_envvar=True,
    help="Device on which networks run: auto, cpu, cuda or cuda:N. auto uses the GPU if there is one.",
)


def chosen(console: "Console", wanted: str) -> "Compute":
    """Choose the device of the option, and note it on the terminal after the frames.

    Raises:
        ConfigError: The value is not allowed, or there is no such GPU.
        DeviceError: There is a GPU, but its driver or PyTorch does not support it.
    """
    from edgeprune.network.cards import choose

    compute = choose(wanted)
    console.later(compute.sentence)
    return compute


_PRECISION_OPTIONS = (
    click.option(
        "--calib-method",
        type=click.Choice(["minmax", "percentile", "entropy"]),
        default="percentile",
        show_default=True,
        help="Method that finds the range of each activation for int8.",
    ),
    click.option(
        "--calib-data",
        type=DATA,
        help="Calibration frames for int8, as written by `edgeprune data calib`.  [default: frames of the train split, "
        "equally many of each class and SNR]",
    ),
    click.option("--qat", type=click.IntRange(1), metavar="EPOCHS", help="Epochs of quantization-aware training."),
)


def precision_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add how int8 is reached; the function takes `calibration` for PrecisionOptions, and `qat` in epochs or None."""

    @wraps(function)
    def call(*args: Any, calib_method: "Method", calib_data: Path | None, **kwargs: Any) -> None:
        function(*args, calibration={"method": calib_method, "calibration": calib_data}, **kwargs)

    return with_options(call, _PRECISION_OPTIONS)
