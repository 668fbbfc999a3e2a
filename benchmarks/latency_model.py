"""Does the cost model predict latency? Networks that keep random units, predicted and then measured on this machine.

    python benchmarks/latency_model.py [--models NAME ...] [--sets N] [--out FILE.json]

Weights are random: time does not depend on them. The costs are fitted to the networks that `--latency-budget` times
too, none of which is among those predicted. All latencies are relative to the unpruned network's, measured in turns
with it. The target is a mean error of 10 % for each network.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeprune import targets
from edgeprune.bench import machine
from edgeprune.checkpoint import Checkpoint, build
from edgeprune.prune.layers import layers_of
from edgeprune.prune.routes import routes_of
from edgeprune.records import Arch, InputSpec
from edgeprune.runtimes.onnxruntime import runtime
from edgeprune.silence import Silence
from edgeprune.store import write_json
from edgeprune.tasks.costs import fitted, kinds_of, probed, work_of
from edgeprune.tasks.stopwatch import Stopwatch

TARGET = 0.10
MODELS = ("resnet56-1d", "vgg16", "mcldnn")
SHAPE, CLASSES = InputSpec(2, 128), 11
SMALLEST = 0.25  # share of the droppable units


def untrained(name: str) -> Checkpoint:
    """A registered network with random weights."""
    torch.manual_seed(0)
    arch = Arch(name, {"channels": SHAPE.channels, "length": SHAPE.length, "classes": CLASSES})
    classes = tuple(f"class {number:02}" for number in range(CLASSES))
    return Checkpoint(build(arch).eval(), arch, classes, SHAPE, None, None, {}, name=name, sha256="0" * 64)


def predicted_and_measured(name: str, sets: int, folder: Path) -> list[dict[str, Any]]:
    """A row for each set of units that was predicted and then measured, then those that the costs were fitted to."""
    model = untrained(name)
    chain = layers_of(model.model, SHAPE, model.sha256)
    routes, kinds = routes_of(model.model, chain, SHAPE), kinds_of(chain)
    droppable = list(chain.droppable)
    rng = np.random.default_rng(1)
    chosen: list[frozenset[int]] = []
    sizes = np.linspace(len(droppable) - 1, max(1, SMALLEST * len(droppable)), sets).round().astype(int)
    for size in sizes:
        kept = frozenset(rng.choice(droppable, size, replace=False).tolist())
        if routes.loads(kept) is not None and kept not in chosen:
            chosen.append(kept)
    frames = rng.standard_normal((16, SHAPE.channels, SHAPE.length), dtype=np.float32)
    target = targets.get("host-cpu")
    rows: list[dict[str, Any]] = []
    with Stopwatch(model, chain, frames, target, "fp32", 1, folder) as stopwatch:
        probes = probed(lambda kept: stopwatch.time(kept, Silence()), kinds, routes)
        print(f"{name:12} costs fitted to {len(probes)} networks", flush=True)
        costs = fitted(probes, kinds, routes)
        for kept in (kept for kept in chosen if kept not in probes):
            predicted = costs.latency(work_of(kept, kinds, routes))
            timing = stopwatch.time(kept, Silence())
            error = predicted / timing.ratio - 1
            print(
                f"{name:12} {len(kept):3} of {len(droppable)} kept   predicted {predicted:6.1%}   "
                f"measured {timing.ratio:6.1%}   error {error:+6.1%}",
                flush=True,
            )
            rows.append(
                {
                    "model": name,
                    "kept": sorted(kept),
                    "predicted": predicted,
                    "measured": timing.ratio,
                    "measured_ci95": list(timing.ratio_ci95),
                    "unpruned_ms": timing.baseline_ms,
                    "error": error,
                }
            )
        rows += [{"model": name, "kept": sorted(kept), "measured": each.ratio} for kept, each in probes.items()]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME", help=f"default: {' '.join(MODELS)}")
    parser.add_argument("--sets", type=int, default=10, help="networks to predict of each (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    arguments = parser.parse_args()
    results, rows = {}, []
    for name in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            found = predicted_and_measured(name, arguments.sets, Path(folder))
        errors = np.abs([row["error"] for row in found if "error" in row])
        results[name] = {"mean_error": float(errors.mean()), "largest_error": float(errors.max())}
        met = "met" if errors.mean() <= TARGET else "missed"
        print(f"{name}: mean error {errors.mean():.1%}, largest {errors.max():.1%}; target, mean {TARGET:.0%}: {met}\n")
        rows += found
    if arguments.out:
        plain = {"benchmark": "latency_model", "target": TARGET, "results": results, "networks": rows}
        write_json(arguments.out, {**plain, "device": machine.facts(runtime.facts())})


if __name__ == "__main__":
    main()
