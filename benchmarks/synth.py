"""How many frames of 128 samples `edgeprune data synth` makes in a second, by the recipe of RadioML 2016.10A.

    python benchmarks/synth.py [--workers N] [--rounds N] [--out FILE.json]

The target is 20,000 frames a second on two cores.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

from edgeprune.bench import machine
from edgeprune.files.store import write_json
from edgeprune.synth.generate import generate, pieces_of
from edgeprune.synth.recipes import recipe

TARGET = 20_000
FRAMES_PER_CELL = 1000  # as in the published set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    chosen = parser.parse_args()
    made_by = recipe("2016", quirks=False)
    pieces = pieces_of(made_by, made_by.snrs, FRAMES_PER_CELL)
    rates, per_cpu_s = [], []
    for number in range(chosen.rounds):
        began, busy = time.perf_counter(), time.process_time()
        frames = sum(len(iq) for iq in generate(made_by, pieces, number, chosen.workers))
        rates.append(frames / (time.perf_counter() - began))
        per_cpu_s.append(frames / (time.process_time() - busy))
        print(
            f"{frames} frames by {chosen.workers} workers: {rates[-1]:.0f} a second, {per_cpu_s[-1]:.0f} a CPU second"
        )
    median = statistics.median(rates)
    print(f"median {median:.0f} a second; target, {TARGET}: {'met' if median >= TARGET else 'missed'}")
    if chosen.out:
        plain = {
            "benchmark": "synth",
            "frames_per_second": rates,
            "frames_per_cpu_second": per_cpu_s,
            "median": median,
            "workers": chosen.workers,
            "target": TARGET,
            "target_met": median >= TARGET,
            "load_average": os.getloadavg()[0],
            "device": machine.facts({}),
        }
        write_json(chosen.out, plain)


if __name__ == "__main__":
    main()
