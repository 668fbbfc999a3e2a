"""A few mutated files of every format; EDGEPRUNE_FUZZ_COUNT reads more, and EDGEPRUNE_FUZZ_SEED others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KINDS = ("pt", "pt-bytes", "pickle", "hdf5", "sigmf", "npz", "tar", "bundle", "json", "toml")
SEED = int(os.environ.get("EDGEPRUNE_FUZZ_SEED", "0"))
COUNT = int(os.environ.get("EDGEPRUNE_FUZZ_COUNT", "400"))
MOST_BYTES = 500_000_000


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What came of them, read in a child under limits."""
    out = tmp_path_factory.mktemp("fuzz") / "report.json"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE.parents[1])])}
    command = [sys.executable, str(HERE / "fuzz.py"), "--count", str(COUNT), "--seed", str(SEED), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, f"{done.returncode} with seed {SEED}: {done.stderr[-800:]}"
    return json.loads(out.read_text())


def test_every_kind_is_read(report):
    assert set(report["readers"]) == set(KINDS)
    assert report["inputs"] >= COUNT


def test_every_result_is_an_exit_code_of_the_contract(report):
    assert report["faults"] == [], f"seed {SEED}"


def test_memory_is_bounded(report):
    assert {kind: row["peak_bytes"] for kind, row in report["readers"].items() if row["peak_bytes"] > MOST_BYTES} == {}
