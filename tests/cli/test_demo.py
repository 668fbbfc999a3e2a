import subprocess
import sys

import numpy as np
import pytest

from edgeprune.files.shipped import shipped
from edgeprune.files.store import read_json
from edgeprune.network import checkpoint as checkpoints
from edgeprune.protocols import NullProgress
from edgeprune.train.evaluate import predict


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What the demo prints after one epoch, in a folder of its own."""
    place = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "edgeprune", "demo", "--epochs", "1"]
    return place, subprocess.run(command, cwd=place, check=True, capture_output=True, text=True).stdout


def test_the_demo_prunes_the_shipped_network_on_the_shipped_frames_in_any_folder(demo, run):
    place, printed = demo
    report = read_json(place / "edgeprune-demo" / "report.json")
    assert report["target"] == "host-cpu"
    assert report["latency"]["speedup"] > 1
    assert report["accuracy"]["frames"] > 1000
    lines = printed.splitlines()
    at = lines.index("Report: edgeprune-demo/report.html")
    assert [line.split()[:2] for line in lines[at + 2 :]] == [
        ["edgeprune", "inspect"],
        ["edgeprune", "device"],
        ["edgeprune", "import"],
    ]
    assert run(*lines[at + 2].split()[1:]).code == 0
    assert [each.name for each in place.iterdir()] == ["edgeprune-demo"]


def test_the_program_in_the_report_names_the_classes_that_the_network_does(demo):
    folder = demo[0] / "edgeprune-demo"
    text = (folder / "report.md").read_text()
    (folder / "classify.py").write_text(text.partition("```python\n")[2].partition("```")[0])
    frames = np.load(shipped("calib_data") / "gr2016a-high" / "frames.npz")["iq"][:60].astype(np.float32)
    np.save(folder / "frames.npy", frames)
    command = [sys.executable, "classify.py", "frames.npy"]
    named = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.split()
    pruned = checkpoints.load(folder / "pruned.pt")
    assert named == [
        pruned.classes[index]
        for index in predict(pruned.model, frames, pruned.input, NullProgress(), "frames").argmax(axis=1)
    ]
    assert len(set(named)) > 3
    np.save(folder / "frames.npy", frames[:, :, :100])
    refused = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert (refused.returncode, refused.stderr) == (1, "frames are (2, 100) each, not (2, 128)\n")


def test_shipped_names_frames_only_where_they_are_of_the_model(world, run):
    ended = run("eval", world / "model.pt", "--data", "shipped")
    assert ended.code == 2
    assert "no shipped frames are of what this model names" in ended.err
