"""A small world to run commands in: three classes, one model, a target that is measured quickly."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import synthetic

from edgeprune.cli import main
from edgeprune.files.store import file_sha256
from edgeprune.network import checkpoint as checkpoints
from edgeprune.records.frames import DataRef


class Result:
    """How a command ended and what it printed."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    """What a user said before on this machine is nothing to a test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config-home"))


@pytest.fixture
def run(capsys, monkeypatch):
    """Run the command line in this process."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["edgeprune", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return Result(stop.value.code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A folder with frames.npz, model.pt (only its last layer knows the frames) and quick-cpu.toml."""
    folder = tmp_path_factory.mktemp("world")
    frames = synthetic.frames_of(synthetic.cells())
    data = folder / "frames.npz"
    np.savez(data, iq=frames.iq, labels=frames.labels, classes=np.array(frames.classes), snrs=frames.snrs)
    reference = DataRef("frames.npz", file_sha256(data), 2016)
    network = synthetic.taught(synthetic.checkpoint().model, frames)
    model = replace(synthetic.checkpoint(), model=network, classes=frames.classes, data=reference)
    checkpoints.save(folder / "model.pt", model)
    (folder / "quick-cpu.toml").write_text(synthetic.QUICK_CPU)
    return folder
