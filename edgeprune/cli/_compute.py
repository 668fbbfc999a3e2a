"""The option for the device on which networks run."""

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
