from dataclasses import replace

import numpy as np
import pytest
import synthetic

import edgeprune as ep
from edgeprune.network import checkpoint as checkpoints


@pytest.fixture
def model():
    """A wrapped residual network of three blocks with shaken weights."""
    network = synthetic.shaken(synthetic.small_network())
    shape = (2, synthetic.LENGTH)
    return ep.wrap(network, classes=synthetic.CLASSES, normalisation="rms", input_shape=shape, name="small")


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A folder with model.pt, frames.npz of the same classes, and quick-cpu.toml."""
    folder = tmp_path_factory.mktemp("files")
    frames = synthetic.frames_of(synthetic.cells())
    np.savez(folder / "frames.npz", iq=frames.iq, labels=frames.labels, classes=frames.classes, snrs=frames.snrs)
    checkpoints.save(folder / "model.pt", replace(synthetic.checkpoint(), classes=frames.classes))
    (folder / "quick-cpu.toml").write_text(synthetic.QUICK_CPU)
    return folder
