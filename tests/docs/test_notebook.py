"""The notebook runs, and what it keeps is of its own code."""

import warnings
from pathlib import Path

import nbformat
import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from nbclient import NotebookClient

import edgeprune as ep

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
SHIPPED = ROOT / "calib_data" / "gr2016a-high" / "frames.npz"
KEPT = 12  # frames of each class and SNR that the test runs on


@pytest.fixture(scope="module")
def kept():
    return nbformat.read(NOTEBOOK, 4)


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_keeps_the_outputs_of_a_run_from_top_to_bottom(kept):
    cells = code_of(kept)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert [cell.source for cell in cells[1:] if not cell.outputs] == []
    kinds = {kind for cell in cells for output in cell.outputs for kind in output.get("data", {})}
    assert kinds >= {"image/png", "text/html", "text/plain"}


def test_what_it_keeps_is_what_the_shipped_network_does(kept):
    shown = "".join(
        output["data"].get("text/plain", "") for cell in code_of(kept) for output in cell.outputs if "data" in output
    )
    model = ep.load(ROOT / "examples" / "resnet56-1d-gr2016a.pt")
    assert repr(model) in shown
    assert repr(ep.units(model)) in shown
    assert repr(ep.read_frames(SHIPPED)) in shown


def test_it_runs(kept, tmp_path):
    """On a part of the shipped frames, in the folders that it expects."""
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "resnet56-1d-gr2016a.pt").symlink_to(ROOT / "examples" / "resnet56-1d-gr2016a.pt")
    place = tmp_path / "calib_data" / "gr2016a-high"
    place.mkdir(parents=True)
    frames = ep.read_frames(SHIPPED)
    cells = frames.labels * 1000 + frames.snrs
    rows = np.concatenate([np.flatnonzero(cells == cell)[:KEPT] for cell in np.unique(cells)])
    names = np.array(frames.classes)[frames.labels[rows]]
    np.savez(place / "frames.npz", iq=frames.iq[rows], labels=names, snrs=frames.snrs[rows])
    fresh = nbformat.from_dict(kept)
    done = NotebookClient(
        fresh, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path / "examples"}}
    ).execute()
    outputs = [output for cell in code_of(done) for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error"] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert {path.name for path in (tmp_path / "examples").iterdir()} >= {"baseline.onnx", "pruned.onnx"}
