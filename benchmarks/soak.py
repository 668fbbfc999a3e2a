"""Jobs killed at random moments and run again: what is left must be what an undisturbed run leaves.

    python benchmarks/soak.py [--trials N] [--seed N] [--only JOB] [--out FOLDER]

The jobs are `prune-and-export` on this machine and on a recorded board, `compare`, `device collect` and `check --keep`.
A trial runs one in a folder of its own, in a process group that gets SIGKILL at a moment drawn evenly from the time an
undisturbed run takes, up to three times; then the same command runs to its end. It passes when

- the command ends as the undisturbed one does,
- every file is there that an undisturbed run leaves, and no other; none is half written or only begun,
- weights, plans, scores, accuracies and ONNX graphs are the same bit for bit; times may differ, those of epochs in a
  model file too, and so may what is made of them: hashes of such files, reports, samples, a board's logs and power,
- what the user put beside it is as it was, names that look unfinished among it.

To spend its time on edgeprune and not on imports, each run is forked from a process that has imported it already.
"""

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import pkgutil
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnx
import torch

import edgeprune
from edgeprune.files.store import canonical_sha256, file_sha256, now, write_json
from edgeprune.files.whole import append_text

BOARD = "replay:orin-nano-jp62"
CPU = """
name = "soak-cpu"
description = "this machine, measured shortly"
runtime = "onnxruntime"
opset = 16
precisions = ["fp32"]
[bench]
rounds = 6
round_ms = 2.0
warmup_ms = 1.0
"""
ORIN = """
name = "soak-orin"
description = "an Orin, measured shortly"
runtime = "trtexec"
opset = 16
precisions = ["fp16", "fp32"]
batch = "static"
compute_capability = "8.7"
tensorrt = {lowest = "8.4", below = "12"}
rails = [["VDD_IN"]]
builds = 1
[bench]
rounds = 6
round_ms = 20.0
warmup_ms = 5.0
"""
GRID = """
title = "soak"
models = ["../model.pt"]
ratios = [0.5]
seeds = [0]
[data]
path = ["../frames.npz"]
[training]
epochs = 1
batch_size = 8
[bench]
target = "../soak-cpu.toml"
[[methods]]
name = "edgeprune"
criterion = "block-influence"
[[methods]]
name = "chance"
criterion = "random"
"""
MINE = {
    "notes.txt": "mine",
    ".env.local.template": "KEY=",
    ".ssh.bak.20240101/id_ed25519": "secret",
    ".edgeprune-unfinished-0123456789abcdef": "of another run",
}
EXACT = (".pt", ".onnx", ".npy", "-layers.json", "-similarity.json", "-segments.json", "-scores.json", "-plan.json")
EXACT += ("-prune.json", "-accuracy.json", "-match.json", "host-answers.npz")
VARIES = ("created", "seconds", "sha256", "model_sha256")
MOST_KILLS = 3
LIMIT_S = 1800
IMPORTED_LATE = ("torch.onnx.utils", "torch.fx.experimental.symbolic_shapes", "onnxsim", "onnxruntime", "scipy.stats")


@dataclass(frozen=True)
class Job:
    """A command to kill.

    Attributes:
        words: What is typed after `edgeprune`, in the folder of the trial.
        folder: Where it works, within that.
        prepare: Brings the folder of a trial to where the command begins.
        share: How many of ten trials are its.
    """

    words: tuple[str, ...]
    folder: str
    prepare: Callable[[Path], None]
    share: int


def import_all() -> None:
    """Import what the jobs would import, each anew."""
    found = [each.name for each in pkgutil.walk_packages(edgeprune.__path__, "edgeprune.")]
    for name in (*IMPORTED_LATE, *(each for each in found if not each.endswith("__main__"))):
        with contextlib.suppress(ImportError):  # of a runtime that is not installed here
            importlib.import_module(name)


