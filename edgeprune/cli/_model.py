"""The options that describe a model, and loading a model with them."""

import ast
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeprune.cli._options import model_names, with_options
from edgeprune.records.names import NORMALISATIONS, Normalisation

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.network.checkpoint import Checkpoint
    from edgeprune.network.model_file import ModelOptions

MODEL = click.Path(path_type=Path)
"""A model file; a folder is accepted here, since the reader has the better message for it."""

_WORDS = {"true": True, "false": False, "null": None, "none": None}


def model_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that describe a model whose file holds weights only; the function takes them as `options`."""

    @wraps(function)
    def call(
        *args: Any,
        arch: str | None,
        factory: str | None,
        factory_arg: tuple[str, ...],
        weights_key: str | None,
        trust_pickle: bool,
        class_names: str | None,
        input_shape: str | None,
        normalisation: Normalisation | None,
        **kwargs: Any,
    ) -> None:
        from edgeprune.network.model_file import ModelOptions

        options = ModelOptions(
            arch=arch,
            class_names=None if class_names is None else tuple(name.strip() for name in class_names.split(",")),
            input_shape=_shape(input_shape),
            normalisation=normalisation,
            factory=factory,
            trust_pickle=trust_pickle,
            arguments=tuple(_argument(text) for text in factory_arg),
            weights_key=weights_key,
        )
        function(*args, options=options, **kwargs)

    options = (
        click.option("--arch", shell_complete=model_names, help="Name of the network, for a file with only weights."),
        click.option(
            "--factory",
            metavar="FILE.py:CALLABLE",
            help="Your function that returns the network, in a file or as package.module:callable; for a file with "
            "only weights.",
        ),
        click.option(
            "--factory-arg", multiple=True, metavar="NAME=VALUE", help="Argument of that function; can be repeated."
        ),
        click.option(
            "--weights-key", metavar="KEY", help="Key of the weights in a file with several, for example ema.module."
        ),
        click.option(
            "--trust-pickle", is_flag=True, help="Load a pickled network or exported program; loading it can run code."
        ),
        click.option("--class-names", help="Class names a,b,c in the order of the network's outputs."),
        click.option("--input-shape", help="Input shape C,L or CxL: channels and samples, for example 2,128."),
        click.option(
            "--normalisation",
            "--normalization",
            "normalisation",
            type=click.Choice(NORMALISATIONS),
            help="Normalization of each frame x in training, for a file with only weights: none; rms, "
            "x / sqrt(mean of I² + Q²); rms-rows, each row x_c / sqrt(mean of x_c²); peak, x / max of sqrt(I² + Q²).  "
            "[default: found on the validation split]",
        ),
    )
    return with_options(call, options)


def load_model(console: "Console", path: Path, options: "ModelOptions") -> "Checkpoint":
    """Load a model, and note the parts of its file that were ignored, after the frames."""
    from edgeprune.network import checkpoint as checkpoints

    loaded = checkpoints.load(path, options)
    if loaded.notes:
        console.later(f"passed over in {path.name}: {', '.join(loaded.notes)}")
    return loaded


def options_of_teacher(options: "ModelOptions", model: "Checkpoint") -> "ModelOptions":
    """Make the options for a teacher: those of the model, with its classes and input."""
    from dataclasses import replace

    found = model.input.normalisation
    return replace(
        options,
        shared=True,
        class_names=options.class_names or model.classes,
        input_shape=options.input_shape or (model.input.channels, model.input.length),
        normalisation=options.normalisation or (None if found == "unknown" else found),
    )


def _argument(text: str) -> tuple[str, Any]:
    """Parse an argument of a factory into its name and its value, as a Python literal or else as text.

    Raises:
        ConfigError: The argument has no name.
    """
    from edgeprune.errors import ConfigError

    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise ConfigError(f"--factory-arg {text!r} is not of the form NAME=VALUE", "As in --factory-arg width=32")
    if value.lower() in _WORDS:
        return name, _WORDS[value.lower()]
    try:
        found = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return name, value
    return name, found if isinstance(found, int | float | str | list | dict) else value


def _shape(text: str | None) -> tuple[int, int] | None:
    """Parse the input shape.

    Raises:
        ConfigError: --input-shape is not two whole numbers.
    """
    from edgeprune.errors import ConfigError

    if text is None:
        return None
    try:
        channels, length = (int(part) for part in text.replace("x", ",").split(","))
    except ValueError as error:
        hint = "Give channels and samples, for example 2,128"
        raise ConfigError(f"--input-shape {text!r} is not two whole numbers", hint) from error
    return channels, length
