"""`edgeprune check`."""

import gc
import itertools
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeprune.cli._check_calibrate import calibrate
from edgeprune.cli._device import device_options
from edgeprune.cli._help import SectionedCommand
from edgeprune.cli._options import FILE, FOLDER, subcommand

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.gate.check import Against
    from edgeprune.gate.evidence import Evidence
    from edgeprune.gate.history import Entry
    from edgeprune.gate.session import TimedSession
    from edgeprune.gate.verdict import Verdict
    from edgeprune.tasks.device.connect import Host


class Dispatching(SectionedCommand):
    """A command whose first word may name a subcommand.

    Args:
        own: Command that runs otherwise; its name, options and help become those of this command.
        others: Subcommands by name.
    """

    def __init__(self, own: SectionedCommand, others: dict[str, click.Command]) -> None:
        super().__init__(
            own.name,
            callback=own.callback,
            params=own.params,
            help=own.help,
            own_sections=own.own_sections,
            examples=own.examples,
        )
        self.others = others

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Make the context of the named command; global options may precede its name."""
        everywhere = {flag for each in self.params if not each.expose_value for flag in each.opts}
        flags = list(itertools.takewhile(everywhere.__contains__, args))
        name, *rest = args[len(flags) :] or [""]
        if name in self.others:
            return self.others[name].make_context(f"{info_name} {name}", [*flags, *rest], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)


_CALIBRATE = "calibrate"
_UNUSED = {"OPENBLAS_NUM_THREADS": "1", "PYDANTIC_DISABLE_PLUGINS": "__all__"}
"""Threads of BLAS, and plug-ins of pydantic, for which it would look through every installed package: starting without
takes a third less."""


@subcommand(
    "check",
    sections={
        "Limits": ("budget", "targets", "noise"),
        "Compare with": ("older_runs", "baselines", "history", "no_baseline"),
        "Target and device": ("measured_on",),
        "Files to write": (
            *("keep", "trend", "markdown", "junit", "github", "benchmark_json", "gitlab_metrics", "verdict_json"),
        ),
    },
)
@click.argument("reports", metavar="REPORT.json...", type=FILE, nargs=-1, required=True)
@click.option(
    "--budget",
    type=FILE,
    default=Path("edgeprune.toml"),
    show_default=True,
    help="Budget file: the limits that must hold.",
)
@click.option(
    "--baseline",
    "baselines",
    type=FILE,
    multiple=True,
    metavar="REPORT.json",
    help="Report to compare with; repeatable.",
)
@click.option(
    "--against",
    "older_runs",
    type=FOLDER,
    multiple=True,
    metavar="OLD_RUN",
    help="Measure the pruned network of that run in turns with the report's, in one session; repeatable.",
)
@click.option("--target", "measured_on", metavar="FILE", help="Target file for --against, if it is not a shipped one.")
@device_options
@click.option("--no-baseline", is_flag=True, help="There is no baseline yet: do not judge max_regression.")
@click.option("--history", type=FOLDER, help="Older reports; without --baseline, the newest that fits is the baseline.")
@click.option("--keep", is_flag=True, help="Add the reports to --history afterwards.")
@click.option("--trend", type=FILE, help="Write a page that shows the history and marks its steps.")
@click.option(
    "--noise",
    type=FILE,
    help="Noise file from `check calibrate`.  [default: edgeprune-noise.json beside the budget]",
)
@click.option("--only", "targets", multiple=True, metavar="TARGET", help="Judge only this target; repeatable.")
@click.option("--markdown", type=FILE, help="Write a pull request comment in Markdown.")
@click.option("--junit", type=FILE, help="Write JUnit XML.")
@click.option("--benchmark-json", type=FILE, help="Write customSmallerIsBetter JSON for github-action-benchmark.")
@click.option("--gitlab-metrics", type=FILE, help="Write a GitLab metrics report.")
@click.option("--verdict-json", type=FILE, help="Write the JSON that --json prints.")
@click.option(
    "--github/--no-github",
    default=None,
    help="Write annotations and a job summary for GitHub.  [default: only in GitHub Actions]",
)
def _judge(
    console: "Console",
    reports: tuple[Path, ...],
    budget: Path,
    baselines: tuple[Path, ...],
    older_runs: tuple[Path, ...],
    measured_on: str | None,
    host: "Host | None",
    power: dict[str, Any],
    no_baseline: bool,
    history: Path | None,
    keep: bool,
    trend: Path | None,
    noise: Path | None,
    targets: tuple[str, ...],
    github: bool | None,
    **files: Path | None,
) -> None:
    """Judge reports by a budget: is the model fast, small and accurate enough, and no slower than before?

    Exit code 0 means that every limit holds, 1 that a limit is broken, and 5 that a limit cannot be judged. To find out
    whether a network became slower, use --against: it measures the network and the older one in one session. To
    compare reports of different sessions, use --baseline, and first measure the noise of the device with `edgeprune
    check calibrate`.

    Examples:
        edgeprune check runs/new/report.json --budget edgeprune.toml --against runs/old
        edgeprune check runs/new/report.json --baseline main-report.json --markdown comment.md
        edgeprune check runs/new/report.json --history reports --keep --trend trend.html
    """
    _hurry()
    from edgeprune.errors import ConfigError
    from edgeprune.gate import budget as budgets

    if Path(_CALIBRATE) in reports and not Path(_CALIBRATE).exists():
        raise ConfigError(
            f"{_CALIBRATE} is a command; its options go after it", f"Write: edgeprune check {_CALIBRATE} --out FILE"
        )
    if history is None and (keep or trend):
        raise ConfigError("--keep and --trend need --history DIR", "Give the folder of older reports")
    if older_runs and (baselines or no_baseline):
        raise ConfigError("--against was given with --baseline or --no-baseline", "It measures the older run anew")
    if (host or measured_on) and not older_runs:
        raise ConfigError("--device and --target need --against OLD_RUN", "Nothing is measured without it")
    if noise is not None and not noise.exists():
        raise ConfigError(f"no such file: {noise}", "Create it with: edgeprune check calibrate")
    asked = budgets.read(budget)
    asked = asked.only(targets) if targets else asked

    from edgeprune.cli import _check_outputs  # these take NumPy, which is not needed to find a fault in what was typed
    from edgeprune.gate import check as matrix
    from edgeprune.gate import evidence
    from edgeprune.gate import noise as noises

    judged = [each for each in map(evidence.read, reports) if not targets or each.report.target in targets]
    older = _older(history)
    runs = _runs(older_runs)
    against = matrix.Against(
        baselines=runs or [evidence.read(path) for path in baselines],
        history=older,
        noise=noises.read(noise or budget.parent / noises.NAME),
        waived=no_baseline,
    )
    if runs:
        against = replace(against, sessions=_sessions(console, judged, against, measured_on, host, power))
    verdict = matrix.check(judged, asked, against)
    _check_outputs.write(verdict, files, budget, github)
    if history is not None:
        _history(console, history, older, judged, keep, trend)
    _show(console, verdict)
    if verdict.exit_code:
        raise click.exceptions.Exit(verdict.exit_code)


def _hurry() -> None:
    """Avoid unused imports and disable garbage collection, which a short command does not need."""
    for variable, value in _UNUSED.items():
        os.environ.setdefault(variable, value)
    if gc.isenabled():
        gc.disable()
        click.get_current_context().call_on_close(gc.enable)


def _runs(folders: tuple[Path, ...]) -> "list[Evidence]":
    """Read the reports of older runs."""
    if not folders:
        return []
    from edgeprune.gate import evidence
    from edgeprune.tasks.bench.against import report_in

    return [evidence.read(report_in(folder)) for folder in folders]


def _sessions(
    console: "Console",
    judged: "list[Evidence]",
    against: "Against",
    measured_on: str | None,
    host: "Host | None",
    power: dict[str, Any],
) -> "dict[str, TimedSession]":
    """Measure each report's network in turns with that of the older run which it belongs to."""
    from edgeprune import targets
    from edgeprune.gate.check import baseline_of
    from edgeprune.tasks.bench.against import measure_against

    target = None if measured_on is None else targets.get(measured_on)
    sessions = {}
    for each in judged:
        older = baseline_of(each, against, alone=len(judged) == 1)
        if older is not None:
            console.stage(f"measure {each.label} in turns with {older.source}")
            sessions[each.source] = measure_against(each, older, target, host, power, console)
    return sessions


