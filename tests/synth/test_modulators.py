"""Waveforms against theory: Nyquist's criterion, occupied bandwidth, matched filters, phase and envelope."""

import numpy as np
import pytest

from edgeprune.synth.analog import Amplitude, Frequency, Silence
from edgeprune.synth.constellations import points
from edgeprune.synth.frequency import FrequencyShift
from edgeprune.synth.linear import Linear
from edgeprune.synth.pulse import root_raised_cosine, rrc_taps, shape, symbols_for
from edgeprune.synth.speech import spoken

SPS, SPAN = 8, 10
RATE_HZ = 200_000


def spectrum(signal):
    """Mean power at each frequency in cycles a sample, by windowed periodograms; sums to the power."""
    window = np.blackman(signal.shape[1])
    power = (np.abs(np.fft.fft(signal * window, axis=1)) ** 2).mean(axis=0) / (window**2).sum() / signal.shape[1]
    return np.fft.fftfreq(signal.shape[1]), power


@pytest.mark.parametrize("rolloff", [0.1, 0.25, 0.35, 0.7, 1.0])
class TestPulse:
    t = np.arange(-400, 400) / 32

    def test_has_unit_energy(self, rolloff):
        h = root_raised_cosine(self.t, np.array(rolloff))
        assert (h**2).sum() / 32 == pytest.approx(1, abs=3e-3)

    def test_with_its_matched_filter_leaves_other_symbols_alone(self, rolloff):
        h = root_raised_cosine(self.t, np.array(rolloff))
        both = np.convolve(h, h[::-1])[len(h) - 1 :: 32] / 32
        assert both[0] == pytest.approx(1, abs=3e-3)
        assert np.abs(both[1:9]).max() < 0.01

    def test_is_finite_where_the_formula_is_not(self, rolloff):
        near = root_raised_cosine(np.array([0, 1e-7, 1 / (4 * rolloff), 1 / (4 * rolloff) + 1e-5]), np.array(rolloff))
        assert near[0] == pytest.approx(near[1], abs=1e-5)
        assert near[2] == pytest.approx(near[3], abs=1e-3)


@pytest.mark.parametrize("rolloff", [0.2, 0.35, 0.7])
def test_the_occupied_band_is_that_of_the_rolloff(rolloff):
    signal = Linear("QPSK", rolloff=(rolloff, rolloff), span=20).modulate(np.random.default_rng(0), 200, 1024)
    frequency, power = spectrum(signal)
    outside = np.abs(frequency) > (1 + rolloff) / 2 / SPS + 0.004
    flat = np.abs(frequency) < (1 - rolloff) / 2 / SPS - 0.01
    assert power[outside].sum() / power.sum() < 2e-4
    assert power[flat].mean() * 1024 / SPS == pytest.approx(1, rel=0.05)  # all power in 1 / sps, flat


