import numpy as np
import pytest
import torch

from edgeprune.train.augment import QUARTERS, draw_mixing, mix, rotate


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


class TestMix:
    @staticmethod
    def mixed(share, frames, seed=3):
        level, other = draw_mixing(len(frames), share, torch.Generator().manual_seed(seed))
        return mix(frames, frames[other], level)

    def test_each_is_a_frame_and_some_of_another_at_the_power_of_the_first(self):
        iq = torch.randn(40, 2, 64, dtype=torch.float64)
        mixed, rows = self.mixed(1.0, iq), iq.flatten(1).numpy()
        weights = np.linalg.lstsq(rows.T, mixed.flatten(1).numpy().T, rcond=None)[0].T  # (mixed, of which frames)
        np.testing.assert_allclose(weights @ rows, mixed.flatten(1), atol=1e-10)
        heard = np.abs(weights) > 1e-9
        assert set(heard.sum(1)) <= {1, 2}
        assert heard.diagonal().all()
        assert weights.min() > -1e-9
        np.testing.assert_allclose(mixed.square().sum((1, 2)), iq.square().sum((1, 2)))

    def test_levels_are_spread_from_nothing_to_all(self):
        iq = torch.eye(4000).reshape(4000, 2, 2000)
        own = self.mixed(1.0, iq).flatten(1).diagonal().numpy()
        ratio = np.sqrt(1 / own.astype(np.float64) ** 2 - 1)  # of the other's level to the frame's own
        level = np.sort(1 / (1 + ratio))
        np.testing.assert_allclose(level, (np.arange(4000) + 0.5) / 4000, atol=0.04)

    @pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
    def test_so_many_are_mixed_and_the_others_left_bit_for_bit(self, share):
        iq = torch.randn(2000, 2, 8)
        same = (self.mixed(share, iq) == iq).all(dim=(1, 2))
        assert float(same.float().mean()) == pytest.approx(1 - share, abs=0.04)

    def test_what_is_random_comes_from_the_generator(self):
        iq = torch.randn(16, 2, 8)
        assert torch.equal(self.mixed(0.5, iq), self.mixed(0.5, iq))
        assert not torch.equal(self.mixed(0.5, iq), self.mixed(0.5, iq, seed=4))

    def test_silence_stays_silence(self):
        assert torch.equal(self.mixed(1.0, torch.zeros(8, 2, 8)), torch.zeros(8, 2, 8))
