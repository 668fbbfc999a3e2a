"""Reads mutated files and counts what came of each; one reader after another, the same inputs for the same seed.

PYTHONPATH=tests python tests/hostile/fuzz.py --count 100000 --seed 0 --out report.json
PYTHONPATH=tests python tests/hostile/fuzz.py --atheris json -max_total_time=600    (guided by coverage)

Whatever ends with another exit code than 0, 2, 3 or 4 is kept beside the report with its traceback.
"""

import argparse
import contextlib
import functools
import io
import json
import pickle
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
from pathlib import Path

import corpus_data
import corpus_models
import corpus_text
import numpy as np
import torch
from child import ADDRESSES, peak_bytes, reset_peak
from readers import READERS

from edgeprune.datasets import _hdf5
from edgeprune.errors import EdgepruneError

PERMITTED = (0, 2, 3, 4)
MOST_BYTES = 500_000_000
BLOCK = 500  # inputs of one reader at a time
SHARES = {"json": 8, "toml": 8, "bundle": 4, "pt": 3, "pickle": 3, "tar": 2}  # of the quick readers; 1 of the others
NUMBERS = (0, 1, -1, 2**7, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1, 10**30)


def small_hdf5(layout):
    with tempfile.TemporaryDirectory() as folder:
        corpus_data.hdf5(Path(folder) / "a.h5", layout)
        return (Path(folder) / "a.h5").read_bytes()


def radioml(file):
    file["X"], file["Y"], file["Z"] = np.ones((4, 8, 2), "f4"), np.eye(24)[:4], np.zeros((4, 1))


def model_pickles():
    """Pickles of model files, and the storages they name."""
    state = {"w": torch.arange(50.0), "b": torch.ones(3, 4)}
    for content in (state, {**corpus_models.GOOD, "arch": {"name": "nothing"}}, {"state_dict": state, "epoch": 3}):
        with zipfile.ZipFile(io.BytesIO(corpus_models.saved(content))) as archive:
            yield archive.read("archive/data.pkl")
    yield corpus_models.program({"w": corpus_models.tensor(100, 0, (10, 10), (10, 1))})


def rezipped(data):
    return corpus_models.pickled(data, [torch.arange(50.0).numpy().tobytes(), bytes(48)])


def retarred(data):
    """A tar whose headers have the checksums of their bytes."""
    spoiled = bytearray(data)
    for at in range(0, len(spoiled) - 511, 512):
        if spoiled[at + 257 : at + 262] == b"ustar":
            spoiled[at + 148 : at + 156] = b"        "
            spoiled[at + 148 : at + 156] = b"%06o\0 " % sum(spoiled[at : at + 512])
    return bytes(spoiled)


def sigmf_file(data):
    """Metadata in an archive with their samples."""
    member = corpus_data.header("a.sigmf-meta", len(data), content=data)
    samples = corpus_data.header("a.sigmf-data", len(corpus_data.SAMPLES), content=corpus_data.SAMPLES)
    return corpus_data.tarred(member, samples)


def result_tar():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as target:
        for name in ("result/status", "result/bundle.json", "result/SHA256SUMS", "x/bundle.json"):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = 12, 0.5
            target.addfile(member, io.BytesIO(b'{"id": "ab"}'))
    return buffer.getvalue()


def as_it_is(data):
    return data


FRAMES = {("AM", 10): np.ones((4, 2, 8), np.float32), ("CW", -4): np.ones((4, 2, 8), np.float32)}
GRID = b"""[targets.x]
max_median_ms = 1.5
min_accuracy_at_snr = {"10" = 0.85}
significance = 0.01
"""
KINDS = {
    "pt": ("model", ".pt", lambda: [*model_pickles()], rezipped),
    "pt-bytes": ("model", ".pt", lambda: [corpus_models.saved(corpus_models.GOOD)], as_it_is),
    "pickle": ("data", ".pkl", lambda: [pickle.dumps(FRAMES, protocol=p) for p in range(6)], as_it_is),
    "hdf5": (
        "data",
        ".h5",
        lambda: [small_hdf5(layout) for layout in (corpus_data.framed, radioml, corpus_data.torchsig_link)],
        as_it_is,
    ),
    "sigmf": ("data", ".sigmf", lambda: [corpus_data.sigmf(), *corpus_data.METAS.values()][:4], sigmf_file),
    "npz": (
        "data",
        ".npz",
        lambda: [
            corpus_data.archive(
                iq=corpus_data.array_bytes(corpus_data.IQ), labels=corpus_data.array_bytes(corpus_data.LABELS)
            )
        ],
        as_it_is,
    ),
    "tar": ("result", ".tar", lambda: [result_tar()], retarred),
    "bundle": ("bundle", ".tar", lambda: [result_tar()], retarred),
    "json": ("json", ".json", lambda: [b'{"a": [1, 2.5, {"b": "\\u00e4", "c": null}], "d": true}'], as_it_is),
    "toml": ("toml", ".toml", lambda: [GRID, *list(corpus_text.TOMLS.values())[5:9]], as_it_is),
}


