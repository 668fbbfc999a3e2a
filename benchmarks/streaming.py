"""A set larger than memory: throughput of training from its file / from memory, and the peak memory of the commands.

    python benchmarks/streaming.py [--gigabytes N] [--folder DIR] [--out FILE]

The ratio is of epochs of the trainer on ulcnn, in turns in one run; the file leaves the page cache before each of its
epochs. The peak is the largest resident set of `train`, `eval` and `data calib`, each a process of its own, on a file
of that size, which is removed afterwards.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from edgeprune import datasets
from edgeprune.datasets.frames_hdf5 import writing
from edgeprune.files.store import write_json
from edgeprune.network.checkpoint import build
from edgeprune.protocols import NullProgress
from edgeprune.records.frames import FrameTable
from edgeprune.records.pruning import Arch, InputSpec
from edgeprune.tasks.data.frames import splits_of
from edgeprune.tasks.train import training_data
from edgeprune.train import precision
from edgeprune.train.feed import StreamedData
from edgeprune.train.finetune import Recipe, train

LENGTH, CLASSES, BATCH = 128, 11, 256
FRAME_BYTES = 8 * LENGTH
RATIO_FRAMES, RATIO_WINDOW_BYTES = 6144, 1 << 21
BANK = 1 << 16
TARGET_RATIO, TARGET_PEAK_GB = 0.9, 4.0


def write_frames(path: Path, count: int, held_out: float) -> None:
    """Tones in noise, sorted by class: one frequency a class; a share held out for validation and one for the test."""
    generator = np.random.default_rng(0)
    labels = np.arange(count) * CLASSES // count
    split = np.searchsorted([held_out, 2 * held_out], generator.random(count), side="right")
    table = FrameTable(
        labels=labels,
        snrs=np.zeros(count, dtype=np.int64),
        classes=tuple(f"tone {number:02}" for number in range(CLASSES)),
        split=np.array([1, 2, 0], dtype=np.int8)[split],
        source=path.name,
        shape=(2, LENGTH),
    )
    angle = 2 * np.pi * np.outer(np.arange(CLASSES) + 1, np.arange(LENGTH)) / LENGTH
    tones = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    noise = generator.standard_normal((BANK, 2, LENGTH), dtype=np.float32)
    with writing(path, table, {"producer": "benchmarks/streaming.py"}) as append:
        for start in range(0, count, BANK):
            some = labels[start : start + BANK]
            iq = tones[some]
            iq += noise[: len(some)]
            iq *= generator.uniform(0.5, 2, (len(some), 1, 1)).astype(np.float32)  # no two frames are the same
            append(iq)


def forget(path: Path) -> None:
    """Take a file out of the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def throughput(folder: Path, rounds: int) -> dict[str, object]:
    """Frames a second of the trainer from memory and from HDF5, in turns."""
    path = folder / "ratio.h5"
    write_frames(path, RATIO_FRAMES * 100 // 98, 0.01)
    shape = InputSpec(2, LENGTH)
    parts = splits_of(datasets.read(path), 0)
    memory = training_data(parts, shape)
    stored = training_data(splits_of(datasets.read_or_keep(path, None, lambda _table: True), 0), shape)
    assert isinstance(stored, StreamedData)
    feeds = {"memory": memory, "hdf5": replace(stored, window_bytes=RATIO_WINDOW_BYTES)}
    seconds: dict[str, list[float]] = {name: [] for name in feeds}
    for turn in range(rounds + 1):
        for name, feed in feeds.items() if turn % 2 else reversed(feeds.items()):
            torch.manual_seed(0)
            model = build(Arch("ulcnn", {"channels": 2, "length": LENGTH, "classes": CLASSES}))
            forget(path)
            began = time.perf_counter()
            train(model, feed, Recipe(1, BATCH), NullProgress())
            if turn:  # the first warms up
                seconds[name].append(time.perf_counter() - began)
    ratios = [one / other for one, other in zip(seconds["memory"], seconds["hdf5"], strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "frames": memory.frames,
        "windows": -(-memory.frames * FRAME_BYTES // RATIO_WINDOW_BYTES),
        "frames_per_s": {name: memory.frames / statistics.median(times) for name, times in seconds.items()},
        "seconds": seconds,
    }


def measured(command: list[str]) -> dict[str, object]:
    """Run a command of edgeprune; its wall time and largest resident set."""
    began = time.perf_counter()
    process = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-m", "edgeprune", *command])
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"edgeprune {' '.join(command)} failed")
    found = {"peak_gb": usage.ru_maxrss * 1024 / 1e9, "seconds": time.perf_counter() - began}
    print(f"{command[0]}: {found['peak_gb']:.2f} GB at most, {found['seconds']:.0f} s")
    return found


def large(folder: Path, gigabytes: float, frames: int) -> dict[str, object]:
    """Peak memory of the commands on a file of that size."""
    path, model = folder / "big.h5", folder / "model.pt"
    began = time.perf_counter()
    write_frames(path, round(gigabytes * 1e9) // FRAME_BYTES, 0.0025)
    print(f"wrote {path.stat().st_size / 1e9:.2f} GB in {time.perf_counter() - began:.0f} s")
    forget(path)
    learn = ["--epochs", "1", "--frames", str(frames), "--batch-size", str(BATCH)]
    commands = {
        "train": ["train", "--model", "ulcnn", "--data", str(path), "--out", str(model), "--stream", *learn],
        "eval": ["eval", str(model), "--data", str(path), "--stream"],
        "calib": ["data", "calib", str(path), "--size", "1024", "--out", str(folder / "calib")],
    }
    found = {name: measured([*command, "-q"]) for name, command in commands.items()}
    return {"file_gb": path.stat().st_size / 1e9, "train_frames": frames, "commands": found}


@contextmanager
def scratch(folder: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=folder, prefix="streaming-") as name:
        yield Path(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=8.2, help="size of the large file, or 0 (default: 8.2)")
    parser.add_argument("--frames", type=int, default=70_000, help="to train on of that (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where the files are made (default: the temporary folder)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    chosen = parser.parse_args()
    with scratch(chosen.folder) as folder:
        speed = throughput(folder, chosen.rounds)
        print(f"training from HDF5 / from memory: {speed['ratio']:.3f} of its throughput, target {TARGET_RATIO}")
        size = large(folder, chosen.gigabytes, chosen.frames) if chosen.gigabytes else None
    if chosen.out:
        about = {
            "precision": precision.mixed(torch.device("cpu")),
            "threads": torch.get_num_threads(),
            "target_ratio": TARGET_RATIO,
        }
        peaks = {"large": size, "target_peak_gb": TARGET_PEAK_GB} if size else {}
        write_json(chosen.out, {**speed, **peaks, **about})


if __name__ == "__main__":
    main()
