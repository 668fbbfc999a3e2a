"""What planning costs beside the forward passes it cannot do without: resnet110, 640 frames, batches of 128.

    python benchmarks/planning.py [--out FILE]

Similarity, segmentation and scores together are compared with bare forward passes over the same frames, in turns in one
run. Peak memory is what the process grows by while planning, over what it held with the model and frames loaded.
"""

import argparse
import json
import resource
import statistics
import time
from pathlib import Path

import torch

from edgeprune import registry
from edgeprune.network.checkpoint import build
from edgeprune.protocols import Labelled, NullProgress, Subject
from edgeprune.prune.segmentation import segment
from edgeprune.prune.similarity import similarity_of
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.names import CRITERION
from edgeprune.records.pruning import Arch, InputSpec

FRAMES, BATCH, MOST_SEGMENTS = 640, 64, 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = build(Arch("resnet110", {"channels": 2, "length": 128, "classes": 11})).eval()
    batches = list(torch.randn(FRAMES, 2, 128).split(BATCH))
    chain = layers_of(model, InputSpec(2, 128), "benchmark")
    metric, criterion = registry.get("similarity", "cka-unbiased"), registry.get("criteria", CRITERION)
    frames = Labelled(torch.cat(batches), torch.zeros(FRAMES, dtype=torch.int64))
    subject = Subject(model, chain, InputSpec(2, 128), frames, frames, 0, NullProgress())

    def forward() -> None:
        with torch.no_grad():
            for batch in batches:
                model(batch)

    def plan() -> None:
        similarity = similarity_of(model, chain, batches, metric, "cka-unbiased", "benchmark", NullProgress())
        segment(similarity, chain, "auto", "rows", MOST_SEGMENTS)
        criterion.scores(subject)

    forward()
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan()
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    ratios, forward_s, plan_s = [], [], []
    for _ in range(arguments.rounds):
        for work, times in ((forward, forward_s), (plan, plan_s)):
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
        ratios.append(plan_s[-1] / forward_s[-1])
    result = {
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "forward_s": forward_s,
        "planning_s": plan_s,
        "peak_growth_mib": grown_mib,
        "threads": torch.get_num_threads(),
    }
    print(
        f"planning / forward passes: {result['ratio']:.2f} (median of {arguments.rounds}); +{grown_mib:.0f} MiB at peak"
    )
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
