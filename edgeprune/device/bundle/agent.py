"""Agent that measures a model on a device with ONNX Runtime: one file, Python 3.8 or newer, numpy and onnxruntime only.

    agent.py measure --model baseline=A.onnx --model pruned=B.onnx --frames F.bin ... --out times.json
    agent.py answer --model A.onnx --out logits.bin ... F0.bin F1.bin ...

It measures as edgeprune/bench/protocol.py does, where the reasons are.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Sequence

_FATAL = 4
_FEWEST = {90: 64, 99: 662}  # samples that a percentile takes, as edgeprune/bench/stats.py has it
_STRETCH = 4
_SETTLING = 0.1
_MIN_SETTLING = 3
_MIN_LAST_BURST = 4


class OnnxSession:
    """A loaded model on the CPU."""

    def __init__(self, model: str, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _FATAL
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name

    def run(self, iq: np.ndarray) -> np.ndarray:
        """Logits (N, classes) of frames (N, channels, length)."""
        logits: np.ndarray = self._session.run([self._output], {self._input: iq})[0]
        return logits

    def time(self, iq: np.ndarray, count: int) -> np.ndarray:
        """Run one batch `count` times; milliseconds of each, (count,)."""
        run, outputs, feed, clock = self._session.run, [self._output], {self._input: iq}, time.perf_counter_ns
        elapsed_ns = np.empty(count, np.int64)
        for index in range(count):
            start = clock()
            run(outputs, feed)
            elapsed_ns[index] = clock() - start
        return elapsed_ns / 1e6


def read_frames(file: str, shape: tuple[int, int, int]) -> np.ndarray:
    """Read frames (N, channels, length) float32; a file of another size is refused."""
    frames = np.fromfile(file, "<f4")
    if frames.size != math.prod(shape):
        raise SystemExit(f"{file} holds {frames.size} numbers; the shape {shape} takes {math.prod(shape)}")
    return frames.reshape(shape)


def warm_up(session: OnnxSession, batch: np.ndarray, warmup_ms: float) -> float:
    """Run in bursts of 1, 2, 4, ... for at least the warm-up time; the median ms of the last burst."""
    count, spent_ms = 1, 0.0
    while True:
        times = session.time(batch, count)
        spent_ms += float(times.sum())
        if spent_ms >= warmup_ms and count >= _MIN_LAST_BURST:
            return float(np.median(times))
        count *= 2


def count_for(inference_ms: float, round_ms: float, rounds: int) -> int:
    """Count the inferences of one round: as many as fill it, or a few more if that is enough for the percentiles."""
    filling = round_ms / inference_ms
    for_p90, for_p99 = (_FEWEST[percent] / rounds for percent in (90, 99))
    return math.ceil(max(filling, for_p90, min(for_p99, _STRETCH * filling)))


def interleaved(
    sessions: dict[str, OnnxSession], counts: dict[str, int], batch: np.ndarray, numbers: range
) -> list[dict[str, object]]:
    """Times in ms of every round of every model, the order of the models turned around each round."""
    measured: list[dict[str, object]] = []
    order = list(sessions)
    gc.collect()
    gc.disable()
    for number in numbers:
        for role in order if number % 2 == 0 else order[::-1]:
            sessions[role].time(batch, max(_MIN_SETTLING, math.ceil(_SETTLING * counts[role])))
            measured.append({"role": role, "ms": sessions[role].time(batch, counts[role]).tolist()})
    return measured


def cpu_seconds() -> tuple[float, float, float, float]:
    """Read the seconds of the clock, of busy cores, of the hypervisor and of this process; unknown ones are 0."""
    busy = stolen = 0.0
    try:
        tick = os.sysconf("SC_CLK_TCK")
        user, nice, system, _idle, _wait, irq, soft, stolen_ticks = (
            int(word) / tick for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        )
        busy, stolen = user + nice + system + irq + soft, stolen_ticks
    except (OSError, ValueError):
        pass
    return time.perf_counter(), busy, stolen, time.process_time()


def governors() -> list[str]:
    """Frequency governors of the cores, each once."""
    files = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return sorted({file.read_text().strip() for file in files})


def measure(options: argparse.Namespace) -> None:
    """Time the models in interleaved rounds, those of this process, and write every single time."""
    batch = read_frames(options.frames, options.shape)
    models = dict(word.split("=", 1) for word in options.model)
    sessions = {role: OnnxSession(file, options.threads) for role, file in models.items()}
    counts = {
        role: count_for(warm_up(session, batch, options.warmup_ms), options.round_ms, options.rounds)
        for role, session in sessions.items()
    }
    before = cpu_seconds()
    count = options.rounds if options.count is None else options.count
    rounds = interleaved(sessions, counts, batch, range(options.first, options.first + count))
    clock_s, busy_s, stolen_s, own_s = (after - start for after, start in zip(cpu_seconds(), before))
    said = {
        "rounds": rounds,
        "others_cores": round(max(0.0, busy_s - own_s) / clock_s, 3),
        "stolen_cores": round(max(0.0, stolen_s) / clock_s, 3),
        "governors": governors(),
        "onnxruntime": onnxruntime.__version__,
        "usable_cores": len(os.sched_getaffinity(0)),
    }
    part = Path(options.out + ".part")
    part.write_text(json.dumps(said, allow_nan=False))
    part.replace(options.out)


def answer(options: argparse.Namespace) -> None:
    """Write the logits of every file of frames, one after the other; continues where it was stopped."""
    session = OnnxSession(options.model[0], options.threads)
    part = Path(options.out + ".part")
    chunk_bytes = options.shape[0] * options.classes * 4
    finished = part.stat().st_size // chunk_bytes if part.exists() else 0
    with part.open("r+b" if finished else "wb") as file:
        file.truncate(finished * chunk_bytes)
        file.seek(finished * chunk_bytes)
        for frames in options.files[finished:]:
            logits = np.ascontiguousarray(session.run(read_frames(frames, options.shape)), "<f4")
            if logits.nbytes != chunk_bytes:
                raise SystemExit(f"{options.model[0]} returns {logits.shape}; {options.classes} classes were expected")
            file.write(logits.tobytes())
            file.flush()
    part.replace(options.out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=("measure", "answer"))
    parser.add_argument("--model", action="append", required=True, help="FILE, or ROLE=FILE")
    parser.add_argument("--shape", type=lambda text: tuple(map(int, text.split(","))), required=True, help="N,C,L")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--frames", help="the batch that is timed")
    parser.add_argument("--rounds", type=int, help="in all processes together")
    parser.add_argument("--first", type=int, default=0, help="number of the first round of this process, from 0")
    parser.add_argument("--count", type=int, help="rounds of this process; all by default")
    parser.add_argument("--round-ms", type=float)
    parser.add_argument("--warmup-ms", type=float)
    parser.add_argument("--classes", type=int)
    parser.add_argument("files", nargs="*", help="files of frames to compute logits for")
    options = parser.parse_intermixed_args(arguments)
    (measure if options.work == "measure" else answer)(options)


if __name__ == "__main__":
    main()
