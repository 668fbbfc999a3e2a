"""What a network answers with, told by the answers."""

import numpy as np
import pytest
import torch
from torch import nn

from edgeprune.network.outputs import LogitsOf, outputs_of

LOGITS = np.random.default_rng(0).normal(size=(50, 5), scale=4).astype(np.float32)
PROBABILITIES = torch.from_numpy(LOGITS).softmax(1).numpy()


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (LOGITS, "logits"),
        (-np.abs(LOGITS), "logits"),
        (1 / (1 + np.exp(-LOGITS)), "logits"),
        (PROBABILITIES, "probabilities"),
        (np.eye(5, dtype=np.float32), "probabilities"),
        (np.log(PROBABILITIES), "log-probabilities"),
        (LOGITS * np.nan, "logits"),
        (np.ones((4, 1), dtype=np.float32), "logits"),
    ],
)
def test_are_told_apart(answers, kind):
    assert outputs_of(answers) == kind


def test_logits_of_probabilities_give_them_back():
    answers = LogitsOf(nn.Softmax(1))(torch.from_numpy(LOGITS))
    np.testing.assert_allclose(answers.softmax(1).numpy(), PROBABILITIES, atol=1e-6)
    assert torch.isfinite(LogitsOf(nn.Identity())(torch.eye(3))).all()
