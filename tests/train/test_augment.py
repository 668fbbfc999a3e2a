import numpy as np
import pytest
import torch

from edgeprune.train.augment import QUARTERS, rotate


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_multiplication_by_a_power_of_j(dtype):
    iq = torch.randn(8, 2, 16, dtype=dtype)
    quarters = torch.tensor([0, 1, 2, 3, 3, 2, 1, 0])
    turned = rotate(iq, quarters).numpy()
    by_complex = (iq[:, 0].numpy() + 1j * iq[:, 1].numpy()) * (1j ** quarters.numpy())[:, None]
    np.testing.assert_array_equal(turned[:, 0], by_complex.real)
    np.testing.assert_array_equal(turned[:, 1], by_complex.imag)
    assert turned.dtype == iq.numpy().dtype


def test_the_frames_are_left_as_they_are():
    iq = torch.randn(4, 2, 8)
    before = iq.clone()
    rotate(iq, torch.tensor([1, 2, 3, 0]))
    assert torch.equal(iq, before)


def test_all_quarters_make_a_whole_turn():
    iq = torch.randn(3, 2, 8)
    turned = iq
    for _ in range(QUARTERS):
        turned = rotate(turned, torch.ones(3, dtype=torch.int64))
    assert torch.equal(turned, iq)
