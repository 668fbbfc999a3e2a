"""`edgeprune check calibrate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeprune.cli._completion import target_names
from edgeprune.cli._device import device_options
from edgeprune.cli._options import FILE, subcommand

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeprune.cli._console import Console
    from edgeprune.gate.noise import Noise
    from edgeprune.gate.session import Session
    from edgeprune.records import BenchReport
    from edgeprune.targets import Target
    from edgeprune.tasks.reaching import Host

    Measure = Callable[[Path], BenchReport]


@subcommand("calibrate")
@click.argument("reports", metavar="[REPORT.json...]", type=FILE, nargs=-1)
@click.option("--model", type=FILE, help="Measure this exported model, in place of reading reports.")
@click.option("--target", shell_complete=target_names, help="Of --model.")
@click.option("--name", help="Of the model in reports.  [default: of the file --model]")
@click.option("--repeat", type=click.IntRange(2), default=20, show_default=True, help="Measurements of --model.")
@click.option("--rounds", type=click.IntRange(6), help="Of each. Default: the target's.")
@click.option("--round-ms", type=click.FloatRange(1), help="Length of a round. Default: the target's.")
@device_options
@click.option("--out", type=FILE, default=Path("edgeprune-noise.json"), show_default=True, help="File to add to.")
def calibrate(
    console: "Console",
    reports: tuple[Path, ...],
    model: Path | None,
    target: str | None,
    name: str | None,
    repeat: int,
    rounds: int | None,
    round_ms: float | None,
    host: "Host | None",
    power: dict[str, Any],
    out: Path,
) -> None:
    """Find the noise floor of a device: how far apart measurements of the same model lie.

    Give the reports of one model measured again and again, on several days if you can, or --model with --target to
    measure it against itself. `edgeprune check` then refuses a max_regression below the floor.
    """
    from edgeprune import targets
    from edgeprune.errors import ConfigError
    from edgeprune.gate import noise
    from edgeprune.store import now, to_plain

    if bool(reports) == (model is not None) or (model is not None and target is None):
        raise ConfigError(
            "calibrate takes either REPORT.json... or --model FILE.onnx with --target NAME",
            "As in: edgeprune check calibrate a/report.json b/report.json c/report.json",
        )
    if model is not None and target is not None:
        chosen = targets.get(target)
        measure = _measure(console, model, chosen, rounds, round_ms, host, power)
        named, subject = chosen.name, name or model.stem
        sessions = [_measured(console, measure, chosen, number, repeat) for number in range(1, repeat + 1)]
    else:
        named, sessions, subject = _read(reports)
    found = noise.calibrate(sessions, named, subject, now())
    noise.add(out, [found])
    if console.as_json:
        console.json(to_plain(found))
    else:
        _show(console, found, out)


def _read(reports: tuple[Path, ...]) -> "tuple[str, list[Session], str]":
    """The target of reports, their measurements, and their model.

    Raises:
        DataError: One has no latencies, or they are of different models.
    """
    from edgeprune.errors import DataError
    from edgeprune.gate import evidence

    read = [evidence.read(path) for path in reports]
    sessions = []
    for each in read:
        if each.session is None:
            raise DataError(f"{each.source} has no latencies", "Give reports of measured models")
        if each.model != read[0].model:
            raise DataError(f"{read[0].source} is of {read[0].model!r}, {each.source} of {each.model!r}", "Give one's")
        sessions.append(each.session)
    return read[0].report.target, sessions, read[0].model


def _measure(
    console: "Console",
    model: Path,
    target: "Target",
    rounds: int | None,
    round_ms: float | None,
    host: "Host | None",
    power: dict[str, Any],
) -> "Measure":
    """What measures the model against itself and leaves the samples in a folder.

    Raises:
        ConfigError: A device is named for a target that is none, or the other way around.
    """
    from edgeprune.errors import ConfigError
    from edgeprune.tasks.measuring import BenchChoices, bench_files, precision_of

    if target.on_device != (host is not None):
        found = "is a device" if target.on_device else "is measured on this machine"
        raise ConfigError(f"{target.name} {found}", "Use --device HOST for devices, and for them alone")
    if host is None:
        choices = BenchChoices(rounds=rounds, round_ms=round_ms)
        return lambda folder: bench_files(model, model, target, choices, folder, console)
    from edgeprune.tasks.assigning import Wishes
    from edgeprune.tasks.measuring_there import bench_there

    wishes, precision = Wishes(rounds=rounds, round_ms=round_ms, **power), precision_of(target, None)
    return lambda folder: (
        bench_there(host, {"baseline": model, "pruned": model}, target, precision, wishes, folder, console).bench
    )


def _measured(console: "Console", measure: "Measure", target: "Target", number: int, repeat: int) -> "Session":
    """One measurement of a model against itself."""
    import tempfile

    from edgeprune.bench import samples
    from edgeprune.gate.session import session_of

    console.stage(f"measurement {number} of {repeat}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        report = measure(folder)
        before, after = (samples.read(folder / f"samples-{role}.npz")[0] for role in ("baseline", "pruned"))
    return session_of(target.name, report, before, after)


def _show(console: "Console", found: "Noise", out: Path) -> None:
    rows = [(way, f"{floor.spread_log:.2%}", f"{floor.floor:.2%}") for way, floor in found.floors.items()]
    console.table(("compared by", "spread", "floor"), rows, right=("spread", "floor"))
    least = found.floor("ratio", "fast end").floor
    console.headline(
        f"{found.model} on {found.target}: max_regression below {least:.3f} is noise ({found.repetitions} measurements)"
    )
    console.print(f"Kept in {out}")
