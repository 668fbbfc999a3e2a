"""The option that says where networks run."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.network.compute import Compute

compute_option = click.option(
    "--compute",
    metavar="WHERE",
    default="auto",
    show_default=True,
    envvar="EDGEPRUNE_COMPUTE",
    show_envvar=True,
    help="Where networks run: auto, cpu, cuda or cuda:N. auto uses the GPU if there is one.",
)


def chosen(console: "Console", wanted: str) -> "Compute":
    """What was asked for, said on the terminal.

    Raises:
        ConfigError: None of the words that are allowed, or no such GPU.
        DeviceError: There is a GPU, but its driver or PyTorch does not run it.
    """
    from edgeprune.network.cards import choose

    compute = choose(wanted)
    console.note(compute.sentence)
    return compute
