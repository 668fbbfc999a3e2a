"""Fine-tuning for int8 wins back what plain int8 loses, by the accuracy of the files in ONNX Runtime."""

from dataclasses import dataclass, replace

import pytest
import synthetic
import torch
from torch import nn

from edgeprune.export import onnx_logits
from edgeprune.export.onnx import export_onnx
from edgeprune.export.quantise import calibrate, quantise
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.records.frames import Frames
from edgeprune.records.names import Split
from edgeprune.records.pruning import Arch, InputSpec
from edgeprune.tasks import train as training
from edgeprune.tasks.data.frames import splits_of
from edgeprune.tasks.precision import train_for_int8
from edgeprune.train.finetune import Recipe, train

CLASSES = tuple("ABCDEFGH")
SPEC = InputSpec(2, 32)
LOUD = 100.0


@dataclass(frozen=True)
class Case:
    """A trained network and its frames."""

    model: Checkpoint
    parts: dict[Split, Frames]


@pytest.fixture(scope="module")
def case():
    """Two convolutions, of which one channel between them is as loud as a hundred, and is turned down behind.

    In float32 that changes nothing. In int8 the loud channel has the steps, and little is left of the others.
    """
    table = synthetic.cells(per_cell=200, classes=CLASSES, snrs=(2,), length=SPEC.length)
    parts = splits_of(synthetic.frames_of(table), 0)
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv1d(2, 8, 7), nn.ReLU(), nn.Conv1d(8, 8, 5), nn.ReLU()),
        *(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, len(CLASSES))),
    )
    train(network, training.training_data(parts, SPEC), Recipe(8, batch_size=64), synthetic.Silent())
    with torch.no_grad():
        for values in (network[0].weight, network[0].bias):
            values[0] *= LOUD
        network[2].weight[:, 0] /= LOUD
    model = Checkpoint(network, Arch("small"), CLASSES, SPEC, None, None, {}, name="small", sha256="0" * 64)
    return Case(model, parts)


def accuracy(model, parts, folder):
    """Top-1 on the test split of the float32 file and of the int8 one that is made from it, by ONNX Runtime."""
    plain, quantised = folder / "float32.onnx", folder / "int8.onnx"
    export_onnx(model.model, SPEC, plain, opset=18, batch_size=None, metadata={})
    ranges = calibrate(plain, parts["train"].iq, "percentile")
    quantise(ranges, quantised, ranges.operators)
    test = parts["test"]
    return [float((onnx_logits(path, test.iq).argmax(axis=1) == test.labels).mean()) for path in (plain, quantised)]


def test_it_wins_back_most_of_what_int8_loses(case, tmp_path):
    in_float32, plain = accuracy(case.model, case.parts, tmp_path)
    assert in_float32 > 0.9
    assert in_float32 - plain > 0.1
    tuned, _ = train_for_int8(case.model, case.parts, 10, 0, tmp_path / "state", synthetic.Silent())
    _, trained = accuracy(tuned, case.parts, tmp_path)
    assert trained - plain > (in_float32 - plain) / 2, (in_float32, plain, trained)


def test_one_that_was_interrupted_ends_with_the_same_weights(case, tmp_path):
    before = synthetic.frozen(case.model.model)
    straight, whole = train_for_int8(case.model, case.parts, 3, 0, tmp_path / "straight", synthetic.Silent())
    with pytest.raises(KeyboardInterrupt):
        train_for_int8(case.model, case.parts, 3, 0, tmp_path / "state", synthetic.Silent(stop_at="loss"))
    again = synthetic.Silent()
    continued, result = train_for_int8(case.model, case.parts, 3, 0, tmp_path / "state", again)
    assert sum(text.startswith("loss") for _, text in again.said) == 2
    state, other = continued.model.state_dict(), straight.model.state_dict()
    assert state.keys() == other.keys() == case.model.model.state_dict().keys()
    assert all(torch.equal(state[name], other[name]) for name in state)
    assert [epoch.train_loss for epoch in result.epochs] == [epoch.train_loss for epoch in whole.epochs]
    assert synthetic.unchanged(case.model.model, before)


def test_a_state_of_other_frames_is_not_continued(case, tmp_path):
    state = tmp_path / "state"
    train_for_int8(case.model, case.parts, 1, 0, state, synthetic.Silent())
    few, again = {**case.parts, "train": replace(case.parts["train"], sha256="e" * 64)}, synthetic.Silent()
    train_for_int8(case.model, few, 1, 0, state, again)
    assert sum(text.startswith("loss") for _, text in again.said) == 1