def run(words: Sequence[str], place: Path, kill_after_s: float | None = None) -> int | None:
    """Exit code of a command; None when it was killed, it and all that it had started."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(place)
        with Path(os.devnull).open("r+b") as null, (place / "said.txt").open("ab") as said:
            for stream, target in ((0, null), (1, said), (2, said)):
                os.dup2(target.fileno(), stream)
        sys.argv = ["edgeprune", *words]
        try:
            from edgeprune.cli import main

            main()
        except SystemExit as stop:
            os._exit(int(stop.code or 0))
        finally:
            os._exit(99)
    end = time.monotonic() + (LIMIT_S if kill_after_s is None else kill_after_s)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            with contextlib.suppress(ProcessLookupError):  # nothing of it may stay
                os.killpg(child, signal.SIGKILL)
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            if kill_after_s is None:
                raise TimeoutError(f"{words} did not end within {LIMIT_S} s")
            return None
        time.sleep(0.002)


def made(world: Path) -> None:
    """Frames, a small network and targets."""
    from edgeprune.network import checkpoint as checkpoints
    from edgeprune.network.checkpoint import Checkpoint
    from edgeprune.records.frames import DataRef
    from edgeprune.records.pruning import Arch, InputSpec

    classes, length, random = ("A", "B", "C"), 64, np.random.default_rng(0)
    labels = np.tile(np.arange(3), 60)
    turns = np.exp(1j * np.outer(0.2 + labels, np.arange(length))) + 0.3 * random.standard_normal((180, length))
    iq = np.stack([turns.real, turns.imag], axis=1).astype(np.float32)
    np.savez(world / "frames.npz", iq=iq, labels=labels, classes=np.array(classes), snrs=np.zeros(180, np.int16))
    torch.manual_seed(0)
    arch = Arch("cnn1d", {"channels": 2, "length": length, "classes": 3})
    data = DataRef("frames.npz", file_sha256(world / "frames.npz"), 2016)
    model = checkpoints.build(arch).eval()
    checkpoints.save(world / "model.pt", Checkpoint(model, arch, classes, InputSpec(2, length), data, None, {}))
    for name, text in (("soak-cpu", CPU), ("soak-orin", ORIN), ("grid", GRID)):
        (world / f"{name}.toml").write_text(text)
    (world / "edgeprune.toml").write_text("[targets.soak-cpu]\nmax_median_ms = 1000\n")


def jobs(world: Path) -> dict[str, Job]:
    """What is killed; the runs that `collect` and `check` begin with are made here, undisturbed."""
    whole = ("prune-and-export", "../model.pt", "--data", "../frames.npz", "--epochs", "2", "--keep", "2")
    whole += ("--accept-baseline", "--out", "run", "--target")
    done, carried = world / "done", world / "carried"
    for place, target in ((done, "../soak-cpu.toml"), (carried, "../soak-orin.toml")):
        place.mkdir()
        assert run((*whole, target), place) == 0, (place / "said.txt").read_text()
    _carry(carried)

    def nothing(_place: Path) -> None:
        """A new folder."""

    def with_bundle(place: Path) -> None:
        shutil.copytree(carried / "run", place / "run")
        shutil.copy(carried / "result.tar", place / "result.tar")

    def with_report(place: Path) -> None:
        shutil.copytree(done / "run", place / "done")
        (place / "run").mkdir()
        (place / "run" / "notes.txt").write_text("mine")

    check = ("check", "done/report.json", "--budget", "../edgeprune.toml", "--history", "run", "--keep")
    return {
        "prune-and-export": Job((*whole, "../soak-cpu.toml"), "run", nothing, 3),
        "compare": Job(("compare", "--grid", "../grid.toml", "--workers", "0", "--out", "run"), "run", nothing, 2),
        "board": Job((*whole, "../soak-orin.toml", "--device", BOARD), "run", nothing, 1),
        "collect": Job(("device", "collect", "run", "result.tar"), "run", with_bundle, 2),
        "check --keep": Job(check, "run", with_report, 2),
    }


def _carry(place: Path) -> None:
    """Run the bundle of a run folder on the recorded board, as a user would by hand."""
    from edgeprune.device.replay.transport import open_board
    from edgeprune.device.session import run_bundle
    from edgeprune.protocols import NullProgress

    with contextlib.closing(open_board(BOARD)) as board:
        run_bundle(board, place / "run" / "bundle.tar", place, NullProgress()).rename(place / "result.tar")


def left(folder: Path) -> dict[str, str]:
    """Every file in a folder with what must be the same of it, '' where nothing must."""
    return {
        file.relative_to(folder).as_posix(): _same(file) if file.name.endswith(EXACT) else ""
        for file in sorted(folder.rglob("*"))
        if not file.is_dir()
    }


def _same(file: Path) -> str:
    """What must be the same of a file: all of it but times, and the hashes of files that hold times."""
    if file.suffix == ".pt":
        content = torch.load(file, weights_only=True)
        weights = [[name, value.numpy().tobytes().hex()] for name, value in content.pop("state_dict").items()]
        return canonical_sha256([_timeless(content), weights])
    if file.suffix == ".onnx":
        network = onnx.load(file)
        del network.metadata_props[:]
        return hashlib.sha256(network.SerializeToString(deterministic=True)).hexdigest()
    if file.suffix != ".json":
        return file_sha256(file)
    return json.dumps(_timeless(json.loads(file.read_text())["record"]), sort_keys=True)


def _timeless(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {key: _timeless(value) for key, value in plain.items() if key not in VARIES}
    return [_timeless(value) for value in plain] if isinstance(plain, list) else plain


def differences(wanted: dict[str, str], found: dict[str, str]) -> list[str]:
    """What is missing, too much, or another."""
    names = [f"missing: {name}" for name in wanted.keys() - found.keys()]
    names += [f"left over: {name}" for name in found.keys() - wanted.keys()]
    return names + [f"another: {name}" for name in wanted.keys() & found.keys() if wanted[name] != found[name]]


def undisturbed(job: Job, world: Path, name: str) -> tuple[dict[str, str], float, int]:
    """What a job leaves, how long it takes, and its exit code."""
    place = world / f"undisturbed-{name.replace(' ', '')}"
    place.mkdir()
    job.prepare(place)
    began = time.monotonic()
    code = run(job.words, place)
    if code != 0:
        raise RuntimeError(f"{name} ended with {code}: {(place / 'said.txt').read_text()[-2000:]}")
    return left(place / job.folder), time.monotonic() - began, code


def trial(job: Job, world: Path, number: int, took_s: float, random: np.random.Generator) -> dict[str, Any]:
    """Kill a job at random moments and run it again; what came of it."""
    place = world / f"trial-{number:04}"
    place.mkdir()
    job.prepare(place)
    for name, text in MINE.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    kills, began = [], time.monotonic()
    for after_s in random.uniform(0, took_s, random.integers(1, MOST_KILLS + 1)):
        if run(job.words, place, after_s) is not None:
            break  # it was done before
        kills.append(round(float(after_s), 4))
        if (place / job.folder).is_dir() and (place / job.folder / "edgeprune-run.json").is_file():
            for name in (".env.local.template", "notes.txt"):
                (place / job.folder / name).write_text(MINE[name])
    code = run(job.words, place)
    found = left(place / job.folder)
    lost = [name for name, text in MINE.items() if not (place / name).is_file() or (place / name).read_text() != text]
    for name in (".env.local.template", "notes.txt"):
        if found.pop(name, None) is None and kills and (place / job.folder / name).exists():
            lost.append(name)
    return {"kills_s": kills, "took_s": round(time.monotonic() - began, 2), "code": code, "lost": lost, "left": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--only", action="append", metavar="JOB", help="one of the jobs; repeatable")
    parser.add_argument("--out", type=Path, help="folder for trials.jsonl, added to as they end, and soak.json")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgeprune-soak-") as where:
        world = Path(where)
        os.environ["XDG_CACHE_HOME"] = str(world / "cache")
        import_all()
        made(world)
        found = {name: job for name, job in jobs(world).items() if not chosen.only or name in chosen.only}
        known = {name: undisturbed(job, world, name) for name, job in found.items()}
        print("undisturbed: " + ", ".join(f"{name} {took:.1f} s" for name, (_, took, _) in known.items()), flush=True)
        deck = [name for name, job in found.items() for _ in range(job.share)]
        random, outcomes, kills = np.random.default_rng(chosen.seed), Counter[str](), 0
        for number in range(chosen.trials):
            name = deck[number % len(deck)]
            wanted, took_s, code = known[name]
            raw = trial(found[name], world, number, took_s, random)
            wanted = {file: content for file, content in wanted.items() if file not in MINE}
            odd = differences(wanted, raw.pop("left")) + [f"lost: {each}" for each in raw["lost"]]
            odd += [f"ended with {raw['code']}"] if raw["code"] != code else []
            outcomes[f"{name}: {'failed' if odd else 'passed'}"] += 1
            kills += len(raw["kills_s"])
            line = {"trial": number, "job": name, "created": now(), **raw, "odd": odd}
            if chosen.out:
                chosen.out.mkdir(parents=True, exist_ok=True)
                append_text(chosen.out / "trials.jsonl", json.dumps(line) + "\n")
            if odd:
                print(f"trial {number}, {name}, killed after {raw['kills_s']} s: {'; '.join(odd[:5])}", flush=True)
            else:
                shutil.rmtree(world / f"trial-{number:04}")
        print(f"{chosen.trials} trials, {kills} kills: {dict(outcomes)}")
        if chosen.out:
            plain = {"benchmark": "soak", "trials": chosen.trials, "seed": chosen.seed, "kills": kills}
            write_json(chosen.out / "soak.json", {**plain, "outcomes": dict(outcomes)})


if __name__ == "__main__":
    main()
