import pytest
import torch


@pytest.fixture(autouse=True)
def _a_real_gpu():
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU that PyTorch can use; without one tests/network/test_placement.py stands in")
