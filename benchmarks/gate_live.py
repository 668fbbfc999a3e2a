"""Does the gate hold on this machine? One pruned network measured again and again, then with one unit put back.

    python benchmarks/gate_live.py [--repetitions N] [--rounds N] [--round-ms MS] [--work DIR] [--out FILE.json]

Every measurement is a whole process of `edgeprune prune-and-export`, whose other stages are reused, so that what
differs from one process to the next is in it too. Each report is checked against the first one of the smaller network,
and every two of those against one another.
"""

import argparse
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edgeprune.files.store import now, to_plain, write_json
from edgeprune.gate import evidence, noise, regression
from edgeprune.gate.budget import Limits
from edgeprune.gate.evidence import Evidence

MODEL = Path(__file__).parents[1] / "examples" / "resnet56-1d-gr2016a.pt"
KEPT = 11
THRESHOLD = 0.025
TARGET = """
name = "gate-live"
description = "this machine"
runtime = "onnxruntime"
opset = 18
precisions = ["fp32"]
[bench]
rounds = {rounds}
round_ms = {round_ms}
"""


def measured(keep: int, repetitions: int, target: Path, work: Path) -> list[Evidence]:
    """Reports of the network with so many units, each measured by a process of its own."""
    run, found = work / f"keep-{keep}", []
    command = ["prune-and-export", str(MODEL), "--target", str(target), "--keep", str(keep), "--epochs", "1"]
    for number in range(repetitions):
        for record in run.glob("*-bench.json"):
            record.unlink()
        subprocess.run(
            [sys.executable, "-m", "edgeprune", *command, "--out", str(run), "--quiet"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        copy = work / f"keep-{keep}-{number:02d}"
        copy.mkdir()
        for name in ("report.json", "samples-baseline.npz", "samples-pruned.npz"):
            shutil.copy(run / name, copy / name)
        found.append(evidence.read(copy / "report.json"))
        latency = found[-1].report.latency
        assert latency is not None
        assert latency.pruned is not None
        print(f"{keep} units, measurement {number + 1}: {latency.pruned.median_ms:.4f} ms", flush=True)
    return found


def outcomes(pairs: Sequence[tuple[Evidence, Evidence]]) -> tuple[Counter[str], list[float]]:
    """What the gate says of (before, after), and the shifts it sees."""
    limits, told, shifts = Limits(max_regression=THRESHOLD), Counter[str](), []
    for before, after in pairs:
        comparison = regression.compare(before, after, limits.alpha, None)
        check = regression.check_of(comparison, limits)
        assert check is not None
        told[check.outcome] += 1
        if isinstance(comparison, regression.SessionComparison):
            shifts.append(comparison.shift.share)
    return told, shifts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=64, help="(default: %(default)s)")
    parser.add_argument("--round-ms", type=float, default=60.0, help="(default: %(default)s)")
    parser.add_argument("--work", type=Path, help="keep the runs in this folder")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        work = chosen.work or Path(place)
        work.mkdir(parents=True, exist_ok=True)
        target = work / "gate-live.toml"
        target.write_text(TARGET.format(rounds=chosen.rounds, round_ms=chosen.round_ms))
        same = measured(KEPT, chosen.repetitions, target, work)
        larger = measured(KEPT + 1, chosen.repetitions, target, work)
    first = same[0]
    sessions = [each.session for each in same if each.session is not None]
    floors = noise.calibrate(sessions, first.report.target, first.model, now())
    result = {}
    for name, pairs in (
        ("measured again", [(first, each) for each in same[1:]]),
        ("any two", list(itertools.permutations(same, 2))),
        ("one unit put back", [(first, each) for each in larger]),
    ):
        told, shifts = outcomes(pairs)
        result[name] = {"outcomes": dict(told), "shifts": shifts}
        print(f"{name}: {dict(told)}, shifts {min(shifts):+.2%} to {max(shifts):+.2%}")
    for way, floor in floors.floors.items():
        print(f"noise floor, {way}: {floor.floor:.2%}")
    if chosen.out:
        plain = {
            "benchmark": "gate_live",
            "repetitions": chosen.repetitions,
            "rounds": chosen.rounds,
            "round_ms": chosen.round_ms,
            "threshold": THRESHOLD,
            "noise": to_plain(floors),
            "cases": result,
        }
        write_json(chosen.out, plain)


if __name__ == "__main__":
    main()
