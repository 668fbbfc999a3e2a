"""Frames a second that two processes train at, beside one: one thread each, over gloo, on two free cores.

    python benchmarks/processes.py [--out FILE]

Each is a process of its own, so that one has one thread too; the seconds are those of the epochs, without the start.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from edgeprune.network.checkpoint import build
from edgeprune.network.compute import device_of
from edgeprune.protocols import NullProgress
from edgeprune.records.pruning import Arch
from edgeprune.train.feed import TrainingData
from edgeprune.train.finetune import Recipe, learn_along, train
from edgeprune.train.parallel import follow, joined

FRAMES, EPOCHS = 4096, 4


def learn(name: str, batch: int, out: Path) -> None:
    """Train, and write the seconds of every epoch after the first."""
    torch.manual_seed(0)
    network = build(Arch(name, {"channels": 2, "length": 128, "classes": 11}))
    iq, labels = torch.randn(FRAMES, 2, 128), torch.arange(FRAMES) % 11
    data = TrainingData(iq, labels, iq[:16], labels[:16])
    result = train(network, data, Recipe(EPOCHS, batch), NullProgress())
    assert device_of(network).type == "cpu"
    out.write_text(json.dumps([each.seconds for each in result.epochs[1:]]))


def measured(name: str, batch: int, count: int) -> float:
    """Frames a second of so many processes."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1] + 1)}
        out = Path(folder) / "seconds"
        command = [sys.executable, __file__, "--learn", name, str(batch), str(out)]
        running = [
            subprocess.Popen(
                command,
                env={**os.environ, **address, "OMP_NUM_THREADS": "1", "RANK": str(rank), "WORLD_SIZE": str(count)},
            )
            for rank in range(count)
        ]
        if any(each.wait() for each in running):
            sys.exit("a process failed")
        return FRAMES / statistics.median(json.loads(out.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", action="append", help="Any of edgeprune's, several times for several.")
    parser.add_argument("--batch-size", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--learn", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.learn:
        with joined() as processes:
            if processes.rank:
                follow(processes, learn_along)
            else:
                learn(arguments.learn[0], int(arguments.learn[1]), Path(arguments.learn[2]))
        return
    found = []
    for name in arguments.network or ["resnet56-1d", "resnet56"]:
        for batch in arguments.batch_size or [256, 1024]:
            rates: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(arguments.rounds):
                for count, several in rates.items():
                    several.append(measured(name, batch, count))
            ratio = statistics.median(rates[2]) / statistics.median(rates[1])
            found.append({"network": name, "batch": batch, "ratio": ratio, "frames_per_s": rates})
            print(f"{name}, batch {batch}: two processes train at {ratio:.2f} times the rate of one")
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
