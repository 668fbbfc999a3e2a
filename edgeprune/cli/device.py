"""`edgeprune device`."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeprune.cli._device import ssh_config_option
from edgeprune.cli._help import CommandGroup
from edgeprune.cli._options import FILE, FOLDER, global_options, subcommand

if TYPE_CHECKING:
    from edgeprune.cli._console import Console


@global_options
@click.group("device", cls=CommandGroup)
def command() -> None:
    """Show a device, and measure on one that this machine cannot reach."""


@subcommand("probe")
@click.argument("host")
@ssh_config_option
@click.option("--target", help="Also check that the device meets this target's requirements.")
def _probe(console: "Console", host: str, ssh_config: Path | None, target: str | None) -> None:
    """Show the hardware and software of the device HOST; installs and changes nothing on it.

    Examples:
        edgeprune device probe orin --target jetson-orin
        edgeprune device probe replay:orin-nano-jp62
        edgeprune device probe pi@192.168.1.20 --json
    """
    from edgeprune import targets
    from edgeprune.device.probe import needs_of, probe, refuse
    from edgeprune.files.store import to_plain
    from edgeprune.tasks.device.connect import Host, reached

    chosen = None if target is None else targets.get(target)
    with reached(Host(host, ssh_config)) as transport:
        facts = probe(transport)
    known = {name: value for name, value in to_plain(facts).items() if value not in (None, {})}
    if console.as_json:
        console.json({"host": host, **known})
    else:
        console.table(("fact", "value"), [(name.replace("_", " "), _shown(value)) for name, value in known.items()])
    if chosen is not None:
        refuse(facts, needs_of(chosen))
        console.note(f"{host} meets the requirements of {chosen.name}")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {text}" for key, text in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


@subcommand("list")
@ssh_config_option
def _list(console: "Console", ssh_config: Path | None) -> None:
    """List the hosts of your SSH configuration and the recorded boards.

    Examples:
        edgeprune device list
    """
    from edgeprune.device.replay import transport as replay
    from edgeprune.device.ssh.config import hosts

    found = [(name, "ssh") for name in hosts(ssh_config)]
    found += [("local", "this machine")]
    found += [(f"{replay.PREFIX}{name}", replay.read(name).title) for name in replay.names()]
    if console.as_json:
        console.json({"devices": [{"name": name, "what": what} for name, what in found]})
    else:
        console.table(("device", "what it is"), found)


@subcommand("bundle")
@click.argument("run", type=FOLDER)
@click.option("--out", type=FILE, help="Tar file to write.  [default: the one in RUN]")
def _bundle(console: "Console", run: Path, out: Path | None) -> None:
    """Write the bundle of the run folder RUN, a measurement to be copied to a device by hand.

    Examples:
        edgeprune device bundle runs/model-jetson-orin --out bundle.tar
    """
    from edgeprune.files.whole import replacing
    from edgeprune.tasks.device.run import BUNDLE, own_bundle

    source = run / BUNDLE
    manifest = own_bundle(source)
    if out is not None:
        with source.open("rb") as there, replacing(out) as file:
            shutil.copyfileobj(there, file)
    path = out or source
    if console.as_json:
        console.json({"bundle": str(path), "id": manifest.id, "target": manifest.assignment.target})
        return
    console.headline(f"{path} ({path.stat().st_size:,} bytes) for {manifest.assignment.target}")
    console.print(f"On the device:  tar xf {path.name} && cd {manifest.folder} && sh run.sh")
    console.print(f"Then here:      edgeprune device collect {run} {manifest.result}")


@subcommand("collect")
@click.argument("run", type=FOLDER)
@click.argument("result", type=FILE)
def _collect(console: "Console", run: Path, result: Path) -> None:
    """Add the RESULT of a bundle that was run by hand to the run folder RUN, and write its report again.

    Examples:
        edgeprune device collect runs/model-jetson-orin result.tar
    """
    from edgeprune.cli._job import finish
    from edgeprune.pipeline import collect_into

    finish(console, collect_into(run, result), run)


for each in (_probe, _list, _bundle, _collect):
    command.add_command(each)
