"""Every reader on files that are not what they say: an exit code, a line, bounded memory, and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import corpus_data
import corpus_models
import corpus_text
import pytest

HERE = Path(__file__).parent
ABOVE = Path("/hostile-marker")  # where an archive would write
ROOM_BYTES = 500_000_000
FOLD = 4


def written(folder, content):
    folder.mkdir(exist_ok=True)
    found = []
    for name, data in content:
        found.append(folder / name)
        found[-1].write_bytes(data)
    return found


def several(folder, content):
    """Each in a folder of its own."""
    return [written(folder / name.partition(".")[0], [(name, data)])[0] for name, data in content]


CORPORA = {
    "model": lambda folder: written(folder, corpus_models.models()),
    "data": lambda folder: corpus_data.write_data(folder) + written(folder, corpus_models.pickles()),
    "json": lambda folder: written(folder, corpus_text.JSONS.items()),
    "toml": lambda folder: written(folder, corpus_text.TOMLS.items()),
    "result": lambda folder: several(folder, corpus_text.results()),
    "bundle": lambda folder: written(folder, corpus_text.results()),
    "onnx": lambda folder: written(folder, corpus_text.onnxes()),
    "samples": lambda folder: written(folder, corpus_text.samples()),
}


def size_of(path):
    """What a reader is given: the file, and what lies beside it where it has a folder of its own."""
    beside = path.parent.iterdir() if path.parent.name.count("-") else [path]
    return sum(file.stat().st_size for file in {*beside, path} if file.is_file())


def everything(folder):
    """All files in a folder."""
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What came of the files of a reader, read in a child under limits."""
    known = {}

    def of(reader):
        if reader not in known:
            folder = tmp_path_factory.mktemp(reader)
            files = CORPORA[reader](folder)
            before = everything(folder)
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
            done = subprocess.run(
                [sys.executable, str(HERE / "child.py"), reader, *map(str, files)],
                capture_output=True,
                text=True,
                check=False,
                timeout=600,
                cwd=folder,
                env=environment,
            )
            lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
            known[reader] = done, lines, everything(folder) - before, files
        return known[reader]

    return of


@pytest.mark.parametrize("reader", CORPORA)
class TestEveryReader:
    def test_outlives_every_file(self, run, reader):
        done, lines, _, files = run(reader)
        assert done.returncode == 0, f"{done.returncode} after {lines[-1]}: {done.stderr[-500:]}"
        assert len([line for line in lines if "code" in line]) == len(files)

    def test_refuses_each_with_an_exit_code_of_the_contract(self, run, reader):
        _, lines, _, _ = run(reader)
        wrong = [line for line in lines if "code" in line and line["code"] not in (2, 3, 4)]
        assert wrong == []

    def test_says_why_in_a_line_without_a_dump(self, run, reader):
        _, lines, _, _ = run(reader)
        words = [line["words"] for line in lines if "words" in line]
        dumps = [text for text in words if "\n" in text or "Traceback" in text or "enforce fail" in text]
        assert dumps == []

    def test_takes_no_more_memory_than_4_times_the_file_and_500_mb(self, run, reader):
        _, lines, _, files = run(reader)
        told = [line for line in lines if "bytes" in line]
        large = [
            line for line, file in zip(told, files, strict=True) if line["bytes"] > FOLD * size_of(file) + ROOM_BYTES
        ]
        assert large == []

    def test_leaves_no_process_and_no_file(self, run, reader):
        _, lines, left, _ = run(reader)
        assert [line for line in lines if line.get("children")] == []
        assert left == set()
        assert not ABOVE.exists()
