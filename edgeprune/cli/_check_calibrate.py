"""`edgeprune check calibrate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeprune.cli._device import device_options
from edgeprune.cli._options import FILE, subcommand, target_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeprune.cli._console import Console
    from edgeprune.gate.noise import Noise
    from edgeprune.gate.session import TimedSession
    from edgeprune.records.names import Role
    from edgeprune.records.results import BenchReport
    from edgeprune.targets import Target
    from edgeprune.tasks.device.connect import Host

    Measure = Callable[[Path], BenchReport]


@subcommand("calibrate")
@click.argument("reports", metavar="[REPORT.json...]", type=FILE, nargs=-1)
@click.option("--model", type=FILE, help="Measure this pruned, exported model instead of reading reports.")
@click.option(
    "--unpruned",
    type=FILE,
    help="Unpruned model to measure in turns with --model.  [default: baseline.onnx beside --model]",
)
@click.option("--target", shell_complete=target_names, help="Target of --model.")
@click.option("--name", help="Name of the model in reports.  [default: the file name of --model]")
@click.option(
    "--repeat",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Number of measurements of --model, each in new processes.",
)
@click.option("--add", is_flag=True, help="Add to an earlier calibration, for example on another day.")
@click.option("--rounds", type=click.IntRange(6), help="Rounds per measurement.  [default: the target's]")
@click.option("--round-ms", type=click.FloatRange(1), help="Length of a round in ms.  [default: the target's]")
@device_options
@click.option(
    "--out", type=FILE, default=Path("edgeprune-noise.json"), show_default=True, help="Noise file to write or update."
)
def calibrate(
    console: "Console",
    reports: tuple[Path, ...],
    model: Path | None,
    unpruned: Path | None,
    target: str | None,
    name: str | None,
    repeat: int,
    add: bool,
    rounds: int | None,
    round_ms: float | None,
    host: "Host | None",
    power: dict[str, Any],
    out: Path,
) -> None:
    """Find the noise floor of a device: how much repeated measurements of the same models differ.

    Give reports of one model that was measured several times, or give --model with --target to measure it in turns with
    the unpruned one. Noise also varies from day to day: repeat the calibration on other days with --add. `edgeprune
    check` then refuses a max_regression below the noise floor.

    Examples:
        edgeprune check calibrate --model pruned.onnx --target host-cpu
        edgeprune check calibrate --model pruned.onnx --target host-cpu --repeat 5 --add
        edgeprune check calibrate monday/report.json tuesday/report.json
    """
    from edgeprune import targets
    from edgeprune.errors import ConfigError
    from edgeprune.files.store import now, to_plain
    from edgeprune.gate import noise

    if bool(reports) == (model is not None) or (model is not None and target is None):
        raise ConfigError(
            "calibrate takes either REPORT.json... or --model FILE.onnx with --target NAME",
            "For example: edgeprune check calibrate a/report.json b/report.json c/report.json",
        )
    if model is not None and target is not None:
        chosen = targets.get(target)
        pair = _pair(model, unpruned)
        measure = _measure(console, pair, chosen, rounds, round_ms, host, power)
        named, subject = chosen.name, name or model.stem
        sessions = [_measured(console, measure, pair, chosen, number, repeat) for number in range(1, repeat + 1)]
        days = [now()[:10]] * repeat
    else:
        named, sessions, subject, days = _read(reports)
    earlier = noise.read(out).of(named, subject) if add else None
    found = noise.calibrate(sessions, named, subject, now(), days, earlier)
    noise.add(out, [found])
    if console.as_json:
        console.json(to_plain(found))
    else:
        _show(console, found, out)


def _pair(model: Path, unpruned: Path | None) -> tuple[Path, Path]:
    """Find the unpruned and the pruned file.

    Raises:
        ConfigError: There is no unpruned file.
    """
    from edgeprune.errors import ConfigError

    unpruned = unpruned or model.with_name("baseline.onnx")
    if not unpruned.is_file():
        raise ConfigError(
            f"no such file: {unpruned}, the unpruned network to measure in turns with {model.name}",
            "Give it with --unpruned; measuring a model against itself would hide most of the noise",
        )
    return unpruned, model


def _read(reports: tuple[Path, ...]) -> "tuple[str, list[TimedSession], str, list[str]]":
    """Read the target, the measurements, the model and the days of several reports.

    Raises:
        DataError: A report has no latencies, or the reports are of different models.
    """
    from edgeprune.errors import DataError
    from edgeprune.gate import evidence

    read = [evidence.read(path) for path in reports]
    sessions = []
    for each in read:
        if each.session is None:
            raise DataError(f"{each.source} has no latencies", "Give reports of measured models")
        if each.model != read[0].model:
            raise DataError(
                f"{read[0].source} is a report of {read[0].model!r}, {each.source} of {each.model!r}",
                "Give reports of one model",
            )
        sessions.append(each.session)
    return read[0].report.target, sessions, read[0].model, [each.report.created[:10] for each in read]


def _measure(
    console: "Console",
    pair: tuple[Path, Path],
    target: "Target",
    rounds: int | None,
    round_ms: float | None,
    host: "Host | None",
    power: dict[str, Any],
) -> "Measure":
    """Make the function that measures both models in turns and leaves the samples in a folder.

    Raises:
        ConfigError: A device is named for a target that is not a device, or the other way around.
    """
    from edgeprune.errors import ConfigError
    from edgeprune.tasks.bench.files import BenchChoices, bench_files
    from edgeprune.tasks.export import precision_of

    if target.on_device != (host is not None):
        found = "is a device" if target.on_device else "is measured on this machine"
        raise ConfigError(f"{target.name} {found}", "Use --device HOST for targets that are devices, and only for them")
    if host is None:
        choices = BenchChoices(rounds=rounds, round_ms=round_ms)
        return lambda folder: bench_files(*pair, target, choices, folder, console)
    from edgeprune.tasks.device.pack import DeviceOptions
    from edgeprune.tasks.device.run import bench_on_device

    options, precision = DeviceOptions(rounds=rounds, round_ms=round_ms, **power), precision_of(target, None)
    models: dict[Role, Path] = {"baseline": pair[0], "pruned": pair[1]}
    return lambda folder: bench_on_device(host, models, target, precision, options, folder, console).bench


def _measured(
    console: "Console", measure: "Measure", pair: tuple[Path, Path], target: "Target", number: int, repeat: int
) -> "TimedSession":
    """Make one measurement of both models."""
    import tempfile

    from edgeprune.bench import samples
    from edgeprune.files.store import file_sha256
    from edgeprune.gate.session import session_of

    console.stage(f"measurement {number} of {repeat}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        report = measure(folder)
        before, after = (samples.read(folder / f"samples-{role}.npz")[0] for role in ("baseline", "pruned"))
    return session_of(target.name, report, before, after, (file_sha256(pair[0]), file_sha256(pair[1])))


def _show(console: "Console", found: "Noise", out: Path) -> None:
    rows = [(way, f"{floor.spread_log:.2%}", f"{floor.floor:.2%}") for way, floor in found.floors.items()]
    console.table(("compared by", "spread", "floor"), rows, right=("spread", "floor"))
    least = found.floor("ratio", "fast end").floor
    days = len(set(found.days))
    on = f"on {days} days" if days > 1 else "on one day"
    console.headline(
        f"{found.model} on {found.target}: max_regression below {least:.3f} is noise "
        f"({found.repetitions} measurements {on})"
    )
    console.print(f"Saved in {out}" + ("" if days > 1 else "; measure on other days too, with --add"))
