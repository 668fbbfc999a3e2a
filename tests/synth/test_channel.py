import numpy as np
import pytest

from edgeprune.synth.channel import Fading, Walk, noise, resampled, turned

RATE_HZ = 200_000


def tone(frequency, frames, samples):
    return np.exp(2j * np.pi * frequency * np.arange(samples))[None].repeat(frames, axis=0).astype(np.complex64)


@pytest.mark.parametrize("frequency", [0.01, -0.06, 0.1])
@pytest.mark.parametrize("offset_hz", [0.0, 100.0, -300.0])
def test_a_clock_that_is_off_moves_the_moments_of_sampling(frequency, offset_hz):
    late = np.array([[0.0], [0.3], [0.9]])
    found = resampled(tone(frequency, 3, 144), np.full((3, 128), offset_hz), RATE_HZ, late, 128)
    moments = 4 + np.arange(128) + late + np.arange(1, 129) * offset_hz / RATE_HZ
    np.testing.assert_allclose(found, np.exp(2j * np.pi * frequency * moments), atol=4e-3)


def test_a_carrier_that_is_off_turns_the_signal():
    offsets = np.tile(np.linspace(0, 500, 64), (2, 1))
    found = turned(np.ones((2, 64), np.complex64), offsets, RATE_HZ, np.array([[0.0], [1.0]]))
    phase = np.array([[0.0], [1.0]]) + 2 * np.pi * np.cumsum(offsets, axis=1) / RATE_HZ
    np.testing.assert_allclose(found, np.exp(1j * phase), atol=1e-5)


def test_noise_is_white_gaussian_and_of_unit_power():
    found = noise(np.random.default_rng(0), (500, 128))
    assert np.mean(np.abs(found) ** 2) == pytest.approx(1, rel=0.01)
    assert abs(np.mean(found**2)) < 0.01  # circular
    assert np.mean(np.abs(found) ** 4) == pytest.approx(2, rel=0.02)
    assert abs(np.mean(found[:, 1:] * found[:, :-1].conj())) < 0.01


def test_a_clock_that_is_exact_leaves_the_samples_as_they_are():
    signal = noise(np.random.default_rng(0), (3, 144))
    zero = np.zeros((3, 1))
    np.testing.assert_array_equal(resampled(signal, zero, RATE_HZ, zero, 128), signal[:, 4:132])


@pytest.mark.parametrize("offset_hz", [0.3, 40_000.0])
def test_an_offset_that_does_not_change_may_be_said_once(offset_hz):
    once, each = np.full((2, 1), offset_hz), np.full((2, 512), offset_hz)
    signal, start = noise(np.random.default_rng(0), (2, 512)), np.array([[0.0], [1.0]])
    by_hand = signal * np.exp(1j * (start + 2 * np.pi * np.arange(1, 513) * offset_hz / RATE_HZ))
    np.testing.assert_allclose(turned(signal, once, RATE_HZ, start), by_hand, atol=1e-5)
    np.testing.assert_allclose(turned(signal, each, RATE_HZ, start), by_hand, atol=1e-5)


class TestWalk:
    def test_spreads_as_the_root_of_time_and_is_clipped(self):
        walk = Walk(step=0.01, limit=500.0, age=10_000)
        offsets = walk.offsets(np.random.default_rng(0), 4000, 64)
        # uniform age: mean variance is half of the oldest
        assert offsets.std() == pytest.approx(0.01 * np.sqrt(5000 + 32), rel=0.05)
        steps = np.diff(offsets, axis=1)
        assert steps.std() == pytest.approx(0.01, rel=0.02)
        assert np.abs(Walk(step=1.0, limit=3.0, age=100).offsets(np.random.default_rng(0), 99, 64)).max() == 3.0

    def test_may_be_a_constant_in_a_range(self):
        offsets = Walk(spread=20.0, uniform=True).offsets(np.random.default_rng(0), 2000, 8)
        assert (np.ptp(offsets, axis=1) == 0).all()
        assert np.abs(offsets).max() <= 20
        assert offsets.std() == pytest.approx(20 / np.sqrt(3), rel=0.05)