def mutated(generator, seeds):
    """One of the seeds, changed in a few places."""
    data = bytearray(seeds[generator.integers(len(seeds))][:20_000])
    for _ in range(int(generator.geometric(0.5))):
        at = int(generator.integers(len(data) + 1))
        match int(generator.integers(7)):
            case 0 if data:
                data[at % len(data)] ^= 1 << int(generator.integers(8))
            case 1 if data:
                data[at % len(data)] = int(generator.integers(256))
            case 2:
                del data[at : at + int(generator.integers(1, 20))]
            case 3:
                data[at:at] = generator.bytes(int(generator.integers(1, 9)))
            case 4:
                number = NUMBERS[generator.integers(len(NUMBERS))]
                data[at : at + 8] = (number % 2**64).to_bytes(8, "little")
            case 5:
                data[at : at + int(generator.integers(1, 4))] = str(NUMBERS[generator.integers(len(NUMBERS))]).encode()
            case _:
                other = seeds[generator.integers(len(seeds))]
                begin = int(generator.integers(len(other) + 1))
                data[at:at] = other[begin : begin + int(generator.integers(1, 60))] * int(generator.integers(1, 4))
    return bytes(data)


FORKING = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import _hdf5_trial
_hdf5_trial.SPARE_SECONDS = 3
for line in sys.stdin:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writing, 2)
        os._exit(_hdf5_trial.main(_hdf5_trial.Path(line[:-1]), int(sys.argv[2])))
    os.close(writing)
    words = open(reading, errors="replace").read()
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), words]), flush=True)
"""


@functools.cache
def forking(allowed):
    """A process that has imported what `_hdf5_trial` imports, and forks for each file that it is told."""
    command = [sys.executable, "-I", "-c", FORKING, str(Path(_hdf5.__file__).parent), str(allowed)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def tried(path, allowed):
    """What `_hdf5.tried` does, without starting Python anew for each input, which would take all of the time."""
    process = forking(allowed + -allowed % (1 << 20))
    process.stdin.write(f"{path}\n")
    process.stdin.flush()
    code, words = json.loads(process.stdout.readline())
    return subprocess.CompletedProcess([], code, stderr=words)


def outcome(kind, content, folder):
    """The exit code of reading a content, and the traceback where it is not one of the contract."""
    reader, suffix, _, _ = KINDS[kind]
    path = folder / f"input{suffix}"
    path.write_bytes(content)
    try:
        READERS[reader](path)
    except EdgepruneError as error:
        return error.exit_code, ""
    except Exception:
        return 70, traceback.format_exc()
    return 0, ""


def fuzz(kinds, count, seed, folder):
    """Read at least `count` inputs in all; returns a table of what came of them."""
    table = {kind: {"inputs": 0, "codes": {}, "slowest_s": 0.0, "peak_bytes": 0} for kind in kinds}
    seeds = {kind: KINDS[kind][2]() for kind in kinds}
    for kind in kinds:
        outcome(kind, b"", folder)  # what is imported on first use is no memory of an input
    done, faults, begin = 0, [], time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):  # what was read until then is reported
        while done < count:
            for kind in kinds:
                generator = np.random.default_rng([seed, done, kinds.index(kind)])
                row, before = table[kind], reset_peak()
                for _ in range(min(BLOCK * SHARES.get(kind, 1), -(-count // len(kinds)))):
                    content = KINDS[kind][3](mutated(generator, seeds[kind]))
                    start = time.monotonic()
                    code, words = outcome(kind, content, folder)
                    row["slowest_s"] = max(row["slowest_s"], round(time.monotonic() - start, 3))
                    row["inputs"] += 1
                    row["codes"][str(code)] = row["codes"].get(str(code), 0) + 1
                    done += 1
                    if code not in PERMITTED:
                        faults.append({"kind": kind, "words": words})
                        (folder / f"fault-{len(faults)}{KINDS[kind][1]}").write_bytes(content)
                row["peak_bytes"] = max(row["peak_bytes"], peak_bytes() - before)
            print(f"{done} inputs, {len(faults)} faults, {time.monotonic() - begin:.0f} s", file=sys.stderr)
    return {
        "seed": seed,
        "inputs": done,
        "seconds": round(time.monotonic() - begin),
        "readers": table,
        "faults": faults,
    }


def guided(kind, arguments):
    """The same with inputs that atheris finds by the coverage of edgeprune's code."""
    import atheris

    folder = Path(tempfile.mkdtemp())
    atheris.instrument_all()

    def one(data):
        code, words = outcome(kind, KINDS[kind][3](data), folder)
        if code not in PERMITTED:
            raise AssertionError(words)

    corpus = folder / "corpus"
    corpus.mkdir()
    for number, content in enumerate(KINDS[kind][2]()):
        (corpus / str(number)).write_bytes(content)
    atheris.Setup([sys.argv[0], *arguments, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--atheris", choices=KINDS)
    options, rest = parser.parse_known_args()
    torch.set_num_threads(1)
    if options.atheris:
        guided(options.atheris, rest)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _hdf5.tried = tried
    with tempfile.TemporaryDirectory(dir=options.out.parent if options.out else None) as scratch:
        report = fuzz(options.kinds.split(","), options.count, options.seed, Path(scratch))
        if report["faults"]:
            kept = Path(tempfile.mkdtemp(prefix="edgeprune-fuzz-"))
            for file in Path(scratch).glob("fault-*"):
                file.rename(kept / file.name)
            print(f"inputs with faults are in {kept}", file=sys.stderr)
    text = json.dumps(report, indent=2) + "\n"
    if options.out:
        options.out.write_text(text)
    else:
        print(text)
