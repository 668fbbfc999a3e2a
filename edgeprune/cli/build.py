"""`edgeprune build`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeprune.cli._device import ssh_config_option
from edgeprune.cli._options import FILE, subcommand, target_option

if TYPE_CHECKING:
    from edgeprune.cli._console import Console


@subcommand("build")
@click.argument("model", type=FILE)
@target_option
@click.option("--out", type=FILE, required=True, help="Engine file to write.")
@click.option("--timing-cache", type=FILE, help="File of measured tactics, read and updated; TensorRT only.")
@click.option(
    "--max-batch",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="Largest batch, for models with a dynamic batch.",
)
@click.option("--device", metavar="HOST", help="Device to build on, for a target that is a device.")
@ssh_config_option
def command(
    console: "Console",
    model: Path,
    target: str,
    out: Path,
    timing_cache: Path | None,
    max_batch: int,
    device: str | None,
    ssh_config: Path | None,
) -> None:
    """Build an engine from the exported MODEL: with TensorRT on this machine, ahead of time with TensorRT-RTX, or on a
    device with its own trtexec.

    Examples:
        edgeprune build pruned.onnx --target jetson-orin --device orin --out pruned.engine
        edgeprune build pruned.onnx --target jetson-orin --device replay:orin-nano-jp62 --out pruned.engine
        edgeprune build pruned.onnx --target TARGET.toml --max-batch 8 --out pruned.engine
    """
    from edgeprune import targets
    from edgeprune.files.store import to_plain
    from edgeprune.tasks.export import build_engine

    if device is not None:
        from edgeprune.tasks.device.connect import Host
        from edgeprune.tasks.device.run import build_on_device

        there = build_on_device(Host(device, ssh_config), model, targets.get(target), out, console)
        if console.as_json:
            console.json({"path": str(out), **to_plain(there)})
        else:
            took = "from the device's cache" if there.build_s is None else f"in {there.build_s:.1f} s"
            console.headline(f"{there.size_bytes:,} bytes {took} on {device}: {out}")
        return
    built = build_engine(model, targets.get(target), out, console, timing_cache, max_batch)
    if console.as_json:
        console.json(to_plain(built))
        return
    least, most = built.batches
    console.headline(f"{built.size_bytes:,} bytes in {built.build_s:.1f} s by {built.runtime} {built.version}: {out}")
    frames = f"{least} to {most} frames" if least < most else f"{most} frame{'s' if most > 1 else ''}"
    place = (
        f"GPUs of compute capability {built.compute_capability}" if built.compute_capability else "this machine's GPU"
    )
    console.print(f"It takes {frames} per inference and runs only on {place}, with that version")
