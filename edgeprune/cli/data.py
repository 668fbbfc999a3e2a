"""`edgeprune data`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeprune.cli._help import CommandGroup
from edgeprune.cli._model import model_options
from edgeprune.cli._options import (
    FILE,
    FOLDER,
    compute_option,
    global_options,
    reading_options,
    seed_option,
    subcommand,
)

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.network.model_file import ModelOptions
    from edgeprune.records.frames import Reading

ANY_PATH = click.Path(path_type=Path)
_LARGEST_SNR = 200


@global_options
@click.group("data", cls=CommandGroup)
def command() -> None:
    """Describe, convert and generate data sets, and choose calibration frames."""


@subcommand("info")
@click.argument("path", type=ANY_PATH)
@reading_options
def _info(console: "Console", path: Path, reading: "Reading") -> None:
    """Show the classes, SNRs, counts, shape, scale and faults of the data set at PATH.

    Examples:
        edgeprune data info RML2016.10a_dict.pkl
        edgeprune data info recordings/ --length 1024
        edgeprune data info frames.h5 --json
    """
    from edgeprune.tasks.data.info import describe

    about = describe(path, reading, console)
    if console.as_json:
        console.json(about)
    else:
        _tables(console, about)


def _tables(console: "Console", about: dict[str, Any]) -> None:
    channels, length = about["shape"]
    console.headline(
        f"{about['frames']} frames of {channels} x {length} samples, {len(about['classes'])} classes "
        f"({about.get('set', about['format'])})"
    )
    rows = [("sha256", about["sha256"])]
    if "snrs_db" in about:
        rows.append(("SNRs in dB", ", ".join(map(str, about["snrs_db"]))))
    rows += [(name.replace("_", " "), f"{value:.4g}") for name, value in about["scale"].items()]
    rows += [(f"{name} frames", str(count)) for name, count in about.get("split", {}).items()]
    rows += [(name, str(about[name])) for name in ("recordings", "groups") if name in about]
    if "order" in about:
        order = about["order"]
        rows.append(("correlation of neighbors", f"{order['correlation']:.2g} (p {order['p_value']:g})"))
    if "licence" in about:
        rows.append(("license", about["licence"]))
    if "provenance" in about:
        rows.append(("made from", f"{about['provenance'].get('source', '?')}"))
    console.table(("what", "found"), rows)
    console.print()
    counts = []
    for name, found in about["counts"].items():
        each = [count for snr, count in found.items() if snr != "all"]
        per_snr = f"{min(each)} to {max(each)}" if each and min(each) != max(each) else str(each[0]) if each else ""
        counts.append((name, str(found["all"]), per_snr, f"{about['rms_by_class'].get(name, 0):.4g}"))
    console.table(("class", "frames", "at each SNR", "rms"), counts, right=("frames", "at each SNR", "rms"))
    for title, lines in (
        ("known fault of this set", about["known_faults"]),
        ("fault found in this file", about["found_faults"]),
        ("notes", about["notes"]),
        ("skipped", about["skipped"]),
    ):
        for line in lines:
            console.print(f"{title}: {line}")


@subcommand("convert")
@click.argument("path", metavar="IN", type=ANY_PATH)
@click.argument("out", type=FILE)
@click.option("--drop-duplicates", is_flag=True, help="Keep only the first of identical frames.")
@reading_options
def _convert(console: "Console", path: Path, out: Path, drop_duplicates: bool, reading: "Reading") -> None:
    """Write the data set IN to OUT.h5, and record where it came from.

    OUT.h5 is read from disk as fast as from memory.

    Examples:
        edgeprune data convert RML2016.10a_dict.pkl frames.h5
        edgeprune data convert recordings/ frames.h5 --length 1024 --sample-rate-hz 200e3
        edgeprune data convert frames.npz frames.h5 --drop-duplicates
    """
    from edgeprune.tasks.data.convert import convert

    written = convert(path, out, reading, drop_duplicates, console)
    if console.as_json:
        console.json(written)
    else:
        for line in (*written["provenance"]["notes"], *written["provenance"]["skipped"]):
            console.note(line)
        console.print(f"{written['path']}: {written['frames']} frames, sha256 {written['sha256']}")


def _snr_list(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """SNRs as 10, as -4,0,10 or as a range with its step, -20:18:2."""
    if text is None:
        return None
    try:
        if ":" in text:
            first, last, step = (int(part) for part in text.split(":"))
            snrs = tuple(range(first, last + 1, step))
        else:
            snrs = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a list of whole numbers; for example 10,12 or -20:18:2") from error
    if not snrs or any(abs(snr) > _LARGEST_SNR for snr in snrs):
        raise click.BadParameter(f"{text!r} is not a list of SNRs within {_LARGEST_SNR} dB")
    return snrs


@subcommand("synth")
@click.option(
    "--recipe",
    type=click.Choice(["2016", "2018", "sig2019"]),
    required=True,
    help="Data set whose modulations, channel and length are used: RadioML 2016.10A, RadioML 2018.01A or Sig2019-12.",
)
@click.option("--out", type=FILE, required=True, help="File to write: .h5, .npz, or .pkl in RadioML's format.")
@click.option(
    "--frames-per",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Frames per class and SNR.",
)
@click.option("--snr", callback=_snr_list, help="SNRs in dB: 10 or -4,0,10 or -20:18:2.  [default: the recipe's]")
@click.option("--quirks", is_flag=True, help="Include the known faults of the published set.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Number of threads; the frames do not depend on it.  [default: one per CPU]",
)
@seed_option
def _synth(
    console: "Console",
    recipe: str,
    out: Path,
    frames_per: int,
    snr: tuple[int, ...] | None,
    quirks: bool,
    workers: int | None,
    seed: int,
) -> None:
    """Generate frames like those of a published data set, from bits and a speech-like signal.

    The same seed gives the same file.

    Examples:
        edgeprune data synth --recipe 2016 --out frames.h5
        edgeprune data synth --recipe 2016 --snr 0,10 --frames-per 100 --out frames.npz
        edgeprune data synth --recipe sig2019 --seed 1 --out frames.h5
    """
    from edgeprune.tasks.data.synth import Order, synthesise

    made = synthesise(Order(recipe, frames_per, snr, seed, quirks, workers), out, console)
    if console.as_json:
        console.json(made)
    else:
        console.print(
            f"{made['path']}: {made['frames']} frames of {len(made['classes'])} classes, sha256 {made['sha256']}"
        )


@subcommand("calib")
@click.argument("data", type=ANY_PATH)
@click.option("--size", type=click.IntRange(1), required=True, help="Number of frames.")
@click.option(
    "--strategy",
    type=click.Choice(["random", "stratified", "entropy", "high-snr"]),
    default="stratified",
    show_default=True,
    help="random: any frames; stratified: equally many of each class and SNR; entropy: those --model is least sure of; "
    "high-snr: as stratified, but only from 10 dB up.",
)
@click.option("--model", type=FILE, help="Model that computes the entropy of its outputs, for --strategy entropy.")
@click.option("--out", type=FOLDER, required=True, help="Folder for frames.npz and manifest.json.")
@click.option(
    "--split",
    default="auto",
    show_default=True,
    help="Method of the data split; frames are taken from the train split.",
)
@click.option(
    "--split-seed", type=click.IntRange(0, 2**31), default=2016, show_default=True, help="Random seed of the split."
)
@compute_option
@seed_option
@model_options
@reading_options
def _calib(
    console: "Console",
    data: Path,
    size: int,
    strategy: str,
    model: Path | None,
    out: Path,
    split: str,
    split_seed: int,
    compute: str,
    seed: int,
    reading: "Reading",
    options: "ModelOptions",
) -> None:
    """Choose calibration frames for int8 from the train split of DATA, and write them with a manifest.

    Examples:
        edgeprune data calib frames.pkl --size 512 --out calibration
        edgeprune data calib frames.pkl --strategy entropy --model model.pt --size 512 --out calibration
        edgeprune data calib frames.pkl --strategy high-snr --size 512 --out calibration
    """
    from edgeprune.tasks.data.calibrate import CalibrationChoice, store

    wanted = CalibrationChoice(size, strategy, seed, split, split_seed, model, options)
    manifest = store(wanted, data, reading, out, console, compute)
    if console.as_json:
        console.json(manifest)
    else:
        per_class = manifest["frames_per_class"].values()
        console.print(
            f"{out}: {size} frames, {min(per_class)} to {max(per_class)} of each class, sha256 {manifest['sha256']}"
        )


for each in (_info, _convert, _synth, _calib):
    command.add_command(each)
