"""Networks that answer some numbers of frames only, and the line of the user's code that makes it so."""

import importlib.util
import re

import pytest
import torch
from torch import nn

from edgeprune.errors import ModelError
from edgeprune.export.onnx import export_onnx
from edgeprune.network.user_code import bound_to_batch, is_users, require_any_batch
from edgeprune.records.pruning import InputSpec

CODE = """
import torch
from torch import nn


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv1d(2, 8, 3), nn.AdaptiveAvgPool1d(1)

    def forward(self, x):
        x = self.pool(torch.relu(self.conv(x)))
        return LINE  # here


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.fc = Body(), nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(self.body(x))
"""
PLACE = next(number for number, text in enumerate(CODE.splitlines(), 1) if "# here" in text)


@pytest.fixture
def network(tmp_path):
    """A function that writes net.py with one line of its own, and builds the network in it."""

    def build(line):
        file = tmp_path / "net.py"
        file.write_text(CODE.replace("LINE", line))
        spec = importlib.util.spec_from_file_location("net", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.Net().eval()

    return build


@pytest.mark.parametrize(
    "line", ["x.flatten(1)", "x.view(x.size(0), -1)", "x.squeeze(-1)", "x.view(int(x.size(0)), 8)"]
)
def test_code_for_any_number_of_frames(network, line):
    require_any_batch(network(line), (2, 16), "mine")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("x.squeeze()", "mine answers one frame at a time with (3,) (net.py:{place}, in the module body)"),
        ("x.view(32, -1)", "mine fails on frames 2×16 (net.py:{place}): shape '[32, -1]' is invalid"),
        ("x.view(3, -1)[: x.size(0)]", "mine fails on 2 frames at a time (net.py:{place}): shape '[3, -1]' is invalid"),
    ],
)
def test_what_fails_or_answers_otherwise_is_said_with_its_line(network, line, said):
    with pytest.raises(ModelError, match=re.escape(said.format(place=PLACE))):
        require_any_batch(network(line), (2, 16), "mine")


@pytest.mark.parametrize(
    ("line", "bound"),
    [
        ("x.view(int(x.size(0)), 8)", True),
        ("torch.stack([row.flatten() for row in x])", True),
        ("x.view(x.size(0), -1)", False),
        ("x.flatten(1) if x.sum() > -1e9 else x.flatten(1)", False),
    ],
)
def test_a_number_of_frames_that_an_export_would_keep_is_found(network, tmp_path, line, bound):
    model = network(line)
    assert bound_to_batch(model, (2, 16)) == (f"net.py:{PLACE}" if bound else "")
    if bound:
        said = f"for any number of frames (net.py:{PLACE} takes the number of frames as a plain number)"
        with pytest.raises(ModelError, match=re.escape(said)):
            export_onnx(model, InputSpec(2, 16, "none"), tmp_path / "o.onnx", opset=18, batch_size=None, metadata={})


def test_a_users_file_is_no_file_of_what_edgeprune_works_with(tmp_path):
    timm = f"{torch.__file__.rsplit('/', 2)[0]}/timm/models/vision_transformer.py"
    assert is_users(str(tmp_path / "net.py"))
    assert is_users(timm)
    assert not any(map(is_users, (torch.__file__, pytest.__file__ and re.__file__, nn.__file__, "<string>")))
