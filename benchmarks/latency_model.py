"""Does the cost model predict latency? Networks predicted and then measured on this machine.

    python benchmarks/latency_model.py [--models NAME ...] [--sets N] [--out FILE.json]

First those that `--latency-budget` takes for budgets of some shares of the unpruned network's latency, then some that
keep random units, by the costs that any budget begins with. Weights and scores are random: time does not depend on
them. All latencies are relative to the unpruned network's, measured in turns with it. The target is an error of at most
10 % for each budget, and in the mean for random units.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeprune import targets
from edgeprune.bench import machine
from edgeprune.errors import ConfigError
from edgeprune.files.store import write_json
from edgeprune.network.checkpoint import Checkpoint, build
from edgeprune.protocols import NullProgress
from edgeprune.prune.shape_paths import Routes, routes_of
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.constraints import Timing
from edgeprune.records.frames import Frames
from edgeprune.records.pruning import Arch, InputSpec, LayerChain, Scores, Segmentation
from edgeprune.runtimes.onnxruntime import runtime
from edgeprune.tasks.latency.budget import LatencyBudget, choose_within
from edgeprune.tasks.latency.timing import Stopwatch
from edgeprune.tasks.latency.unit_costs import fitted, kinds_of, probed, work_of

GOAL = 0.10
JUDGED = {"budgets": "largest_error", "random": "mean_error"}
TARGET = targets.get("host-cpu")
MODELS = ("resnet56-1d", "vgg16", "mcldnn")
SHAPE, CLASSES = InputSpec(2, 128), 11
SMALLEST = 0.25  # share of the droppable units
BUDGETS = (0.9, 0.75, 0.6, 0.45, 0.3, 0.15)  # shares of the unpruned network's latency


def untrained(name: str) -> Checkpoint:
    """A registered network with random weights."""
    torch.manual_seed(0)
    arch = Arch(name, {"channels": SHAPE.channels, "length": SHAPE.length, "classes": CLASSES})
    classes = tuple(f"class {number:02}" for number in range(CLASSES))
    return Checkpoint(build(arch).eval(), arch, classes, SHAPE, None, None, {}, name=name, sha256="0" * 64)


def frames() -> Frames:
    """Noise to run on."""
    iq = np.random.default_rng(1).standard_normal((16, SHAPE.channels, SHAPE.length), dtype=np.float32)
    return Frames(iq, np.zeros(16, np.int64), None, ("noise",), None, "noise", "0" * 64)


def chosen(name: str, folder: Path) -> list[dict[str, Any]]:
    """A row for each budget: the network that was taken for it, predicted before it was timed."""
    model = untrained(name)
    chain = layers_of(model.model, SHAPE, model.sha256)
    rng = np.random.default_rng(2)
    scores = Scores(model.sha256, "random", {unit: float(rng.random()) for unit in chain.droppable})
    everything = Segmentation("", ((0, len(chain.units) - 1),), (), "rows", "given")
    with Stopwatch(model, chain, frames().iq, TARGET, "fp32", 1, folder) as stopwatch:
        unpruned_ms = stopwatch.time(frozenset(chain.droppable), NullProgress()).baseline_ms
    rows = []
    for share in BUDGETS:
        budget = LatencyBudget(share * unpruned_ms, TARGET, "fp32")
        try:
            found = choose_within(model, chain, everything, scores, frames(), budget, folder, NullProgress())
        except ConfigError as error:  # no network is as fast
            print(f"{name:12} budget {share:4.0%}   {error.message}", flush=True)
            continue
        taken = next((each for each in found.candidates if each.kept == found.kept), None)
        if taken is None or taken.predicted_ms is None:
            print(f"{name:12} budget {share:4.0%}   none was chosen", flush=True)
            continue
        row = row_of(name, taken, taken.predicted_ms / found.baseline_ms)
        print(f"{name:12} budget {share:4.0%}   {told(row)}", flush=True)
        rows.append({"budget": share, **row})
    return rows


def random(name: str, sets: int, folder: Path) -> list[dict[str, Any]]:
    """A row for each set of units that was predicted and then measured, then those that the costs were fitted to."""
    model = untrained(name)
    chain = layers_of(model.model, SHAPE, model.sha256)
    routes, kinds = routes_of(model.model, chain, SHAPE), kinds_of(chain)
    rows: list[dict[str, Any]] = []
    with Stopwatch(model, chain, frames().iq, TARGET, "fp32", 1, folder) as stopwatch:
        probes = probed(lambda kept: stopwatch.time(kept, NullProgress()), kinds, routes)
        print(f"{name:12} costs fitted to {len(probes)} networks", flush=True)
        costs = fitted(probes, kinds, routes)
        for kept in drawn(chain, routes, sets):
            if kept not in probes:
                timing = stopwatch.time(kept, NullProgress())
                rows.append(row_of(name, timing, costs.latency(work_of(kept, kinds, routes))))
                print(f"{name:12} {len(kept):3} units kept   {told(rows[-1])}", flush=True)
        rows += [{"model": name, "kept": each.kept, "measured": each.ratio} for each in probes.values()]
    return rows


def drawn(chain: LayerChain, routes: Routes, sets: int) -> list[frozenset[int]]:
    """Sets of droppable units that a network can keep, of sizes from all but one down."""
    rng = np.random.default_rng(1)
    count = len(chain.droppable)
    sizes = np.linspace(count - 1, max(1, SMALLEST * count), sets).round().astype(int)
    kept = [frozenset(rng.choice(list(chain.droppable), size, replace=False).tolist()) for size in sizes]
    return [each for each in dict.fromkeys(kept) if routes.loads(each) is not None]


def row_of(name: str, timing: Timing, predicted: float) -> dict[str, Any]:
    return {
        "model": name,
        "kept": timing.kept,
        "predicted": predicted,
        "measured": timing.ratio,
        "measured_ci95": timing.ratio_ci95,
        "unpruned_ms": timing.baseline_ms,
        "error": predicted / timing.ratio - 1,
    }


def told(row: dict[str, Any]) -> str:
    return f"predicted {row['predicted']:6.1%}   measured {row['measured']:6.1%}   error {row['error']:+6.1%}"


def errors_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    errors = np.abs([row["error"] for row in rows if "error" in row])
    return {"networks": len(errors), "mean_error": float(errors.mean()), "largest_error": float(errors.max())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME", help=f"default: {' '.join(MODELS)}")
    parser.add_argument("--sets", type=int, default=10, help="random networks of each (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    arguments = parser.parse_args()
    results, rows = {}, []
    for name in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            found = {"budgets": chosen(name, Path(folder)), "random": random(name, arguments.sets, Path(folder))}
        results[name] = {how: errors_of(each) for how, each in found.items() if any("error" in row for row in each)}
        for how, errors in results[name].items():
            error = errors[JUDGED[how]]
            met = "met" if error <= GOAL else "missed"
            print(f"{name}: {how}: {JUDGED[how].replace('_', ' ')} {error:.1%}; target, {GOAL:.0%}: {met}")
        rows += [{"how": how, **row} for how, each in found.items() for row in each]
    if arguments.out:
        plain = {"benchmark": "latency_model", "target": GOAL, "results": results, "networks": rows}
        write_json(arguments.out, {**plain, "device": machine.facts(runtime.facts())})


if __name__ == "__main__":
    main()
