"""The options that choose units, shared by `plan` and `prune-and-export`."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal

import click

from edgeprune.cli._options import plugin_names, seed_option, with_options
from edgeprune.records.names import BRIDGES, CRITERION

if TYPE_CHECKING:
    from edgeprune.records.names import Bridge

bridge_option = click.option(
    "--bridge",
    type=click.Choice(BRIDGES),
    default="least-squares",
    show_default=True,
    help="Initial weights of layers that are rebuilt for another width: the least-squares fit to their former outputs, "
    "their leading channels, or fresh weights (as in the paper).",
)


_ALSO = {"cka": "cka-unbiased"}
"""Other names of plug-ins."""


def _plugin_name(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
    name = value.replace("_", "-")
    return _ALSO.get(name, name)


_OPTIONS = (
    click.option("--keep", type=int, help="Number of units to keep, including those that cannot be dropped."),
    click.option(
        "--keep-ratio",
        type=click.FloatRange(0, 1),
        help="Fraction of the droppable units to keep.  [default: 0.33]",
    ),
    click.option(
        "--latency-budget",
        type=click.FloatRange(0, min_open=True),
        metavar="MS",
        help="Instead of a number, a budget: keep the best units with which the network's median latency on the target "
        "is at most this many milliseconds.",
    ),
    click.option(
        "--segments",
        default="auto",
        show_default=True,
        help="Number of segments; auto means seven, or one per kept unit if fewer are kept.",
    ),
    click.option(
        "--profile",
        type=click.Choice(["rows", "column-sums"]),
        default="rows",
        show_default=True,
        help="Profile to segment: the rows of the similarity matrix, or their sums by column (as in the paper).",
    ),
    click.option(
        "--metric",
        callback=_plugin_name,
        shell_complete=plugin_names("similarity"),
        default="cka-unbiased",
        show_default=True,
        help="Similarity metric that compares layers.",
    ),
    click.option(
        "--criterion",
        callback=_plugin_name,
        shell_complete=plugin_names("criteria"),
        default=CRITERION,
        show_default=True,
        help="Criterion that scores layers.",
    ),
    bridge_option,
    seed_option,
)


def plan_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options for the number of units to keep and their choice.

    They are taken as `planning`, the seed in it, and `latency_budget` in ms or None.
    """

    @wraps(function)
    def call(
        *args: Any,
        keep: int | None,
        keep_ratio: float | None,
        latency_budget: float | None,
        segments: str,
        profile: "Literal['rows', 'column-sums']",
        metric: str,
        criterion: str,
        bridge: "Bridge",
        seed: int,
        **kwargs: Any,
    ) -> None:
        from edgeprune.tasks.plan import PlanSettings, require_one

        require_one({"keep": keep, "keep_ratio": keep_ratio, "latency_budget": latency_budget})
        planning = PlanSettings(
            keep=keep,
            keep_ratio=keep_ratio,
            segments=_segments(segments),
            metric=metric,
            criterion=criterion,
            profile=profile,
            bridge=bridge,
            seed=seed,
        )
        planning.check()
        function(*args, planning=planning, latency_budget=latency_budget, **kwargs)

    return with_options(call, _OPTIONS)


def _segments(text: str) -> "int | Literal['auto']":
    """Parse the number of segments.

    Raises:
        ConfigError: The value is neither a number nor auto.
    """
    from edgeprune.errors import ConfigError

    if text == "auto":
        return "auto"
    if not text.isdecimal():
        raise ConfigError(f"--segments {text!r} is neither a whole number nor auto")
    return int(text)
