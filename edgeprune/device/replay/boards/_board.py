"""Board that a stand-in program belongs to, and its output."""

import hashlib
import json
import os
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = "EDGEPRUNE_BOARD"
"""Variable with the folder of `board.json` and the state of the board."""
HASTE = 10
"""A second on a replayed board lasts a tenth of a second."""

_HOT_RUNS = range(5, 9)


@dataclass(frozen=True)
class Board:
    """Replayed board.

    Attributes:
        folder: Folder of the board.
        said: Content of the board's file.
        faults: Faults to simulate.
    """

    folder: Path
    said: dict[str, Any]
    faults: frozenset[str]

    @property
    def version(self) -> int:
        """TensorRT version: major * 10000 + minor * 100 + patch."""
        major, minor, patch = (int(part) for part in str(self.said["tensorrt"]).split(".")[:3])
        return major * 10000 + minor * 100 + patch

    def times(self, what: str) -> int:
        """Count how often something was requested, this time included; for events that happen once, or later."""
        counter = self.folder / f"{what}.count"
        count = int(counter.read_text()) + 1 if counter.exists() else 1
        counter.write_text(str(count))
        return count

    def throttled(self) -> bool:
        """Whether the clock is reduced: in four of every 32 timed runs."""
        counter = self.folder / "timed.count"
        return "throttled" in self.faults and counter.exists() and int(counter.read_text()) % 32 in _HOT_RUNS

    def worker(self) -> int | None:
        """Return the process that its GPU computes for, or None while it is idle."""
        try:
            process = int((self.folder / "busy").read_text())
            os.kill(process, 0)
        except (OSError, ValueError):
            return None
        return process

    def busy(self) -> bool:
        """Whether its GPU computes."""
        return self.worker() is not None

    def note_reading(self, worker: int) -> None:
        """Count a reading that tegrastats printed while the GPU computed for a process."""
        (self.folder / "readings").write_text(f"{worker} {self.readings_of(worker) + 1}")

    def readings_of(self, worker: int) -> int:
        """Return how many readings tegrastats has printed while the GPU computed for a process."""
        try:
            process, count = map(int, (self.folder / "readings").read_text().split())
        except (OSError, ValueError):
            return 0
        return count if process == worker else 0


def here() -> Board:
    """Return the board of this process."""
    folder = Path(os.environ[FOLDER])
    plain = json.loads((folder / "board.json").read_text(encoding="utf-8"))
    return Board(folder, plain, frozenset(plain["faults"]))


def wait(seconds: float) -> None:
    """Wait for a time on the board's clock."""
    time.sleep(seconds / HASTE)


def say(level: str, text: str) -> None:
    """Print one line of TensorRT's log: information to standard output, warnings and errors to standard error."""
    stamp = datetime.now().astimezone().strftime("%m/%d/%Y-%H:%M:%S")
    stream = sys.stdout if level in "IV" else sys.stderr
    stream.write(f"[{stamp}] [{level}] {text}\n")
    stream.flush()


def generator(*seeds: object) -> np.random.Generator:
    """Create a random generator from seeds."""
    digest = hashlib.sha256(repr(seeds).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))
