"""How many segments a chain has: by the paper's rule, and by the gap statistic against the chain in random order.

    python benchmarks/segments.py SIMILARITY.json... [--noise N] [--out FILE.json]

Each file is the record of a run's similarity (`02-similarity.json`), beside that of its units (`01-layers.json`). The
paper takes the last k whose loss is more than 5 % below that of k - 1. The gap statistic (Tibshirani et al. 2001) takes
the first k whose gap, the mean log loss of shuffled chains minus that of the chain, is within a standard error of the
gap at k + 1. Neither is limited but by twelve. Noise is chains of 27 units whose similarities are independent.
"""

import argparse
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeprune.prune.segmentation import fisher_segments

Floats = npt.NDArray[np.float64]
MOST, SHUFFLES, LEAST_DROP, UNITS = 12, 200, 0.05, 27


def by_drop(losses: tuple[float, ...]) -> int:
    """The last number of segments that lowers the loss by more than 5 %."""
    large = [k for k, (before, after) in enumerate(pairwise(losses), start=2) if before - after > LEAST_DROP * before]
    return max(large, default=1)


def by_gap(matrix: Floats, losses: tuple[float, ...], generator: np.random.Generator) -> int:
    """The first number of segments beyond which the gap to shuffled chains does not grow by a standard error."""
    shuffled = []
    for _ in range(SHUFFLES):
        order = generator.permutation(len(matrix))
        shuffled.append(np.log(fisher_segments(matrix[np.ix_(order, order)], len(losses))[0]))
    gaps = np.mean(shuffled, axis=0) - np.log(losses)
    errors = np.std(shuffled, axis=0) * np.sqrt(1 + 1 / SHUFFLES)
    return next((k for k in range(1, len(losses)) if gaps[k - 1] >= gaps[k] - errors[k]), len(losses))


def both(matrix: Floats, generator: np.random.Generator) -> dict[str, int]:
    """What either rule gives."""
    losses, _ = fisher_segments(matrix, min(MOST, len(matrix) - 1))
    return {"drop": by_drop(losses), "gap": by_gap(matrix, losses, generator)}


def droppable_run(file: Path) -> Floats:
    """The part of a similarity from the first droppable unit to the last."""
    record, units = (json.loads(each.read_text()) for each in (file, file.with_name("01-layers.json")))
    units = [unit["index"] for unit in units["record"]["units"] if unit.get("drop")]
    matrix = np.array(record["record"]["matrix"])
    return matrix[units[0] : units[-1] + 1, units[0] : units[-1] + 1]


def noise(generator: np.random.Generator) -> Floats:
    """A similarity that says nothing."""
    upper = np.triu(generator.uniform(size=(UNITS, UNITS)), 1)
    return upper + upper.T + np.eye(UNITS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--noise", type=int, default=50, help="chains of noise (default: %(default)s)")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    generator = np.random.default_rng(0)
    found = {file.parent.name: both(droppable_run(file), generator) for file in chosen.files}
    of_noise = [both(noise(generator), generator) for _ in range(chosen.noise)]
    counts = {rule: dict(sorted(Counter(each[rule] for each in of_noise).items())) for rule in ("drop", "gap")}
    for name, numbers in found.items():
        print(name, numbers)
    print(f"{chosen.noise} chains of noise", counts)
    if chosen.out:
        result = {"benchmark": "segments", "most": MOST, "shuffles": SHUFFLES, "runs": found, "noise": counts}
        chosen.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