@pytest.mark.parametrize("name", ["OOK", "BPSK", "8PSK", "4PAM", "16QAM", "64QAM", "128APSK"])
def test_a_matched_filter_finds_the_points(name):
    generator = np.random.default_rng(0)
    count = symbols_for(2048, SPS, SPAN)
    symbols = points(name)[generator.integers(len(points(name)), size=(3, count))]
    taps = rrc_taps(np.zeros(3), np.full(3, 0.35), SPS, SPAN)
    signal = shape(symbols.real, taps, 2048) + 1j * shape(symbols.imag, taps, 2048)
    matched = root_raised_cosine(np.arange(-5 * SPS, 5 * SPS + 1) / SPS, np.array(0.35)) / SPS
    for row, sent in zip(signal, symbols, strict=True):
        found = np.convolve(row, matched, mode="valid")[::SPS]  # its first output is at sample 5 * SPS
        expected = sent[SPAN // 2 + 5 :][: len(found)]
        assert np.sqrt(np.mean(np.abs(found - expected) ** 2)) < 0.03


@pytest.mark.parametrize("modulator", [Linear("QPSK"), Linear("64QAM"), Linear("QPSK", staggered=True)])
def test_power_is_one_and_timing_random(modulator):
    signal = modulator.modulate(np.random.default_rng(0), 2000, 64)
    assert np.mean(np.abs(signal) ** 2) == pytest.approx(1, rel=0.02)
    by_sample = np.mean(np.abs(signal) ** 2, axis=0)
    assert by_sample.min() > 0.9  # no sample is always between symbols


def test_gain_is_of_the_amplitude():
    signal = Linear("16QAM", gain=3.0).modulate(np.random.default_rng(0), 2000, 64)
    assert np.mean(np.abs(signal) ** 2) == pytest.approx(9, rel=0.03)


def test_staggering_keeps_the_envelope_from_zero():
    straight, staggered = (
        np.abs(Linear("QPSK", staggered=which).modulate(np.random.default_rng(0), 200, 512)) for which in (False, True)
    )
    assert np.quantile(straight, 0.001) < 0.1 < 0.3 < np.quantile(staggered, 0.001)


@pytest.mark.parametrize(("levels", "index"), [(2, 0.5), (2, 1.0), (4, 0.5), (8, 0.5)])
def test_frequency_shift_keying_has_its_tones_and_a_constant_envelope(levels, index):
    signal = FrequencyShift(levels, index).modulate(np.random.default_rng(0), 50, 256)
    np.testing.assert_allclose(np.abs(signal), 1, atol=1e-5)
    cycles = np.angle(signal[:, 1:] * signal[:, :-1].conj()) / (2 * np.pi) * SPS
    tones = (2 * np.arange(levels) - (levels - 1)) * index / 2
    assert np.abs(cycles[..., None] - tones).min(axis=-1).max() < 1e-4
    assert all((np.abs(cycles - tone) < 1e-4).any() for tone in tones)


def test_gfsk_moves_by_a_tenth_of_a_radian_and_smoothly():
    """GNU Radio's gfsk_mod with sensitivity 0.1 and 8 samples a symbol."""
    signal = FrequencyShift(2, 0.8 / np.pi, bt=0.35).modulate(np.random.default_rng(0), 50, 512)
    steps = np.angle(signal[:, 1:] * signal[:, :-1].conj())
    assert np.abs(steps).max() == pytest.approx(0.1, rel=0.01)
    assert np.abs(np.diff(steps, axis=1)).max() < 0.05  # a rectangular pulse would jump by 0.2


def test_gmsk_turns_by_a_quarter_for_a_long_run():
    signal = FrequencyShift(2, 0.5, bt=0.3).modulate(np.random.default_rng(0), 50, 512)
    steps = np.angle(signal[:, 1:] * signal[:, :-1].conj())
    assert np.abs(steps).max() * SPS == pytest.approx(np.pi / 2, rel=0.01)


class TestAnalog:
    def test_speech_has_unit_power_and_the_band_of_speech(self):
        said = spoken(np.random.default_rng(0), 200_000, 1, RATE_HZ)
        assert np.mean(said.real**2) == pytest.approx(1, rel=0.04)
        assert np.mean(said.imag**2) == pytest.approx(1, rel=0.04)
        frequency_hz, power = spectrum(spoken(np.random.default_rng(1), 16, 16_000, RATE_HZ))
        frequency_hz = frequency_hz * RATE_HZ
        assert power[np.abs(frequency_hz) < 4000].sum() > 0.9 * power.sum()
        assert power[np.abs(frequency_hz) < 60].sum() < 0.05 * power.sum()
        assert power[np.abs(frequency_hz) > 8500].sum() < 1e-3 * power.sum()
        assert power[frequency_hz < -60].sum() < 1e-3 * power.sum()  # it is analytic

    def test_a_fifth_of_speech_is_pauses_and_the_generator_says_which(self):
        first, again = (spoken(np.random.default_rng(1), 5000, 2, RATE_HZ) for _ in range(2))
        assert np.array_equal(first, again)
        assert (first == 0).all(axis=1).mean() == pytest.approx(0.2, abs=0.02)

    def test_no_message_is_in_two_frames(self):
        """Frames cut from one text at random moments have stretches in common, to the last bit."""

        def shared(audio):
            pairs = np.stack([audio[:, :-1], audio[:, 1:]], axis=2).astype(np.float32)
            loud = pairs[(pairs != 0).all(axis=2)].view(np.uint64)
            return 1 - len(np.unique(loud)) / len(loud)

        text = spoken(np.random.default_rng(0), 4, 4000, RATE_HZ).real.reshape(-1)
        places = np.random.default_rng(1).integers(len(text) - 128, size=(100, 1)) + np.arange(128)
        assert shared(text[places]) > 0.1
        assert shared(spoken(np.random.default_rng(0), 5000, 128, RATE_HZ).real) < 1e-4

    def test_double_sideband_is_carrier_and_audio(self):
        signal = Amplitude("both", 1.0, 0.2, RATE_HZ).modulate(np.random.default_rng(0), 4000, 32)
        assert np.abs(signal.imag).max() == 0
        assert signal.real.mean() ** 2 == pytest.approx(1 / 1.04, rel=0.02)
        assert np.mean(signal.real**2) == pytest.approx(1, rel=0.02)

    def test_single_sideband_has_no_lower_one(self):
        signal = Amplitude("upper", 0.0, 1.0, RATE_HZ).modulate(np.random.default_rng(0), 300, 4096)
        frequency, power = spectrum(signal)
        assert power[frequency < -0.001].sum() < 1e-3 * power.sum()
        assert power.sum() == pytest.approx(1, rel=0.25)

    def test_frequency_modulation_follows_the_audio(self):
        signal = Frequency(9000.0, RATE_HZ).modulate(np.random.default_rng(0), 4000, 32)
        np.testing.assert_allclose(np.abs(signal), 1, atol=1e-5)
        hertz = np.angle(signal[:, 1:] * signal[:, :-1].conj()) / (2 * np.pi) * RATE_HZ
        assert np.sqrt(np.mean(hertz**2)) == pytest.approx(9000, rel=0.1)

    def test_silence_is_silent(self):
        assert not Silence().modulate(np.random.default_rng(0), 3, 8).any()
