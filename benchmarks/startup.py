"""How long `edgeprune --help` and a whole `edgeprune check` take, beside Pythons that do less, in turns in one run.

python benchmarks/startup.py [--out FILE]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPORT = Path(__file__).parents[1] / "docs" / "results" / "resnet56-1d-third" / "report.json"
BUDGET = """[targets.host-cpu]
max_median_ms = 0.5
max_p99_ms = 1.0
min_speedup = 2.0
max_accuracy_drop = 0.05
"""


def measured(check: list[str], rounds: int) -> dict[str, Any]:
    """Seconds of whole processes, and whether one of ours imports torch."""
    commands = {
        "nothing": [sys.executable, "-c", "pass"],
        "click alone": [sys.executable, "-c", "import click"],
        "NumPy alone": [sys.executable, "-c", "import numpy"],
        "--help": [sys.executable, "-m", "edgeprune", "--help"],
        "check, until it has its budget": [sys.executable, "-m", "edgeprune", *check[:-1], "missing.toml"],
        "check": [sys.executable, "-m", "edgeprune", *check],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, check="missing.toml" not in command, capture_output=True)
            seconds[name].append(time.perf_counter() - began)
    ratios = [ours / theirs for ours, theirs in zip(seconds["check"], seconds["NumPy alone"], strict=True)]
    return {
        "median_s": {name: statistics.median(times) for name, times in seconds.items()},
        "least_s": {name: min(times) for name, times in seconds.items()},
        "check_over_numpy": statistics.median(ratios),
        "seconds": seconds,
        "imports_torch": any(imports_torch(words) for words in (["--help"], check)),
    }


def imports_torch(words: list[str]) -> bool:
    command = [sys.executable, "-X", "importtime", "-m", "edgeprune", *words]
    imported = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    return any(line.rsplit("|", 1)[-1].strip() == "torch" for line in imported.splitlines())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        budget = Path(place) / "edgeprune.toml"
        budget.write_text(BUDGET)
        check = ["check", str(REPORT), "--budget", str(budget)]
        result = measured(check, arguments.rounds)
    for name, median in result["median_s"].items():
        print(f"{name}: {median:.3f} s, fastest {result['least_s'][name]:.3f} s")
    print(f"check over a Python that imports NumPy: {result['check_over_numpy']:.2f}")
    print(f"imports torch: {result['imports_torch']}")
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
