"""A small network with batch statistics that matter, and frames like a receiver's."""

import numpy as np
import pytest
import torch
from torch import nn

from edgeprune.models.resnet import ResNet
from edgeprune.records.pruning import InputSpec
from edgeprune.targets import Target


def randomise_batch_norms(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for values, low in (
                (module.running_mean, -0.5),
                (module.running_var, 0.5),
                (module.weight.data, 0.5),
                (module.bias.data, -0.5),
            ):
                values.copy_(low + torch.rand(values.shape, generator=generator))
    return model


@pytest.fixture(scope="session")
def spec():
    return InputSpec(channels=2, length=128)


@pytest.fixture(scope="session")
def build():
    def make(dims: int = 1, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return randomise_batch_norms(ResNet(dims, 1, 11)).eval()

    return make


@pytest.fixture
def model(build):
    return build()


@pytest.fixture(scope="session")
def iq():
    return (np.random.default_rng(0).standard_normal((40, 2, 128)) * 1e-2).astype(np.float32)


@pytest.fixture(scope="session")
def answer():
    """Logits of raw frames by torch, normalised by the formula in numpy instead of by the package."""

    def run(model: nn.Module, iq: np.ndarray) -> np.ndarray:
        wide = iq.astype(np.float64)
        unit_power = wide / np.sqrt((wide**2).sum(axis=1, keepdims=True).mean(axis=2, keepdims=True))
        with torch.no_grad():
            return model(torch.from_numpy(unit_power.astype(np.float32))).numpy()

    return run


@pytest.fixture(scope="session")
def target():
    def make(opset: int = 17, batch: str = "dynamic") -> Target:
        return Target(
            name="bench", description="", runtime="onnxruntime", opset=opset, precisions=("fp32",), batch=batch
        )

    return make