def in_step(k):
    """Extra power since GNU Radio's line of sight has the phase of the first of its 8 sinusoids.

    E[H exp(-i psi)] is E[cos^2] / sqrt(8) = 1 / (2 sqrt(8)); twice that times sqrt(K) / (K + 1).
    """
    return np.sqrt(k) / (k + 1) / np.sqrt(8)


class TestFading:
    constant = np.ones((20_000, 8), np.complex64)

    def gains(self, **changes):
        fading = Fading(**{"delays": (0.0,), "amplitudes": (1.0,), "doppler_hz": 1.0, "rician_k": 0.0, **changes})
        return fading.apply(np.random.default_rng(0), self.constant, RATE_HZ)[:, 0]

    def test_of_one_path_keeps_the_power(self):
        assert np.mean(np.abs(self.gains()) ** 2) == pytest.approx(1, rel=0.02)

    def test_without_a_line_of_sight_is_rayleigh(self):
        h = self.gains()
        assert abs(h.mean()) < 0.02
        # 8 sinusoids in each part: kurtosis 3 - 1.5 / 8 of a real part, so E|h|^4 = 2 - 0.75 / 8
        assert np.mean(np.abs(h) ** 4) == pytest.approx(2 - 0.75 / 8, rel=0.03)

    @pytest.mark.parametrize("k", [1.0, 4.0, 20.0])
    def test_with_one_is_rician(self, k):
        power = np.abs(self.gains(rician_k=k)) ** 2
        assert power.mean() == pytest.approx(1 + in_step(k), rel=0.02)
        # var |h|^2 = (1 + 2 K) / (1 + K)^2 for Gaussian scatter; 8 sinusoids are close to that
        assert power.var() / power.mean() ** 2 == pytest.approx((1 + 2 * k) / (1 + k) ** 2, rel=0.2)

    def test_paths_add_their_powers(self):
        delays, amplitudes = (0.0, 0.9, 1.7), (1.0, 0.8, 0.3)
        white = noise(np.random.default_rng(1), (4000, 64))
        faded = Fading(delays, amplitudes, 1.0, 4.0).apply(np.random.default_rng(0), white, RATE_HZ)
        taps = [np.sinc(np.arange(8) - delay) for delay in delays]
        expected = sum(a**2 * (tap**2).sum() for a, tap in zip(amplitudes, taps, strict=True)) + in_step(4.0)
        assert np.mean(np.abs(faded) ** 2) == pytest.approx(expected, rel=0.04)
        assert sum(a**2 for a in amplitudes) == pytest.approx(1.73)

    def test_a_delay_is_a_delay(self):
        slow = tone(0.02, 1, 64)
        first, second = (
            Fading((delay,), (1.0,), 0.0, 0.0).apply(np.random.default_rng(0), slow, RATE_HZ) for delay in (2.0, 3.0)
        )
        np.testing.assert_allclose(second[:, 1:], first[:, :-1], atol=1e-6)

    def test_doppler_decorrelates_as_bessel(self):
        """Correlation of a Rayleigh path is J0(2 pi f t) (Clarke); here f t is 0.2 and 0.38, near its first zero."""
        from scipy.special import j0

        signal = np.ones((3000, 208), np.complex64)
        h = Fading((0.0,), (1.0,), 400.0, 0.0).apply(np.random.default_rng(0), signal, RATE_HZ)
        for samples in (100, 190):
            found = np.mean(h[:, samples] * h[:, 0].conj()).real
            assert found == pytest.approx(j0(2 * np.pi * 400 * samples / RATE_HZ), abs=0.06)

    def test_may_be_that_of_one_seed_for_all_frames(self):
        h = self.gains(fixed=True)
        assert np.ptp(np.abs(h)) < 1e-6
