"""Rounds of a measurement in separate processes: the parent's side and the child's side.

The place of a model in memory makes the times of one process differ from those of the next by a per cent or so. The
child imports neither torch nor the commands, so that it starts measuring within half a second.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune import errors, registry
from edgeprune.bench import protocol
from edgeprune.bench.protocol import BenchSettings, Elsewhere, Frames, MeasuredRounds
from edgeprune.device.processes import run_to_end
from edgeprune.errors import DeviceError, EdgepruneError
from edgeprune.files.store import read_json, write_json
from edgeprune.protocols import NullProgress
from edgeprune.records.names import Role

_JOB, _BATCH, _TIMES, _CORES, _ERROR = "job.json", "batch.npy", "times.npz", "cores.json", "error.json"
_START = "import os, sys; sys.path[:] = sys.argv[1].split(os.pathsep); from {module} import serve; serve(sys.argv[2])"
"""Environment of the child: it sees this process's modules, and nothing in the current folder."""
_SLACK_S, _SLOWEST = 300, 20  # a busy machine may take that many times as long as requested


def elsewhere(runtime: str) -> Elsewhere:
    """Measure rounds in processes of their own, with the runtime of this name."""

    def measured(models: Mapping[Role, Path], batch: Frames, settings: BenchSettings, numbers: range) -> MeasuredRounds:
        with tempfile.TemporaryDirectory(prefix="edgeprune-") as place:
            folder = Path(place)
            np.save(folder / _BATCH, batch)
            job = {
                "runtime": runtime,
                "registered_from": str(registry.file_of("runtimes", runtime) or ""),
                "models": {role: str(path.absolute()) for role, path in models.items()},
                "settings": asdict(settings),
                "numbers": [numbers.start, numbers.stop],
            }
            write_json(folder / _JOB, job)
            wanted_s = len(models) * (len(numbers) * settings.round_ms + settings.warmup_ms) / 1000
            _run(folder, _SLACK_S + _SLOWEST * wanted_s)
            with np.load(folder / _TIMES) as times:
                rounds = {role: [times[f"{role}-{number}"] for number in numbers] for role in models}
            return MeasuredRounds(rounds, *read_json(folder / _CORES))

    return measured


def _run(folder: Path, limit_s: float) -> None:
    """Run the child to its end.

    Raises:
        EdgepruneError: The child's own error, raised again here.
        DeviceError: The child crashed, or took too long.
    """
    words = [sys.executable, "-c", _START.format(module=__name__), os.pathsep.join(sys.path), str(folder)]
    with Path(os.devnull).open("rb") as nothing, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        try:
            code = run_to_end(
                words,
                source=nothing,
                out=out,
                errors=said,
                timeout_s=limit_s,
                name="a process of the measurement",
                stop=signal.SIGKILL,
            )
        except OSError as error:
            raise DeviceError(f"no process can be started to measure in: {errors.reason_of(error)}") from error
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    if (folder / _ERROR).exists():
        found = read_json(folder / _ERROR)
        raise getattr(errors, found["kind"])(found["message"], found["hint"])
    if code != 0:
        why = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
        raise DeviceError(
            f"a process of the measurement {why}: {lines[-1] if lines else 'it said nothing'}",
            "Check whether memory ran out; `processes=1` measures in this process",
        )


def serve(place: str) -> None:
    """Measure what the folder `place` requests, and write the times or the error to it."""
    folder = Path(place)
    try:
        job = read_json(folder / _JOB)
        if job["registered_from"]:
            registry.register(job["registered_from"], job["runtime"])
        measured = protocol.measure_rounds(
            {role: Path(path) for role, path in job["models"].items()},
            np.load(folder / _BATCH),
            registry.get("runtimes", job["runtime"]),
            BenchSettings(**job["settings"]),
            range(*job["numbers"]),
            NullProgress(),
        )
    except EdgepruneError as error:
        plain = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
        write_json(folder / _ERROR, plain)
        return
    times: dict[str, Any] = {
        f"{role}-{number}": ms
        for role, rounds in measured.rounds.items()
        for number, ms in zip(range(*job["numbers"]), rounds, strict=True)
    }
    np.savez(folder / _TIMES, **times)
    write_json(folder / _CORES, [measured.others_cores, measured.stolen_cores])
