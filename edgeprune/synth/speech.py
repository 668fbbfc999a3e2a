"""Something like speech, for the analog modulations: voiced syllables, hisses and pauses, from a seed alone."""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_RATE_HZ = 16_000
_SECONDS = 20
_MOST_SAMPLES = 4_000_000
_HARMONICS = 24
_FORMANTS_HZ = ((500.0, 180.0), (1500.0, 260.0), (2500.0, 360.0))  # centre and width
_PAUSES = 0.2  # of the time


@dataclass(frozen=True)
class Speech:
    """Speech at the sample rate of the signals.

    Attributes:
        audio: Of unit mean power, float32 (samples,).
        analytic: The same with its Hilbert transform as imaginary part, complex64 (samples,).
    """

    audio: npt.NDArray[np.float32]
    analytic: npt.NDArray[np.complex64]

    def cut(self, generator: np.random.Generator, frames: int, samples: int) -> npt.NDArray[np.float32]:
        """Audio at random moments, (frames, samples)."""
        return self.audio[_places(generator, len(self.audio), frames, samples)]

    def cut_analytic(self, generator: np.random.Generator, frames: int, samples: int) -> npt.NDArray[np.complex64]:
        """Analytic audio at random moments, (frames, samples)."""
        return self.analytic[_places(generator, len(self.audio), frames, samples)]


@functools.lru_cache(maxsize=2)
def speech(seed: int, sample_rate_hz: int) -> Speech:
    """Twenty seconds of it, or fewer at a high rate.

    Args:
        seed: The same seed gives the same speech.
        sample_rate_hz: Of the result, a multiple of 1 kHz.
    """
    from scipy.signal import hilbert, resample_poly  # slow to load

    generator = np.random.default_rng([seed, 0xA0D10])
    count = _RATE_HZ * min(_SECONDS, _MOST_SAMPLES // sample_rate_hz)
    pitch_hz = 140 * 2 ** (0.5 * _slow(generator, count, 1.5))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / _RATE_HZ
    shift = 2 ** (0.35 * _slow(generator, count, 3.0))
    voiced = np.zeros(count)
    for harmonic in range(1, _HARMONICS + 1):
        voiced += _formants(harmonic * pitch_hz / shift) / np.sqrt(harmonic) * np.sin(harmonic * phase)
    hiss = generator.normal(size=count) * np.maximum(_slow(generator, count, 4.0) - 1, 0)
    loudness = np.abs(_slow(generator, count, 3.0)) ** 1.2
    loudness[loudness < np.quantile(loudness, _PAUSES)] = 0
    audio = (voiced / voiced.std() + 0.3 * hiss) * loudness
    divisor = np.gcd(sample_rate_hz, _RATE_HZ)
    analytic = resample_poly(hilbert(audio).astype(np.complex64), sample_rate_hz // divisor, _RATE_HZ // divisor)
    analytic /= np.float32(np.sqrt(np.mean(analytic.real**2)))
    return Speech(np.ascontiguousarray(analytic.real), analytic)


def _formants(frequency_hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Gain of a vocal tract."""
    gain = np.zeros_like(frequency_hz)
    for centre, width in _FORMANTS_HZ:
        gain += 1 / (1 + ((frequency_hz - centre) / width) ** 2)
    return gain


def _slow(generator: np.random.Generator, count: int, rate_hz: float) -> npt.NDArray[np.float64]:
    """A random function of unit variance that changes about `rate_hz` times a second, (count,)."""
    knots = generator.normal(size=int(count * 2 * rate_hz / _RATE_HZ) + 4)
    place = np.arange(count) * 2 * rate_hz / _RATE_HZ
    left = place.astype(np.int64)
    part = (1 - np.cos(np.pi * (place - left))) / 2
    values: npt.NDArray[np.float64] = knots[left] * (1 - part) + knots[left + 1] * part
    values /= values.std()
    return values


def _places(generator: np.random.Generator, count: int, frames: int, samples: int) -> npt.NDArray[np.int64]:
    places: npt.NDArray[np.int64] = generator.integers(count - samples, size=(frames, 1)) + np.arange(samples)
    return places
