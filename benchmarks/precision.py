"""What lower precision costs: accuracy, size and latency of models in FP32, FP16 and INT8, and of calibration sets.

    python benchmarks/precision.py MODEL.pt... --data FRAMES [--target T] [--frames N] [--out FOLDER]

Each model is exported in every precision that ONNX Runtime runs, and its files name the same frames of the test split.
Then int8 is calibrated on frames chosen by each strategy of `edgeprune data calib`. Latency is of ONNX Runtime on this
machine's CPU, one thread, batch 1, the files in turns; it says nothing of another machine.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime

from edgeprune import targets
from edgeprune.export import METHODS, onnx_logits
from edgeprune.files.store import to_plain
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.protocols import NullProgress, Reading
from edgeprune.records.frames import Frames
from edgeprune.records.names import Split
from edgeprune.tasks.data import calibrate
from edgeprune.tasks.data.choose import STRATEGIES
from edgeprune.tasks.data.frames import frames_for, split_seed_of, spread
from edgeprune.tasks.data.reading import SPLIT_SEED
from edgeprune.tasks.export import export_checked
from edgeprune.tasks.precision import CALIBRATION_FRAMES, PrecisionOptions
from edgeprune.train.accuracy import accuracy, compare

ROUNDS, RUNS = 10, 50


def latency_ms(files: dict[str, Path], frame: np.ndarray) -> dict[str, float]:
    """Median of single inferences, the files in turns."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = {name: onnxruntime.InferenceSession(str(path), options) for name, path in files.items()}
    times: dict[str, list[float]] = {name: [] for name in files}
    for turn in range(ROUNDS + 1):
        for name, session in sessions.items():
            for _ in range(RUNS):
                began = time.perf_counter()
                session.run(None, {"iq": frame})
                if turn:  # the first warms up
                    times[name].append(1000 * (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in times.items()}


def right(logits: np.ndarray, frames: Frames) -> dict[str, Any]:
    found = accuracy(logits, frames, "test")
    return {"top1": found.top1, "ci95": found.ci95, "by_snr": {snr: rate.top1 for snr, rate in found.by_snr.items()}}


def precisions(model: Checkpoint, parts: dict[Split, Frames], test: Frames, place: Path, target: str) -> dict[str, Any]:
    """Every precision and every method of calibration, on the same test frames."""
    wanted = {"fp32": PrecisionOptions(), "fp16": PrecisionOptions("fp16")}
    wanted |= {f"int8 {method}": PrecisionOptions("int8", method) for method in METHODS}
    found, files, before = {}, {}, None
    for name, options in wanted.items():
        files[name] = place / f"{name}.onnx"
        record = export_checked(model, parts, targets.get(target), files[name], options, 1, NullProgress())
        logits = onnx_logits(files[name], test.iq)
        before = logits if before is None else before
        lost = compare(before, logits, test, "test")
        found[name] = {
            **right(logits, test),
            "drop": lost.drop,
            "drop_ci95": lost.drop_ci95,
            "size_bytes": record.size_bytes,
            "float32_operators": record.float32_operators,
        }
        print(f"{model.name} {name}: {lost.pruned.top1:.2%}, {100 * lost.drop:+.2f} points lost")
    for name, milliseconds in latency_ms(files, test.iq[:1]).items():
        found[name]["latency_ms"] = milliseconds
    return found


def strategies(
    model: Checkpoint, path: Path, chosen: argparse.Namespace, parts: dict[Split, Frames], test: Frames, place: Path
) -> dict[str, Any]:
    """int8 with frames chosen by each strategy; that by entropy asks the model about every frame of the train split."""
    found = {}
    for strategy in chosen.strategies:
        asked = path if strategy == "entropy" else None
        wanted = calibrate.CalibrationChoice(
            CALIBRATION_FRAMES, strategy, SPLIT_SEED, "auto", split_seed_of(model), asked, None
        )
        folder, file = place / strategy, place / f"{strategy}.onnx"
        folder.mkdir()
        manifest = calibrate.store(wanted, chosen.data, Reading(), folder, NullProgress())
        options = PrecisionOptions("int8", calibration=folder)
        export_checked(model, parts, targets.get(chosen.target), file, options, 1, NullProgress())
        found[strategy] = {**right(onnx_logits(file, test.iq), test), "calibration_sha256": manifest["sha256"]}
        print(f"{model.name} int8 calibrated on {strategy} frames: {found[strategy]['top1']:.2%}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--target", default="nvidia-gpu", help="One that runs every precision.")
    parser.add_argument("--frames", type=int, default=11_000, help="Number of frames of the test split.")
    parser.add_argument("--strategies", nargs="*", choices=STRATEGIES, default=STRATEGIES, metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("docs/results/precision"))
    arguments = parser.parse_args()
    for path in arguments.models:
        model = checkpoints.load(path)
        parts = frames_for(model, arguments.data)
        test = spread(parts["test"], arguments.frames, SPLIT_SEED)
        with TemporaryDirectory() as folder:
            place = Path(folder)
            began = time.perf_counter()
            result = {
                "model": str(path),
                "model_sha256": model.sha256,
                "data_sha256": test.sha256,
                "test_frames": len(test),
                "calibration_frames": CALIBRATION_FRAMES,
                "onnxruntime": onnxruntime.__version__,
                "precisions": precisions(model, parts, test, place, arguments.target),
                "strategies": strategies(model, path, arguments, parts, test, place),
            }
            result["seconds"] = time.perf_counter() - began
        arguments.out.mkdir(parents=True, exist_ok=True)
        name = path.parent.name if path.stem == "pruned" else path.stem
        (arguments.out / f"{name}.json").write_text(json.dumps(to_plain(result), indent=2) + "\n")


if __name__ == "__main__":
    main()
