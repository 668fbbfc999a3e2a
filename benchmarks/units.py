"""Finding the units of a network, beside `torch.export` of the same network, by size.

    python benchmarks/units.py [SIZE...] [--out FILE.json]

Chains of residual blocks, each a module or all in one `forward`. Seconds are of this process's CPU; the memory is the
most that the process has had so far.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from edgeprune.prune.units.chain import layers_of
from edgeprune.records.pruning import InputSpec

LENGTH, WIDTH = 32, 8


class Block(nn.Module):
    """A convolution under a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(WIDTH, WIDTH, 3, padding=1), nn.BatchNorm1d(WIDTH), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Features of features."""
        body: Tensor = self.body(x)
        return x + body


class Chain(nn.Module):
    """Blocks one after the other.

    Args:
        blocks: How many.
        in_code: Whether the shortcuts are in the code of this module.
    """

    def __init__(self, blocks: int, in_code: bool) -> None:
        super().__init__()
        self.in_code = in_code
        self.stem, self.fc = nn.Conv1d(2, WIDTH, 3, padding=1), nn.Linear(WIDTH, 3)
        self.blocks = nn.ModuleList(Block().body if in_code else Block() for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of frames."""
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x) if self.in_code else block(x)
        logits: Tensor = self.fc(x.mean(-1))
        return logits


def measured(blocks: int, in_code: bool) -> dict[str, float]:
    """Seconds of the export and of finding the units, their ratio, and the memory."""
    model = Chain(blocks, in_code).eval()
    began = time.process_time()
    torch.export.export(model, (torch.zeros(2, 2, LENGTH),), strict=False)
    exported = time.process_time()
    chain = layers_of(model, InputSpec(2, LENGTH), "")
    found = time.process_time()
    assert len(chain.droppable) == blocks
    return {
        "blocks": blocks,
        "in_code": in_code,
        "export_s": round(exported - began, 2),
        "units_s": round(found - exported, 2),
        "ratio": round((found - exported) / (exported - began), 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    """Measure every size, the blocks as modules and in code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[50, 100, 200, 400])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    measured(5, False)  # the first export loads much of torch
    rows = [measured(size, in_code) for in_code in (False, True) for size in arguments.sizes]
    print("\n".join(map(str, rows)))
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
