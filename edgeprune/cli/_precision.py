"""Options for the precision of an export, with its calibration and training."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeprune.cli._options import DATA, with_options

if TYPE_CHECKING:
    from edgeprune.export import Method

_OPTIONS = (
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

    return with_options(call, _OPTIONS)
