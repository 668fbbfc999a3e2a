"""The options that choose units, shared by `plan` and `prune-and-export`."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from edgeprune.cli._completion import plugin_names

if TYPE_CHECKING:
    from edgeprune.tasks.planning import PlanSettings


def plan_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add --keep, --keep-ratio, --segments, --profile, --metric and --criterion, taken as `planning`."""

    @wraps(function)
    def call(
        *args: Any,
        keep: int | None,
        keep_ratio: float | None,
        segments: str,
        profile: str,
        metric: str,
        criterion: str,
        **kwargs: Any,
    ) -> None:
        planning = _settings(keep, keep_ratio, segments, profile, metric, criterion)
        function(*args, planning=planning, **kwargs)

    for decorate in reversed(
        (
            click.option("--keep", type=int, help="Units kept in all, those that must stay included."),
            click.option(
                "--keep-ratio",
                type=click.FloatRange(0, 1),
                help="Share of the droppable units that are kept.  [default: 0.33]",
            ),
            click.option("--segments", default="auto", show_default=True, help="How many segments, or auto."),
            click.option(
                "--profile",
                type=click.Choice(["rows", "column-sums"]),
                default="rows",
                show_default=True,
                help="What of the similarity matrix is segmented; column-sums is the paper's variant.",
            ),
            click.option(
                "--metric",
                shell_complete=plugin_names("similarity"),
                default="cka-unbiased",
                show_default=True,
                help="Compares layers.",
            ),
            click.option(
                "--criterion",
                shell_complete=plugin_names("criteria"),
                default="synflow",
                show_default=True,
                help="Scores layers.",
            ),
        )
    ):
        call = decorate(call)
    return call


def _settings(
    keep: int | None, keep_ratio: float | None, segments: str, profile: str, metric: str, criterion: str
) -> "PlanSettings":
    """The options, checked as far as they can be without the model.

    Raises:
        ConfigError: --keep and --keep-ratio together, --segments that is no number, an unknown name.
    """
    from edgeprune.errors import ConfigError
    from edgeprune.tasks.planning import PlanSettings

    if keep is not None and keep_ratio is not None:
        raise ConfigError("--keep and --keep-ratio were both given", "Give one of them")
    if segments != "auto" and not segments.isdecimal():
        raise ConfigError(f"--segments {segments!r} is neither a whole number nor auto")
    settings = PlanSettings(
        keep=keep,
        keep_ratio=0.33 if keep_ratio is None else keep_ratio,
        segments="auto" if segments == "auto" else int(segments),
        metric=metric,
        criterion=criterion,
        profile="rows" if profile == "rows" else "column-sums",
    )
    settings.check()
    return settings
