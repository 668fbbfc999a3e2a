"""The whole stage: one checked file, or none."""

import hashlib
from contextlib import contextmanager

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from edgeprune.errors import ConfigError, DataError, ModelError
from edgeprune.export import Simplifier, export

ABSENT = Simplifier("absent", ("/no/such/program",))


class Diary:
    """A `Progress` that remembers."""

    def __init__(self):
        self.lines = []

    def stage(self, title, reused=False):
        self.lines.append(title)

    def note(self, text):
        self.lines.append(text)

    @contextmanager
    def track(self, label, total):
        self.lines.append(f"{label} 0/{total}")
        yield lambda steps, text: self.lines.append(f"+{steps} {text}")


class Unsteady(nn.Module):
    """Answers forty frames otherwise, which tracing two of them does not see."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(256, 11)

    def forward(self, x):
        return self.fc(x.flatten(1)) * (-1 if len(x) == 40 else 1)


def test_record_describes_a_small_checked_file(model, spec, iq, answer, target, tmp_path):
    path, metadata = tmp_path / "runs" / "pruned.onnx", {"classes": '["BPSK"]', "checkpoint_sha256": "ab" * 32}
    made = export(model, spec, iq, target(13), path, metadata)
    content, file = path.read_bytes(), onnx.load(path)
    assert (made.path, made.size_bytes) == ("pruned.onnx", len(content))
    assert made.sha256 == hashlib.sha256(content).hexdigest()
    assert (made.opset, made.checked_frames) == (13, 40)
    assert (made.simplifier, made.simplifier_notes) == ("onnxsim", ())
    kinds = [node.op_type for node in file.graph.node]
    assert made.nodes == len(kinds) - kinds.count("Constant")
    assert "BatchNormalization" not in kinds
    assert kinds.count("Conv") == sum(isinstance(module, nn.Conv1d) for module in model.modules())
    found = {entry.key: entry.value for entry in file.metadata_props}
    assert found.items() >= metadata.items()
    assert found["normalisation"] == "rms"
    assert set(found) - set(metadata) == {"edgeprune_version", "normalisation", "exporter"}
    assert [item.name for item in path.parent.iterdir()] == ["pruned.onnx"]
    logits = onnxruntime.InferenceSession(content).run(None, {"iq": iq[:7]})[0]
    np.testing.assert_allclose(logits, answer(model, iq[:7]), rtol=1e-4, atol=1e-4)
    assert made.max_abs_logit_difference < 1e-3 * np.abs(answer(model, iq)).max()


def test_static_target_gets_its_batch_size_and_steps_are_told(model, spec, iq, target, tmp_path):
    path, diary = tmp_path / "net.onnx", Diary()
    made = export(model, spec, iq, target(17, "static"), path, {}, diary, batch_size=16, simplifiers=(ABSENT,))
    assert onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 16
    assert made.simplifier == "none"
    assert made.simplifier_notes == ("absent: cannot be started: No such file or directory",)
    assert diary.lines[:3] == ["export net.onnx 0/3", "+1 TorchScript at opset 17", "+1 simplified by none"]
    assert diary.lines[4:] == ["net.onnx: absent: cannot be started: No such file or directory"]


def test_dynamic_target_ignores_the_batch_size(model, spec, iq, target, tmp_path):
    export(model, spec, iq, target(17), tmp_path / "net.onnx", {}, batch_size=16, simplifiers=())
    session = onnxruntime.InferenceSession((tmp_path / "net.onnx").read_bytes())
    assert session.run(None, {"iq": iq[:3]})[0].shape == (3, 11)


def test_same_network_gives_the_same_bytes(model, spec, iq, target, tmp_path):
    pair = [export(model, spec, iq, target(17), tmp_path / f"{name}.onnx", {}, simplifiers=()) for name in "ab"]
    assert pair[0].sha256 == pair[1].sha256


def test_mismatch_leaves_nothing_behind(spec, iq, target, tmp_path):
    torch.manual_seed(0)
    with pytest.raises(ModelError, match=r"the exported file does not compute what torch does: it gives another class"):
        export(Unsteady(), spec, iq, target(17), tmp_path / "net.onnx", {}, simplifiers=())
    assert list(tmp_path.iterdir()) == []


def test_failure_keeps_the_file_of_before(spec, iq, target, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"an earlier export")
    with pytest.raises(ModelError):
        export(Unsteady(), spec, iq, target(17), path, {}, simplifiers=())
    assert path.read_bytes() == b"an earlier export"
    assert [item.name for item in tmp_path.iterdir()] == ["net.onnx"]


def test_frames_of_another_length_are_refused_first(model, spec, target, tmp_path):
    with pytest.raises(DataError, match=r"shape \(4, 2, 64\); allowed is \(N, 2, 128\)"):
        export(model, spec, np.zeros((4, 2, 64), np.float32), target(17), tmp_path / "net.onnx", {})
    assert list(tmp_path.iterdir()) == []


def test_place_that_cannot_be_written_is_a_configuration_error(model, spec, iq, target, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot write"):
        export(model, spec, iq, target(17), tmp_path / "file" / "net.onnx", {}, simplifiers=())
