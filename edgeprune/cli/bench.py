"""`edgeprune bench`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeprune.cli._device import device_options
from edgeprune.cli._options import FILE, FOLDER, subcommand, target_option

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.records.names import Role
    from edgeprune.records.results import BenchReport
    from edgeprune.tasks.device.connect import Host


@subcommand("bench")
@click.argument("first", metavar="A.onnx", type=FILE)
@click.argument("second", metavar="[B.onnx]", type=FILE, required=False)
@target_option
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Frames per inference.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads of an inference.  [default: the target's]")
@click.option("--rounds", type=click.IntRange(6), help="Number of rounds.  [default: the target's]")
@click.option("--round-ms", type=click.FloatRange(1), help="Length of a round in ms.  [default: the target's]")
@click.option(
    "--processes", type=click.IntRange(1), help="Number of processes that share the rounds.  [default: the target's]"
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    help="Precision of the files.  [default: the target's first]",
)
@device_options
@click.option(
    "--out", type=FOLDER, default=Path("bench"), show_default=True, help="Folder for bench.json and the samples."
)
def command(
    console: "Console",
    first: Path,
    second: Path | None,
    target: str,
    batch: int,
    threads: int | None,
    rounds: int | None,
    round_ms: float | None,
    processes: int | None,
    precision: str | None,
    out: Path,
    host: "Host | None",
    power: dict[str, Any],
) -> None:
    """Measure the latency of A, or of A against B in interleaved rounds, and keep every sample.

    The rounds are shared among several processes, each of which loads both files anew. To compare an older network with
    a newer one, measure both in one session: changes between sessions then cannot disturb the comparison.

    A target that is a device needs --device HOST. Its files must have the batch size that is measured, and be typed for
    the precision, as `edgeprune export` writes them.

    Examples:
        edgeprune bench baseline.onnx pruned.onnx --target host-cpu
        edgeprune bench old.onnx new.onnx --target jetson-orin --device orin --precision fp16
        edgeprune bench pruned.onnx --target host-cpu --threads 1 --rounds 128
    """
    from edgeprune import targets
    from edgeprune.errors import ConfigError
    from edgeprune.files.run_folder import working_in
    from edgeprune.files.store import to_plain, write_json
    from edgeprune.tasks.bench.files import BenchChoices, bench_files
    from edgeprune.tasks.export import precision_of

    chosen = targets.get(target)
    if chosen.on_device != (host is not None):
        found = "is a device" if chosen.on_device else "is measured on this machine"
        raise ConfigError(f"{chosen.name} {found}", "Use --device HOST for targets that are devices, and only for them")
    with working_in(out, known=("bench.json",)):
        if host is None:
            choices = BenchChoices(batch, threads, rounds, round_ms, processes)
            measured = bench_files(first, second, chosen, choices, out, console, precision_of(chosen, precision))
        else:
            from edgeprune.tasks.device.pack import DeviceOptions
            from edgeprune.tasks.device.run import bench_on_device

            options = DeviceOptions(batch, threads, rounds, round_ms, processes, **power)
            models: dict[Role, Path] = {"baseline": first}
            if second is not None:
                models["pruned"] = second
            wanted = precision_of(chosen, precision)
            measured = bench_on_device(host, models, chosen, wanted, options, out, console).bench
        write_json(out / "bench.json", to_plain(measured))
    if console.as_json:
        console.json(to_plain(measured))
    else:
        _table(console, measured, [path.name for path in (first, second) if path])


def _table(console: "Console", measured: "BenchReport", names: list[str]) -> None:
    from edgeprune.api.tables import of_latency

    table = of_latency(measured, names)
    console.table(table.columns, table.rows, table.right)
    for warning in measured.warnings:
        console.print(f"warning: {warning}")
    if measured.speedup is not None:
        console.headline(table.headline)
