"""`data calib`: calibration frames chosen from the train split, stored with a manifest that tells how."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import edgeprune
from edgeprune import datasets
from edgeprune.errors import ConfigError, DataError
from edgeprune.files.run_folder import refuse_foreign
from edgeprune.files.store import file_sha256, write_json
from edgeprune.files.whole import replacing
from edgeprune.frames.labelled import refuse_silent_classes, take_table
from edgeprune.frames.splits import split_sha256, split_table
from edgeprune.protocols import FrameSource, Progress
from edgeprune.records.frames import FrameTable, Reading
from edgeprune.tasks.data import choose as choice

if TYPE_CHECKING:
    from edgeprune.network.model_file import ModelOptions  # which loads torch

_BLOCK_FRAMES = 4096


@dataclass(frozen=True)
class CalibrationChoice:
    """Requested calibration frames.

    Attributes:
        size: Number of frames.
        strategy: One of `choose.STRATEGIES`.
        seed: Seed of the choice.
        split: Method of the split: one of `splits.METHODS`.
        split_seed: Seed of the split.
        model: Model whose outputs give the entropy, for that strategy.
        options: Options for loading that model's file.
    """

    size: int
    strategy: str
    seed: int
    split: str
    split_seed: int
    model: Path | None = None
    options: "ModelOptions | None" = None


def store(
    wanted: CalibrationChoice, data: Path, reading: Reading, out: Path, progress: Progress, compute: str = "cpu"
) -> dict[str, Any]:
    """Choose frames and write `frames.npz` and `manifest.json` to a folder; the manifest as plain values.

    Raises:
        ConfigError: No such file, too few frames, a model missing or given in vain, or `out` cannot be written
            or holds something else.
        DataError: The data cannot be read or split, or the choice lacks a class.
    """
    if (wanted.strategy == "entropy") != (wanted.model is not None):
        raise ConfigError("`strategy='entropy'` takes a `model`, and no other strategy does")
    refuse_foreign(out)
    with datasets.opened(data, reading) as source:
        table = source.table
        progress.stage(f"choose {wanted.size} of {len(table)} frames of {table.source}, {wanted.strategy}")
        parts = split_table(table, wanted.split_seed, wanted.split)
        chosen, model_sha256 = _chosen(wanted, source, parts["train"], progress, compute)
        choice.refuse_gaps(table, chosen, wanted.size, wanted.strategy)
        chosen = np.sort(chosen)
        iq = np.concatenate([block for _, block in _read(source, chosen)])
        some = take_table(table, chosen)
        refuse_silent_classes(some, (iq != 0).any(axis=(1, 2)))
        with replacing(out / "frames.npz") as file:
            np.savez(file, **_arrays(some, iq, chosen))
        manifest = _manifest(wanted, source, some, chosen, out / "frames.npz")
        manifest["source"]["split_sha256"] = split_sha256(parts)
        if model_sha256:
            manifest["model_sha256"] = model_sha256
    write_json(out / "manifest.json", manifest)
    return manifest


def _chosen(
    wanted: CalibrationChoice, source: FrameSource, train: choice.Indices, progress: Progress, compute: str
) -> tuple[choice.Indices, str | None]:
    """Return the chosen frames, and the sha256 of the model whose outputs were used."""
    table, size, seed = source.table, wanted.size, wanted.seed
    if wanted.strategy == "random":
        return choice.at_random(train, size, seed), None
    if wanted.strategy == "stratified":
        return choice.stratified(table, train, size, seed), None
    if wanted.strategy == "high-snr":
        return choice.stratified(table, choice.clear(table, train, table.source), size, seed), None
    assert wanted.model is not None
    from edgeprune.network import checkpoint as checkpoints  # both load torch, which the other strategies do without
    from edgeprune.network.cards import choose
    from edgeprune.train.evaluate import predict

    model = checkpoints.load(wanted.model, wanted.options)
    if table.shape != (model.input.channels, model.input.length):
        raise DataError(
            f"{table.source} holds frames of {table.shape[0]} x {table.shape[1]} samples, "
            f"the network takes {model.input.channels} x {model.input.length}"
        )
    among = choice.candidates(table, train, size, seed)
    chosen = choose(compute)
    progress.note(chosen.sentence)
    with chosen.lent(model.model):
        entropy = [
            choice.entropy_of(predict(model.model, iq, model.input, progress, "frames"))
            for _, iq in _read(source, among)
        ]
    return choice.most_uncertain(table, among, np.concatenate(entropy), size), model.sha256


def _read(source: FrameSource, indices: choice.Indices) -> Iterator[tuple[choice.Indices, npt.NDArray[np.float32]]]:
    """Read the frames at sorted indices, some thousands at a time."""
    for start in range(0, len(indices), _BLOCK_FRAMES):
        some = indices[start : start + _BLOCK_FRAMES]
        runs = np.split(some, np.flatnonzero(np.diff(some) != 1) + 1)
        yield some, np.concatenate([source.read(int(run[0]), int(run[-1]) + 1) for run in runs])


def _arrays(table: FrameTable, iq: npt.NDArray[np.float32], chosen: choice.Indices) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        "iq": iq,
        "labels": table.labels.astype(np.int16),
        "classes": np.array(table.classes),
        "source_index": chosen,
    }
    if table.snrs is not None:
        arrays["snrs"] = table.snrs.astype(np.int16)
    return arrays


def _manifest(
    wanted: CalibrationChoice, source: FrameSource, table: FrameTable, chosen: choice.Indices, file: Path
) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "name": file.parent.name,
        "file": file.name,
        "sha256": file_sha256(file),
        "size_bytes": file.stat().st_size,
        "producer": f"edgeprune {edgeprune.__version__}",
        "source": {
            "file": table.source,
            "sha256": source.sha256(),
            "frames": len(source.table),
            "split": wanted.split,
            "split_seed": wanted.split_seed,
        },
        "strategy": wanted.strategy,
        "seed": wanted.seed,
        "classes": list(table.classes),
        "length": table.shape[1],
        "frames": {"train": len(chosen)},
        "frames_per_class": {name: int((table.labels == label).sum()) for label, name in enumerate(table.classes)},
    }
    if table.snrs is not None:
        snrs, counts = np.unique(table.snrs, return_counts=True)
        manifest["snrs_db"] = [int(snr) for snr in snrs]
        manifest["frames_per_snr"] = {str(snr): int(count) for snr, count in zip(snrs, counts, strict=True)}
    return manifest
