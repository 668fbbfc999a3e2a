"""Channel between transmitter and receiver: clock and carrier offsets, fading, noise.

The equations are those of GNU Radio's `channels.dynamic_channel_model`, for many frames at once.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeprune.synth.pulse import Signals, on_circle

Real = npt.NDArray[np.floating]
_SINUSOIDS = 8
_TAPS = 8
_MARGIN = 4
_STEPS_PER_CYCLE = 16
_SMALLEST_TAP = 1e-7


@dataclass(frozen=True)
class Walk:
    """Frequency offset that drifts: a clipped random walk with a random start.

    Attributes:
        spread: Standard deviation of the start, in Hz; half of its range when `uniform`.
        step: Standard deviation of the step at each sample, in Hz.
        limit: Largest offset, in Hz.
        age: Most samples that the walk has run before the frame.
        uniform: Whether the start is uniform in -spread..spread; otherwise it is normal.
    """

    spread: float = 0.0
    step: float = 0.0
    limit: float = np.inf
    age: int = 0
    uniform: bool = False

    def offsets(self, generator: np.random.Generator, frames: int, samples: int) -> Real:
        """Draw offsets in Hz, (frames, samples), or (frames, 1) where they do not change."""
        draw = generator.uniform(-1, 1, (frames, 1)) if self.uniform else generator.normal(size=(frames, 1))
        start = (self.spread * draw).astype(np.float32)
        if not self.step:
            return np.clip(start, -self.limit, self.limit)
        before = np.sqrt(generator.uniform(0, self.age, (frames, 1))) * generator.normal(size=(frames, 1))
        start += (self.step * before).astype(np.float32)
        pairs = noise(generator, (frames, -(-samples // 2))).view(np.float32)[:, :samples]
        offsets = np.cumsum(pairs, axis=1)
        offsets *= np.float32(np.sqrt(2) * self.step)
        offsets += start
        return np.clip(offsets, -self.limit, self.limit, out=offsets)


@dataclass(frozen=True)
class Fading:
    """Paths that each fade as a sum of sinusoids; the first may include a line of sight.

    Attributes:
        delays: Delay of each path, in samples.
        amplitudes: Amplitude of each path.
        doppler_hz: Largest Doppler shift.
        rician_k: Ratio of the power of the line of sight to that of the rest of the first path; 0 is Rayleigh.
        fixed: Whether all frames have the phases of one seed, like frames of one run in the original.
    """

    delays: tuple[float, ...]
    amplitudes: tuple[float, ...]
    doppler_hz: float
    rician_k: float
    fixed: bool = False

    def apply(self, generator: np.random.Generator, signal: Signals, sample_rate_hz: float) -> Signals:
        """Sum all paths, (frames, samples - 7): tap k is the sum over paths of gain * sinc(k - delay)."""
        frames, samples = signal.shape[0], signal.shape[1] - _TAPS + 1
        source = np.random.default_rng(0x1337) if self.fixed else generator
        taps = np.sinc(np.arange(_TAPS) - np.array(self.delays)[:, None])
        faded, delayed, part = np.zeros((frames, samples), np.complex64), *np.empty((2, frames, samples), np.complex64)
        for path, amplitude in enumerate(self.amplitudes):
            gain = self._gains(source, 1 if self.fixed else frames, samples, sample_rate_hz, path == 0)
            delayed[:] = 0
            for k, tap in enumerate(amplitude * taps[path]):
                if abs(tap) > _SMALLEST_TAP:
                    np.multiply(signal[:, _TAPS - 1 - k : _TAPS - 1 - k + samples], np.float32(tap), out=part)
                    delayed += part
            faded += np.multiply(gain, delayed, out=part)
        return faded

    def _gains(
        self, generator: np.random.Generator, frames: int, samples: int, sample_rate_hz: float, first: bool
    ) -> Signals:
        """Gain of one path, (frames, samples)."""
        psi, phi = generator.uniform(-np.pi, np.pi, (2, frames, _SINUSOIDS, 1)).astype(np.float32)
        theta = generator.uniform(-np.pi, np.pi, (frames, 1, 1)).astype(np.float32)
        order = np.arange(1, _SINUSOIDS + 1, dtype=np.float32)[:, None]
        alpha = (2 * np.pi * order - np.pi + theta) / (4 * _SINUSOIDS)
        cycles = self.doppler_hz * samples / sample_rate_hz
        knots = np.linspace(0, samples - 1, 2 + int(cycles * _STEPS_PER_CYCLE))
        turn = (2 * np.pi * self.doppler_hz / sample_rate_hz * knots).astype(np.float32)
        shift = turn * np.cos(alpha)
        gain = np.empty((frames, len(knots)), dtype=np.complex64)
        gain.real = np.cos(psi + shift).sum(axis=1)
        gain.imag = np.sin(phi + shift).sum(axis=1)
        gain /= np.float32(np.sqrt(_SINUSOIDS))
        if first and self.rician_k:
            gain += np.float32(np.sqrt(self.rician_k)) * on_circle((psi[:, 0] + turn) / (2 * np.pi))
            gain /= np.float32(np.sqrt(self.rician_k + 1))
        return _between(gain, samples)


def _between(values: Signals, samples: int) -> Signals:
    """Interpolate values (frames, knots), evenly spaced over the samples, at each sample, (frames, samples)."""
    last = values.shape[1] - 1
    place = np.arange(samples) * (last / max(samples - 1, 1))
    left = np.minimum(place.astype(np.int64), last - 1)
    part = (place - left).astype(np.float32)
    steps = np.diff(values, axis=1)
    found: Signals
    if last == 1:
        found = steps * part
        found += values[:, :1]
    else:
        found = values[:, left] + steps[:, left] * part
    return found


def resampled(signal: Signals, offsets_hz: Real, sample_rate_hz: float, start: Real, samples: int) -> Signals:
    """Resample a signal as a receiver with a clock offset does, by cubic interpolation.

    Args:
        signal: Signals, (frames, samples + 8 or more).
        offsets_hz: Offset of the sample rate, (frames, samples), or (frames, 1) where it does not change.
        sample_rate_hz: Sample rate of the transmitter.
        start: Delay of each frame as a fraction of a sample, (frames, 1).
        samples: Number of samples to return.
    """
    if not offsets_hz.any() and not start.any():
        return signal[:, _MARGIN : _MARGIN + samples]
    drift = np.clip(_summed(offsets_hz, samples) / sample_rate_hz + start, 1 - _MARGIN, _MARGIN - 2)
    whole = np.floor(drift)
    x = (drift - whole).astype(np.float32)
    weights = (  # Lagrange, at -1, 0, 1, 2
        -x * (x - 1) * (x - 2) / 6,
        (x + 1) * (x - 1) * (x - 2) / 2,
        -(x + 1) * x * (x - 2) / 2,
        (x + 1) * x * (x - 1) / 6,
    )
    first = np.arange(_MARGIN - 1, samples + _MARGIN - 1) + signal.shape[1] * np.arange(len(signal))[:, None]
    place = whole.astype(np.int64) + first
    flat = np.ascontiguousarray(signal).reshape(-1)
    found = np.zeros((len(signal), samples), dtype=np.complex64)
    for weight in weights:
        found += weight * flat[place]
        place += 1
    return found


def turned(signal: Signals, offsets_hz: Real, sample_rate_hz: float, start: Real) -> Signals:
    """Rotate a signal by a carrier offset.

    Args:
        signal: Signals, (frames, samples).
        offsets_hz: Carrier offset, (frames, samples), or (frames, 1) where it does not change.
        sample_rate_hz: Sample rate of the signal.
        start: Initial phase in rad, (frames, 1).
    """
    return signal * on_circle(start / (2 * np.pi) + _summed(offsets_hz, signal.shape[1]) / sample_rate_hz)


def _summed(offsets: Real, samples: int) -> Real:
    """Sum the offsets up to each sample, (frames, samples)."""
    if offsets.shape[1] == 1:
        return offsets * np.arange(1, samples + 1)
    return np.cumsum(offsets, axis=1)


def noise(generator: np.random.Generator, shape: tuple[int, int]) -> Signals:
    """Draw white complex Gaussian noise of unit power (Box and Muller 1958), with 2**24 magnitudes up to 4.08."""
    uniform = generator.random((2, *shape), dtype=np.float32)
    found = on_circle(uniform[1])
    found *= np.sqrt(-np.log(np.float32(1) - uniform[0]))
    return found


EXTRA_SAMPLES = _TAPS - 1 + 2 * _MARGIN
