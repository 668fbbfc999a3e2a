"""Speech-like audio for the analog modulations: voiced syllables, hisses and pauses.

Each frame is a different moment of speech, so no message is in two frames. A frame lasts about a millisecond, during
which pitch, formants and loudness are constant.
"""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeprune.synth.pulse import Signals, on_circle

_BAND_HZ = 8_000.0
_HARMONICS = 24
_FORMANTS_HZ = ((500.0, 180.0), (1500.0, 260.0), (2500.0, 360.0))  # center and width
_PAUSES = 0.2  # of the time
_HISS = 0.3  # of the voice, in amplitude
_MANY = 1 << 16

Column = npt.NDArray[np.float64]


def spoken(generator: np.random.Generator, frames: int, samples: int, sample_rate_hz: float) -> Signals:
    """Generate speech with its Hilbert transform as imaginary part, (frames, samples); its real part has unit power.

    Args:
        generator: Random generator.
        frames: Number of moments.
        samples: Samples of each frame.
        sample_rate_hz: Sample rate of the result.
    """
    voice, scale = _voices(generator, frames), _scale()
    time_s = np.arange(samples) / sample_rate_hz
    start = generator.uniform(size=(frames, 1))
    sound = _polynomial(voice.harmonics * (-1j / scale.voiced), on_circle(start + voice.pitch_hz * time_s))
    tones = max(16, int(np.ceil(2 * _BAND_HZ * time_s[-1])))  # so close that noise does not repeat within a frame
    parts = generator.normal(size=(2, frames, tones)) * (voice.hiss * _HISS / np.sqrt(tones))
    spacing_hz = _BAND_HZ / tones
    hiss = _polynomial(parts[0] + 1j * parts[1], on_circle(spacing_hz * time_s)[None])
    hiss *= on_circle((generator.uniform(size=(frames, 1)) - 1) * spacing_hz * time_s)
    sound += hiss
    sound *= (voice.loudness / scale.audio).astype(np.float32)
    return sound


@dataclass(frozen=True)
class _Voices:
    """State of speech at some moments.

    Attributes:
        pitch_hz: Pitch, (n, 1).
        harmonics: Amplitude of each harmonic, (n, harmonics).
        hiss: Amplitude of noise, (n, 1).
        loudness: Loudness, (n, 1); 0 in pauses.
    """

    pitch_hz: Column
    harmonics: Column
    hiss: Column
    loudness: Column


@dataclass(frozen=True)
class _Scale:
    """Root mean squares over all speech, and the loudness below which there is a pause."""

    voiced: float
    audio: float
    pause: float


def _voices(generator: np.random.Generator, count: int, pause: float | None = None) -> _Voices:
    pitch_hz = 140 * 2 ** (0.5 * _slow(generator, count))
    shift = 2 ** (0.35 * _slow(generator, count))
    order = np.arange(1, _HARMONICS + 1)
    harmonics = _formants(order * pitch_hz / shift) / np.sqrt(order)
    hiss = np.maximum(_slow(generator, count) - 1, 0)
    loudness = np.abs(_slow(generator, count)) ** 1.2
    loudness[loudness < (_scale().pause if pause is None else pause)] = 0
    return _Voices(pitch_hz, harmonics, hiss, loudness)


@functools.lru_cache(maxsize=1)
def _scale() -> _Scale:
    """Estimate the scale from many moments, always the same ones."""
    many = _voices(np.random.default_rng(0xA0D10), _MANY, pause=0.0)
    pause = float(np.quantile(many.loudness, _PAUSES))
    loud_power = float((many.loudness**2 * (many.loudness >= pause)).mean())
    hiss_power = _HISS**2 * float((many.hiss**2).mean())
    voiced = float(np.sqrt((many.harmonics**2).sum(axis=1).mean() / 2))
    return _Scale(voiced, float(np.sqrt(loud_power * (1 + hiss_power))), pause)


def _formants(frequency_hz: Column) -> Column:
    """Gain of a vocal tract."""
    gain = np.zeros_like(frequency_hz)
    for centre, width in _FORMANTS_HZ:
        gain += 1 / (1 + ((frequency_hz - centre) / width) ** 2)
    return gain


def _slow(generator: np.random.Generator, count: int) -> Column:
    """Sample a slowly changing random function of unit variance, each time at another moment, (count, 1).

    It moves from one normal number to the next along half a cosine; a moment may be anywhere on it.
    """
    part = (1 - np.cos(np.pi * generator.uniform(size=(count, 1)))) / 2
    one, other = generator.normal(size=(2, count, 1))
    values: Column = (one * (1 - part) + other * part) / np.sqrt(0.75)
    return values


def _polynomial(coefficients: npt.NDArray[np.complexfloating], x: Signals) -> Signals:
    """Sum coefficients (frames, n) times x, x squared and so on, (frames, samples), by Horner's rule."""
    columns = coefficients.astype(np.complex64)[:, ::-1, None]
    found = np.broadcast_to(columns[:, 0], (len(columns), x.shape[1])) * x
    for place in range(1, columns.shape[1]):
        found += columns[:, place]
        found *= x
    return found