def _older(folder: Path | None) -> "list[Entry]":
    if folder is None:
        return []
    from edgeprune.gate import history

    return history.read(folder)


def _history(
    console: "Console",
    folder: Path,
    older: "list[Entry]",
    judged: "list[Evidence]",
    keep: bool,
    page: Path | None,
) -> None:
    """Tell of steps, write the page, and keep the reports."""
    from edgeprune.files.whole import replacing
    from edgeprune.gate import history, trend

    trends = history.trends(history.merged(older, judged))
    for found in trends:
        for text in trend.told(found):
            console.note(text)
    if page is not None:
        with replacing(page) as file:
            file.write(trend.render(trends).encode())
    for each in judged if keep else ():
        console.note(f"kept as {history.keep(each, folder)}")


def _show(console: "Console", verdict: "Verdict") -> None:
    from edgeprune.gate.verdict import plain

    if console.as_json:
        console.json(plain(verdict))
        return
    rows = [(label, check.name, check.outcome, check.text) for label, check in verdict.all_checks()]
    console.table(("report", "check", "outcome", "why"), rows)
    for judgement in verdict.judgements:
        for note in judgement.notes:
            console.print(f"note: {judgement.label}: {note}")
    console.headline(verdict.headline())


command = Dispatching(_judge, {_CALIBRATE: calibrate})
