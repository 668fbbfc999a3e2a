"""How long `edgeprune --help` takes beside a Python that imports click and does nothing, in turns in one run.

python benchmarks/startup.py [--out FILE]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "click alone": [sys.executable, "-c", "import click"],
    "--help": [sys.executable, "-m", "edgeprune", "--help"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(arguments.rounds):
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - began)
    imported = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "edgeprune", "--help"], check=True, capture_output=True, text=True
    ).stderr
    result = {
        "median_s": {name: statistics.median(times) for name, times in seconds.items()},
        "seconds": seconds,
        "imports_torch": any(line.rsplit("|", 1)[-1].strip() == "torch" for line in imported.splitlines()),
    }
    for name, median in result["median_s"].items():
        print(f"{name}: {median:.3f} s")
    print(f"imports torch: {result['imports_torch']}")
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
