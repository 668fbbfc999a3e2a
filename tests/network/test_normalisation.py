"""The scaling of raw frames, against its formula in numpy."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from edgeprune.errors import ModelError
from edgeprune.network.normalisation import FORMULAS, normalise
from edgeprune.records.names import NORMALISATIONS


def frames(scale: float) -> npt.NDArray[np.float32]:
    return (np.random.default_rng(0).standard_normal((7, 2, 128)) * scale).astype(np.float32)


def by_formula(iq: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    wide = iq.astype(np.float64)
    return wide / np.sqrt((wide[:, :1] ** 2 + wide[:, 1:] ** 2).mean(axis=2, keepdims=True))


@pytest.mark.parametrize("scale", [1e-15, 1e-2, 1.0, 1e4, 1e15])
def test_matches_the_formula_at_any_gain(scale):
    iq = frames(scale)
    np.testing.assert_allclose(normalise(torch.from_numpy(iq), "rms").numpy(), by_formula(iq), rtol=1e-5, atol=1e-6)


def test_two_samples_by_hand():
    # I = 3, 0 and Q = 4, 0: mean power (9 + 16 + 0) / 2 = 12.5.
    x = torch.tensor([[[3.0, 0.0], [4.0, 0.0]]])
    expected = torch.tensor([[[3.0, 0.0], [4.0, 0.0]]]) / 12.5**0.5
    torch.testing.assert_close(normalise(x, "rms"), expected)


def test_other_scalings_by_hand():
    # rows 3, 4 and 0, 12: their mean squares are 12.5 and 72; the largest magnitude is sqrt(4² + 12²).
    x = torch.tensor([[[3.0, 4.0], [0.0, 12.0]]])
    by_rows = torch.tensor([[[3 / 12.5**0.5, 4 / 12.5**0.5], [0.0, 12 / 72**0.5]]])
    torch.testing.assert_close(normalise(x, "rms-rows"), by_rows)
    torch.testing.assert_close(normalise(x, "peak"), x / 160**0.5)


@pytest.mark.parametrize("how", NORMALISATIONS)
def test_silence_stays_silence_and_every_formula_is_told(how):
    assert torch.equal(normalise(torch.zeros(2, 2, 8), how), torch.zeros(2, 2, 8))
    assert FORMULAS[how]


def test_nothing_is_computed_with_a_scaling_that_nobody_said():
    with pytest.raises(ModelError, match="nobody said how this network's frames were scaled"):
        normalise(torch.ones(1, 2, 8), "unknown")


def test_every_frame_is_scaled_by_itself():
    iq = frames(1.0) * np.logspace(-4, 4, 7, dtype=np.float32)[:, None, None]
    power = normalise(torch.from_numpy(iq), "rms").square().sum(dim=1).mean(dim=1)
    torch.testing.assert_close(power, torch.ones(7))


def test_zeros_stay_zeros_beside_a_signal():
    x = torch.from_numpy(frames(1.0))
    x[3] = 0
    y = normalise(x, "rms")
    assert torch.equal(y[3], torch.zeros(2, 128))
    assert torch.isfinite(y).all()


def test_one_impulse_is_not_mistaken_for_silence():
    x = torch.zeros(1, 2, 4096)
    x[0, 1, 17] = 1e-3
    assert normalise(x, "rms")[0, 1, 17].item() == pytest.approx(64.0)  # sqrt(4096)


def test_gradient_is_finite_even_for_zeros():
    x = torch.zeros(2, 2, 8, requires_grad=True)
    normalise(x, "rms").sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_none_changes_nothing():
    x = torch.from_numpy(frames(5.0))
    assert torch.equal(normalise(x, "none"), x)
