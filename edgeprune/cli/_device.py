"""Options for the device, shared by the commands that use one."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from edgeprune.cli._options import FILE, with_options

ssh_config_option = click.option("--ssh-config", type=FILE, help="SSH configuration file.  [default: your own]")

_power_options = (
    click.option(
        "--power-mode", help="Name or number of the power mode to measure in; the previous mode is restored afterwards."
    ),
    click.option(
        "--lock-clocks", is_flag=True, help="Lock the clocks during the measurement; they are restored afterwards."
    ),
    click.option(
        "--dla", type=click.IntRange(0), metavar="CORE", help="Run on this DLA core, with the GPU as fallback."
    ),
)


def device_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add --device and how to measure there: `host`, a Host or None, and `power`, for DeviceOptions."""

    @wraps(function)
    def call(
        *args: Any,
        device: str | None,
        ssh_config: Path | None,
        power_mode: str | None,
        lock_clocks: bool,
        dla: int | None,
        **kwargs: Any,
    ) -> None:
        host = None
        if device is not None:
            from edgeprune.tasks.device.connect import Host

            host = Host(device, ssh_config)
        power = {"power_mode": power_mode, "lock_clocks": lock_clocks, "dla_core": dla}
        function(*args, host=host, power=power, **kwargs)

    options = (
        click.option(
            "--device",
            metavar="HOST",
            help="Device to measure on: an SSH destination as in ~/.ssh/config, 'local', or 'replay:BOARD' (a recorded "
            "board, to try things out).",
        ),
        ssh_config_option,
        *_power_options,
    )
    return with_options(call, options)
