"""How long `edgeprune check --history` takes with thousands of reports, and how much memory.

    python benchmarks/history.py [--reports N] [--python PROGRAM] [--out FILE.json]

The reports are copies of a real one with other dates and commits, each with its samples. Every figure is of a whole
process: the first check, the second one, the same after every file was written anew with the same content, as a fresh
checkout of a branch has them, and after one report more. `--python` measures another edgeprune, beside this one.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

from edgeprune.files.store import write_json

REAL = Path(__file__).parents[1] / "docs" / "results" / "resnet56-1d-third"
BUDGET = "[targets.host-cpu]\nmax_median_ms = 0.5\n"
MOST_S, MOST_BYTES = 5.0, 300 << 20
MARK = "maximum resident set, kB: "


def add(history: Path, number: int) -> None:
    """One report of a series."""
    folder = history / f"{number:05}"
    folder.mkdir()
    for name in ("samples-baseline.npz", "samples-pruned.npz"):
        shutil.copy(REAL / name, folder / name)
    plain = json.loads((REAL / "report.json").read_text())
    created = datetime(2020, 1, 1, tzinfo=timezone.utc) + timedelta(hours=number)
    plain |= {"created": created.isoformat(timespec="seconds"), "git_commit": f"{number:040x}"}
    (folder / "report.json").write_text(json.dumps(plain, indent=2))


def check(python: str, budget: Path, history: Path) -> dict[str, float]:
    """Seconds and bytes of one process."""
    measure = f"import atexit, resource, sys; atexit.register(lambda: print('{MARK}', resource.getrusage(resource."
    measure += "RUSAGE_SELF).ru_maxrss, file=sys.stderr)); from edgeprune.cli import main; main()"
    words = ["check", str(REAL / "report.json"), "--budget", str(budget), "--history", str(history), "--quiet"]
    began = time.perf_counter()
    done = subprocess.run([python, "-c", measure, *words], check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    (told,) = (line for line in done.stderr.splitlines() if line.startswith(MARK))
    return {"seconds": seconds, "peak_bytes": int(told.removeprefix(MARK)) * 1024}


def written_anew(history: Path) -> None:
    """Give every file another date and place on the disk, and the same content."""
    for file in [path for path in history.rglob("*") if path.is_file()]:
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
        os.utime(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=2000, help="(default: %(default)s)")
    parser.add_argument("--python", default=sys.executable, help="with the edgeprune to measure (default: this one)")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        history, budget = Path(place, "history"), Path(place, "edgeprune.toml")
        history.mkdir()
        budget.write_text(BUDGET)
        for number in range(chosen.reports):
            add(history, number)
        found = {}
        for name, change in (
            ("first", lambda: None),
            ("again", lambda: None),
            ("written anew", lambda: written_anew(history)),
            ("one more", lambda: add(history, chosen.reports)),
        ):
            change()
            found[name] = check(chosen.python, budget, history)
            print(f"{name}: {found[name]['seconds']:.2f} s, {found[name]['peak_bytes'] / 1e6:.0f} MB", flush=True)
    later = [each for name, each in found.items() if name != "first"]
    met = all(each["seconds"] < MOST_S and each["peak_bytes"] < MOST_BYTES for each in later)
    print(f"target, under {MOST_S:g} s and {MOST_BYTES >> 20} MiB once they were read: {'met' if met else 'missed'}")
    if chosen.out:
        write_json(chosen.out, {"benchmark": "history", "reports": chosen.reports, "target_met": met, "cases": found})


if __name__ == "__main__":
    main()
