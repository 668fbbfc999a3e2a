"""Kind of a network's outputs, recognized from their values: logits, probabilities or log-probabilities."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgeprune.records.names import Outputs

_TOLERANCE = 1e-3
_LEAST = torch.finfo(torch.float32).tiny


class LogitsOf(nn.Module):
    """Wrapper of a network with probabilities as outputs: its outputs are their logarithms, which softmax inverts.

    Args:
        network: Takes frames (N, C, L), returns probabilities (N, classes).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Log-probabilities (N, classes) of frames (N, C, L)."""
        logits: Tensor = torch.log(self.network(x).clamp(min=_LEAST))
        return logits


def outputs_of(answers: npt.NDArray[np.float32]) -> Outputs:
    """Recognize the kind of outputs (N, classes): probabilities, or exponentials of log-probabilities, add up to 1."""
    if answers.shape[1] < 2 or not np.isfinite(answers).all():
        return "logits"
    if answers.min() >= 0 and np.abs(answers.sum(axis=1) - 1).max() <= _TOLERANCE:
        return "probabilities"
    if answers.max() <= _TOLERANCE and np.abs(np.exp(answers).sum(axis=1) - 1).max() <= _TOLERANCE:
        return "log-probabilities"
    return "logits"
