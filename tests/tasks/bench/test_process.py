"""Rounds in processes of their own: what comes back is what was measured there, and what went wrong there."""

import numpy as np
import onnx
import pytest

from edgeprune.bench.protocol import BenchSettings
from edgeprune.errors import DeviceError, ModelError
from edgeprune.tasks.bench import process
from edgeprune.tasks.bench.process import elsewhere

SETTINGS = BenchSettings("fp32", batch=1, threads=1, rounds=5, round_ms=1.0, warmup_ms=1.0, processes=2)
BATCH = np.zeros((1, 2, 16), np.float32)


@pytest.fixture
def model(tmp_path):
    graph = "g (float[1, 2, 16] iq) => (float[1, 2, 16] logits) {logits = Relu(iq)}"
    onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {graph}'), tmp_path / "a.onnx")
    return tmp_path / "a.onnx"


def test_a_process_measures_its_share_of_the_rounds(model, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('what lies in the current folder was imported')")
    monkeypatch.chdir(tmp_path)
    measured = elsewhere("onnxruntime")({"baseline": model, "pruned": model}, BATCH, SETTINGS, range(3, 5))
    assert {role: len(rounds) for role, rounds in measured.rounds.items()} == {"baseline": 2, "pruned": 2}
    assert all((ms > 0).all() and ms.dtype == np.float64 for rounds in measured.rounds.values() for ms in rounds)
    assert measured.others_cores >= 0
    assert measured.stolen_cores >= 0


def test_what_goes_wrong_there_is_raised_here(tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nonsense")
    with pytest.raises(ModelError, match=r"cannot load broken\.onnx") as error:
        elsewhere("onnxruntime")({"baseline": broken}, BATCH, SETTINGS, range(1))
    assert error.value.hint


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("os._exit(3)", "ended with 3: it said nothing"),
        ("sys.exit('no room')", "ended with 1: no room"),
        ("os.kill(os.getpid(), 9)", "was ended by signal 9"),
    ],
)
def test_a_process_that_ends_otherwise_is_told_with_its_last_words(model, monkeypatch, end, said):
    monkeypatch.setattr(process, "_START", f"import os, sys; {end}")
    with pytest.raises(DeviceError, match=said):
        elsewhere("onnxruntime")({"baseline": model}, BATCH, SETTINGS, range(1))
