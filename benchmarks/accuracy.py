"""How often the true accuracy is in the 95 % interval: simulated test sets whose frames come in groups.

    python benchmarks/accuracy.py [--sets N] [--out FILE.json]

A cell (modulation and SNR) has a true accuracy; each of its groups has one of its own, from a beta distribution around
that, so that two frames of a group correlate by a given amount. Cells are from 75 to 98 % accurate. The interval for
groups stands beside Wilson's, which takes frames for independent.
"""

import argparse
from pathlib import Path

import numpy as np

from edgeprune.files.store import write_json
from edgeprune.train.accuracy import rate
from edgeprune.train.design_effect import Grouping

# cells, groups in each, frames in each
SHAPES = ((55, 4, 50), (11, 4, 50), (1, 20, 50), (5, 4, 50), (11, 1, 40))
CORRELATIONS = (0.0, 0.02, 0.05, 0.2)


def answers(
    generator: np.random.Generator, shares: np.ndarray, groups: int, size: int, correlation: float
) -> np.ndarray:
    """Whether each frame is classified correctly, bool (cells * groups * size,)."""
    each = np.repeat(shares, groups)
    if correlation:
        strength = (1 - correlation) / correlation
        each = generator.beta(each * strength, (1 - each) * strength)
    return (generator.random((len(each), size)) < each[:, None]).reshape(-1)


def coverage(shape: tuple[int, int, int], correlation: float, sets: int) -> dict:
    """How often either interval holds the true accuracy."""
    cells, groups, size = shape
    generator = np.random.default_rng([*shape, round(1000 * correlation)])
    shares = np.linspace(0.75, 0.98, cells)
    number = np.repeat(np.arange(cells * groups), size)
    grouping = Grouping(number, number // groups)
    held, effects = {"grouped": 0, "wilson": 0}, []
    for _ in range(sets):
        right = answers(generator, shares, groups, size, correlation)
        top1 = float(right.mean())
        effect = grouping.effect(right, top1 * (1 - top1))
        effects.append(effect.design_effect)
        for name, share in (("grouped", effect.share), ("wilson", 1.0)):
            low, high = rate(int(right.sum()), len(right), share).ci95
            held[name] += bool(low <= shares.mean() <= high)
    return {
        "cells": cells,
        "groups_in_each": groups,
        "frames_in_each": size,
        "correlation": correlation,
        "median_design_effect": float(np.median(effects)),
        "coverage": {name: count / sets for name, count in held.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    chosen = parser.parse_args()
    found = []
    for shape in SHAPES:
        for correlation in CORRELATIONS:
            found.append(coverage(shape, correlation, chosen.sets))
            print(found[-1], flush=True)
    if chosen.out:
        write_json(chosen.out, {"benchmark": "accuracy", "sets": chosen.sets, "coverage": found})


if __name__ == "__main__":
    main()
