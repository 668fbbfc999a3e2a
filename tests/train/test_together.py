"""Several processes train as one would; real ones, over gloo."""

import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import training_together

PROGRAM = Path(training_together.__file__)
KINDS = ("alone", "taught", "mixed", "streamed")


def addresses(count):
    """What a launcher tells each of so many processes on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    there = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    return [{**os.environ, **there, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


@pytest.fixture(scope="module")
def by_two(tmp_path_factory):
    """The results of the trainings by two processes."""
    folder = tmp_path_factory.mktemp("together")
    command = [sys.executable, str(PROGRAM), str(folder), *KINDS]
    running = [subprocess.Popen(command, env=given, stderr=subprocess.PIPE, text=True) for given in addresses(2)]
    said = [each.communicate(timeout=600)[1] for each in running]
    assert [each.returncode for each in running] == [0, 0], "\n".join(said)
    return {kind: pickle.loads((folder / kind).read_bytes()) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_two_end_with_the_weights_of_one(by_two, single_precision, tmp_path, kind):
    """Within rounding: 53 frames in batches of 12 leave 5, of which one process has 3 and the other 2."""
    training_together.run(tmp_path, kind)
    one = pickle.loads((tmp_path / kind).read_bytes())
    torch.testing.assert_close(by_two[kind]["weights"], one["weights"], rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(by_two[kind]["curve"], one["curve"], strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-5)
        assert ours["validation_loss"] == pytest.approx(theirs["validation_loss"], rel=1e-4)
        assert ours["validation_top1"] == pytest.approx(theirs["validation_top1"], abs=0.06)  # one frame of 20


def launch(*words):
    """The command line, run by two processes that accelerate starts."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*launcher, "--main_process_port", str(port), "-m", "edgeprune", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


def test_a_streamed_training_is_launched_and_written_once(tmp_path):
    iq = np.random.default_rng(0).normal(size=(90, 2, 64)).astype(np.float32)
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file["iq"], file["labels"] = iq, np.arange(90) % 3
        file["classes"] = ["A", "B", "C"]
    options = ("--data", str(tmp_path / "frames.h5"), "--stream", "--epochs", "1", "--batch-size", "16", "--json")
    done = launch("train", "--model", "petcgdnn", *options, "--out", str(tmp_path / "new.pt"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["training"]["epochs"][0]["epoch"] == 1
    assert "trains alone" not in done.stderr
    assert (tmp_path / "new.pt").is_file()


def test_bad_input_is_said_once(tmp_path):
    done = launch(
        "train", "--model", "petcgdnn", "--data", str(tmp_path / "none.h5"), "--out", str(tmp_path / "new.pt")
    )
    assert done.returncode != 0
    assert done.stderr.count("error: no such file") == 1
