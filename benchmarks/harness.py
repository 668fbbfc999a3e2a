"""Does measuring cost time? The harness's median against a bare ONNX Runtime loop, interleaved in the same run.

    python benchmarks/harness.py [--model FILE.onnx] [--rounds N] [--out FILE.json]

The harness reports its progress between rounds; here the one it reports to runs a bare loop on the same model for as
long as a round. The target is a ratio within 3 % of 1.
"""

import argparse
import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from edgeprune.bench import machine, stats
from edgeprune.bench.protocol import BenchSettings, measure
from edgeprune.files.store import write_json
from edgeprune.protocols import Advance
from edgeprune.runtimes.onnxruntime import runtime

TARGET = 0.03
INPUT_SHAPE = (1, 2, 128)
THREADS = 1
ROUND_MS = 60.0
WARMUP_MS = 300.0


class BareLoop:
    """A plain loop of ONNX Runtime in place of progress: one round of it after each round of the harness.

    Args:
        model: ONNX file with one input.
        frames: What it is fed.
    """

    def __init__(self, model: Path, frames: npt.NDArray[np.float32]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.feed = {self.session.get_inputs()[0].name: frames}
        self.medians_ms: list[float] = []
        self.round(WARMUP_MS)

    def stage(self, title: str, reused: bool = False) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    @contextlib.contextmanager
    def track(self, label: str, total: int) -> Iterator[Advance]:
        """Say how long it takes, and be called after each round."""
        print(f"{label}: {total} rounds of {ROUND_MS:g} ms each way")
        yield lambda _steps, _text: self.medians_ms.append(self.round(ROUND_MS))

    def round(self, length_ms: float) -> float:
        """Median of one round in ms."""
        times_ms = []
        end = time.perf_counter() + length_ms / 1e3
        while time.perf_counter() < end:
            before = time.perf_counter()
            self.session.run(None, self.feed)
            times_ms.append((time.perf_counter() - before) * 1e3)
        return float(np.median(times_ms))


def exported_resnet(path: Path) -> Path:
    """A one-dimensional ResNet of 27 blocks with random weights, as ONNX."""
    import torch

    from edgeprune.models.resnet import ResNet

    torch.manual_seed(0)
    network = ResNet(dims=1, blocks=9, classes=11).eval()
    example = (torch.randn(INPUT_SHAPE),)
    torch.onnx.export(network, example, path, input_names=["iq"], output_names=["logits"], verbose=False)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="ONNX file with input (1, 2, 128); default: a ResNet made for this")
    parser.add_argument("--rounds", type=int, default=100, help=f"at least {stats.MIN_ROUNDS} (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    chosen = parser.parse_args()
    frames = np.random.default_rng(0).standard_normal(INPUT_SHAPE, dtype=np.float32)
    settings = BenchSettings("fp32", INPUT_SHAPE[0], THREADS, chosen.rounds, ROUND_MS, WARMUP_MS)
    with tempfile.TemporaryDirectory() as name:
        model = chosen.model or exported_resnet(Path(name) / "resnet.onnx")
        bare = BareLoop(model, frames)
        report = measure(model, None, frames, runtime, settings, Path(name), bare)
    found = stats.compare(report.baseline.round_medians_ms, bare.medians_ms)
    low, high = found.ci95
    met = abs(found.ratio - 1) <= TARGET
    print(
        f"harness {np.median(report.baseline.round_medians_ms):.4f} ms, bare loop {np.median(bare.medians_ms):.4f} ms"
    )
    print(f"harness / bare loop: {found.ratio:.4f}, 95 % interval {low:.4f} to {high:.4f}")
    print(f"target, within {TARGET:.0%} of 1: {'met' if met else 'missed'}")
    if chosen.out:
        plain = {
            "benchmark": "harness",
            "ratio": found.ratio,
            "ratio_ci95": list(found.ci95),
            "target": TARGET,
            "target_met": met,
            "harness_round_medians_ms": list(report.baseline.round_medians_ms),
            "bare_round_medians_ms": bare.medians_ms,
            "device": machine.facts(runtime.facts()),
            "warnings": list(report.warnings),
        }
        write_json(chosen.out, plain)


if __name__ == "__main__":
    main()
