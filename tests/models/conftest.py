"""Costs of a network by ways that share no code with the package."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeprune import registry


def _build(name: str, length: int, classes: int, device: str = "meta") -> nn.Module:
    with torch.device(device):
        return registry.family_of(name).build(name, channels=2, length=length, classes=classes).eval()


@pytest.fixture
def built():
    """A network by name, on the meta device unless told otherwise."""
    return _build


@pytest.fixture
def runnable():
    """A network by name and zeros it can read soon: on the meta device, or on the CPU if it has recurrent layers."""

    def build(name: str, length: int, classes: int) -> tuple[nn.Module, torch.Tensor]:
        network, device = _build(name, length, classes), "meta"
        if any(isinstance(module, nn.RNNBase) for module in network.modules()):
            network, device = _build(name, length, classes, "cpu"), "cpu"
        return network, torch.zeros(1, 2, length, device=device)

    return build


@pytest.fixture
def parameters():
    def count(network: nn.Module) -> int:
        return sum(parameter.numel() for parameter in network.parameters())

    return count


@pytest.fixture
def thop_flops():
    """Cost of one frame as thop counts it: MACs of convolutions and linear layers, two an output of batch norm."""

    def count(network: nn.Module, length: int) -> int:
        total = 0

        def add(module: nn.Module, _inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            nonlocal total
            if isinstance(module, nn.Conv1d | nn.Conv2d):
                total += output.numel() * module.weight[0].numel()
            elif isinstance(module, nn.Linear):
                total += output.numel() * module.in_features
            elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                total += 2 * output.numel()

        hooks = [module.register_forward_hook(add) for module in network.modules()]
        with torch.no_grad():
            network(torch.zeros(1, 2, length, device="meta"))
        for hook in hooks:
            hook.remove()
        return total

    return count


@pytest.fixture
def macs():
    """Multiply-accumulates of one frame by PyTorch's counter; in float64, since it cannot see inside oneDNN's LSTM."""

    def count(network: nn.Module, frame: torch.Tensor) -> int:
        network.double()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(frame.double())
        return counter.get_total_flops() // 2

    return count
