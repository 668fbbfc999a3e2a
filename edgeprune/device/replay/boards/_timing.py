"""Times of a replayed board, and their output by trtexec. They are made up, from the number of layers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeprune.device.replay.boards._board import Board, generator, say
from edgeprune.device.replay.boards._engines import Header
from edgeprune.device.replay.boards._options import Options

_FASTER = {"fp32": 1.0, "fp16": 0.62, "int8": 0.5}
_LAUNCH_MS = 0.004
_GRAPH_MS = 0.006
_DIGITS = "%.6g"  # as C++ prints a float
Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """Timed run: for each inference, warm-up included, its start and the duration of each part, in ms."""

    start: Times
    enqueue: Times
    h2d: Times
    compute: Times
    d2h: Times
    warm_from: int

    @property
    def latency(self) -> Times:
        """Time from the first copy to the last."""
        return self.h2d + self.compute + self.d2h

    @property
    def span_ms(self) -> float:
        """Duration of all counted inferences, in milliseconds."""
        ends = self.start + self.latency
        return float(ends[-1] - self.start[self.warm_from])

    def counted(self, values: Times) -> Times:
        """Drop the warm-up."""
        return values[self.warm_from :]


def run(board: Board, header: Header, options: Options) -> Trace:
    """Make up a run of an engine."""
    graph = options.cuda_graph and header.graph
    seed = generator("run", board.said["title"], header.layers, header.factor, options.given.get("exportTimes", ""))
    mean = len(header.layers) * float(board.said["layer_us"]) / 1000 * _FASTER[header.precision] * header.factor
    mean *= 1 + 0.01 * (header.shape[0] - 1)
    if board.throttled():
        mean *= 1.6
    enqueue_ms = _GRAPH_MS if graph else _LAUNCH_MS * len(header.layers)
    pace = max(mean, enqueue_ms)
    warmup_ms, duration_ms = options.number("warmUp", 200), 1000 * options.number("duration", 3)
    warm = int(np.ceil(warmup_ms / pace))
    count = warm + int(max(options.number("iterations", 10), np.ceil(duration_ms / pace)))
    compute = mean * np.exp(seed.normal(0.0, 0.004, count)) * np.where(seed.random(count) < 0.01, 1.04, 1.0)
    copied = np.full(count, 0.011 if options.transfers else 0.0)
    start = np.cumsum(np.maximum(compute, enqueue_ms) + 2 * copied)
    ends = (start + compute).astype(np.float32)
    return Trace(
        start=start,
        enqueue=np.full(count, enqueue_ms) * np.exp(seed.normal(0.0, 0.05, count)),
        h2d=copied,
        compute=np.maximum((ends - start.astype(np.float32)).astype(np.float64), 1e-4),
        d2h=copied * 0.7,
        warm_from=warm,
    )


def export_times(path: Path, trace: Trace, board: Board) -> None:
    """Write the file of --exportTimes; up to version 8.4 it includes the warm-up."""
    first = 0 if board.version < 80501 else trace.warm_from
    rows = []
    for index in range(first, len(trace.start)):
        begun, h2d, compute, d2h = (values[index] for values in (trace.start, trace.h2d, trace.compute, trace.d2h))
        points = {
            "startEnqMs": begun - trace.enqueue[index],
            "endEnqMs": begun,
            "startH2dMs": begun,
            "endH2dMs": begun + h2d,
            "startComputeMs": begun + h2d,
            "endComputeMs": begun + h2d + compute,
            "startD2hMs": begun + h2d + compute,
            "endD2hMs": begun + h2d + compute + d2h,
            "h2dMs": h2d,
            "computeMs": float("nan") if "nan-times" in board.faults and index == first + 3 else compute,
            "d2hMs": d2h,
            "latencyMs": h2d + compute + d2h,
        }
        if board.version < 80400:
            points["endToEndMs"] = h2d + compute + d2h + trace.enqueue[index]
        rows.append("{ " + ", ".join(f'"{key}" : {_DIGITS % value}' for key, value in points.items()) + " }")
    path.write_text("[\n  " + "\n, ".join(rows) + "\n]\n", encoding="utf-8")


def export_profile(path: Path, trace: Trace, header: Header, board: Board) -> None:
    """Write the file of --exportProfile: a made-up share for each layer."""
    count = len(trace.counted(trace.compute))
    weights = generator("profile", header.layers).uniform(0.5, 1.5, len(header.layers))
    shares = weights / weights.sum()
    mean = float(trace.counted(trace.compute).mean())
    rows = [f'  {{ "count" : {count} }}']
    for name, share in zip(header.layers, shares, strict=True):
        median = f', "medianMs" : {_DIGITS % (share * mean)}' if board.version >= 80500 else ""
        rows.append(
            f', {{ "name" : "{name}", "timeMs" : {_DIGITS % (share * mean * count)}, '
            f'"averageMs" : {_DIGITS % (share * mean)}{median}, "percentage" : {_DIGITS % (100 * share)} }}'
        )
    path.write_text("[\n" + "\n".join(rows) + "\n]\n", encoding="utf-8")


def summarise(trace: Trace, board: Board, options: Options, header: Header) -> None:
    """Print the end of a run's log."""
    compute, latency = trace.counted(trace.compute), trace.counted(trace.latency)
    wall_s = trace.span_ms / 1000
    say("I", f"Warmup completed {trace.warm_from} queries over {options.number('warmUp', 200):g} ms")
    say("I", f"Timing trace has {len(compute)} queries over {wall_s:g} s")
    say("I", "")
    say("I", "=== Performance summary ===")
    say("I", f"Throughput: {len(compute) / wall_s:g} qps")
    say("I", f"Latency: {_statistics(latency, board)}")
    if board.version < 80400:
        say("I", f"End-to-End Host Latency: {_statistics(latency + trace.counted(trace.enqueue), board)}")
    say("I", f"Enqueue Time: {_statistics(trace.counted(trace.enqueue), board)}")
    say("I", f"H2D Latency: {_statistics(trace.counted(trace.h2d), board)}")
    say("I", f"GPU Compute Time: {_statistics(compute, board)}")
    say("I", f"D2H Latency: {_statistics(trace.counted(trace.d2h), board)}")
    say("I", f"Total Host Walltime: {wall_s:g} s")
    say("I", f"Total GPU Compute Time: {compute.sum() / 1000:g} s")
    if np.median(trace.counted(trace.enqueue)) > 0.8 * np.median(compute):
        say("W", "* Throughput may be bound by Enqueue Time rather than GPU Compute and the GPU may be under-utilized.")
        say(
            "W",
            "  If not already in use, --useCudaGraph (utilize CUDA graphs where possible) may increase the throughput.",
        )
    variance = 100 * float(compute.std() / compute.mean())
    limit = 2.5 if board.version >= 110000 else 1.0
    if board.version >= 80400 and variance > limit:
        say("W", f"* GPU compute time is unstable, with coefficient of variance = {variance:g}%.")
        say(
            "W",
            "  If not already in use, locking GPU clock frequency or adding --useSpinWait may improve the stability.",
        )
    if options.cuda_graph and not header.graph:
        say("W", "The built TensorRT engine contains operations that are not permitted under CUDA graph capture mode.")


def _statistics(values: Times, board: Board) -> str:
    ascending = np.sort(values)
    percentiles = (90, 95, 99) if board.version >= 80500 else (99,)
    tail = []
    for percentile in percentiles:
        excluded = int((1 - percentile / 100) * len(ascending))
        tail.append(f"percentile({percentile}%) = {ascending[max(len(ascending) - 1 - excluded, 0)]:g} ms")
    return (
        f"min = {ascending[0]:g} ms, max = {ascending[-1]:g} ms, mean = {values.mean():g} ms, "
        f"median = {np.median(values):g} ms, {', '.join(tail)}"
    )
