"""Run folders for the gate: a real report whose latencies are made anew, with samples that fit them."""

import copy
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.bench.protocol import Setup, conclude
from edgeprune.files.store import to_plain, write_json

ROOT = Path(__file__).parents[2]
REAL = ROOT / "docs" / "results" / "resnet56-1d-third"
DEVICE = {
    "board": "Some Board",
    "cpu": "A78",
    "power_mode": "25W",
    "clocks_locked": True,
    "load_average": [0.1, 0.2, 0.3],
    "runtime": {"name": "onnxruntime", "version": "1.20.1"},
}
SETUP = Setup("onnxruntime", "sync", "fp32", 1, 1, DEVICE)
BASELINE_MS = 0.4


@cache
def _real() -> str:
    return (REAL / "report.json").read_text()


def times(
    median_ms: float, seed: int, rounds: int = 24, each: int = 40, machine: np.ndarray | None = None
) -> list[Any]:
    """Times of a model: `machine` is what slows each round, as a factor."""
    random = np.random.default_rng(seed)
    level = np.ones(rounds) if machine is None else machine
    return [median_ms * one * (1 + 0.02 * random.gamma(2.0, 0.2, each)) for one in level]


def write(
    folder: Path,
    pruned_ms: float = 0.15,
    seed: int = 0,
    rounds: int = 24,
    each: int = 40,
    machine: np.ndarray | None = None,
    setup: Setup = SETUP,
    builds: Sequence[int] | None = None,
    processes: int = 5,
    **fields: Any,
) -> Path:
    """Write report.json and its samples; `fields` replace keys of the report, dotted names with '__' for the dot."""
    made = {
        "baseline": times(BASELINE_MS, 2 * seed, rounds, each, machine),
        "pruned": times(pruned_ms, 2 * seed + 1, rounds, each, machine),
    }
    folder.mkdir(parents=True, exist_ok=True)
    document = copy.deepcopy(json.loads(_real()))
    shares = np.array_split(np.arange(rounds), rounds if builds else processes)
    of_round = [number for number, share in enumerate(shares, 1) for _ in share]
    bench = to_plain(conclude(made, {"baseline": "a" * 64, "pruned": "b" * 64}, setup, (), folder, of_round, builds))
    document["device"] = bench.pop("device")
    bench.pop("warnings")
    document["latency"] = bench
    document["created"] = f"2026-01-{1 + seed % 28:02d}T00:00:00+00:00"
    for name, value in fields.items():
        place = document
        *parents, last = name.split("__")
        for parent in parents:
            place = place[parent]
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    path = folder / "report.json"
    write_json(path, document)
    return path


def edit(path: Path, name: str, value: Any) -> None:
    """Change one field of a report by hand."""
    document = json.loads(path.read_text())
    *parents, last = name.split(".")
    place = document
    for parent in parents:
        place = place[parent]
    place[last] = value
    path.write_text(json.dumps(document))


def remove(path: Path, name: str) -> None:
    """Take one field out of a report, as in those of older versions."""
    document = json.loads(path.read_text())
    *parents, last = name.split(".")
    place = document
    for parent in parents:
        place = place[parent]
    del place[last]
    path.write_text(json.dumps(document))
