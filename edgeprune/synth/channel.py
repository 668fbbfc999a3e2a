"""What happens to a signal between transmitter and receiver: clocks that differ, fading, noise.

The equations are those of GNU Radio's `channels.dynamic_channel_model`, for many frames at once.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeprune.synth.linear import Signals

Real = npt.NDArray[np.float64]
_SINUSOIDS = 8
_TAPS = 8
_INTERPOLATOR = 4
_MARGIN = 4
_STEPS_PER_CYCLE = 16


@dataclass(frozen=True)
class Walk:
    """A frequency offset that drifts: a random walk from `spread` apart, clipped.

    Attributes:
        spread: Standard deviation at the beginning, in Hz; or half of the range when `uniform`.
        step: Standard deviation of the step at each sample, in Hz.
        limit: Largest offset, in Hz.
        age: Samples that the walk may have gone before the frame, at most.
        uniform: Whether the beginning is uniform in -spread..spread, else normal.
    """

    spread: float = 0.0
    step: float = 0.0
    limit: float = np.inf
    age: int = 0
    uniform: bool = False

    def offsets(self, generator: np.random.Generator, frames: int, samples: int) -> Real:
        """Offsets in Hz, (frames, samples)."""
        draw = generator.uniform(-1, 1, (frames, 1)) if self.uniform else generator.normal(size=(frames, 1))
        start = self.spread * draw
        if self.step:
            before = np.sqrt(generator.uniform(0, self.age, (frames, 1))) * generator.normal(size=(frames, 1))
            steps = generator.standard_normal((frames, samples), dtype=np.float32).cumsum(axis=1)
            start = start + self.step * (before + steps)
        return np.broadcast_to(np.clip(start, -self.limit, self.limit), (frames, samples))


@dataclass(frozen=True)
class Fading:
    """Paths that each fade as a sum of sinusoids; the first may hold a line of sight.

    Attributes:
        delays: Of each path, in samples.
        amplitudes: Of each path.
        doppler_hz: Largest Doppler shift.
        rician_k: Power of the line of sight over that of the rest of the first path; 0 is Rayleigh.
        fixed: All frames have the phases of one seed, as frames of one run do in the original.
    """

    delays: tuple[float, ...]
    amplitudes: tuple[float, ...]
    doppler_hz: float
    rician_k: float
    fixed: bool = False

    def apply(self, generator: np.random.Generator, signal: Signals, sample_rate_hz: float) -> Signals:
        """The sum of all paths, (frames, samples - 7): tap k is the sum over paths of gain * sinc(k - delay)."""
        frames, samples = signal.shape[0], signal.shape[1] - _TAPS + 1
        source = np.random.default_rng(0x1337) if self.fixed else generator
        taps = np.sinc(np.arange(_TAPS) - np.array(self.delays)[:, None]).astype(np.float32)
        faded = np.zeros((frames, samples), dtype=np.complex64)
        for path, amplitude in enumerate(self.amplitudes):
            gain = self._gains(source, 1 if self.fixed else frames, samples, sample_rate_hz, path == 0)
            delayed = np.zeros_like(faded)
            for k, tap in enumerate(taps[path]):
                if abs(tap) > 1e-7:
                    delayed += tap * signal[:, _TAPS - 1 - k : _TAPS - 1 - k + samples]
            faded += np.float32(amplitude) * gain * delayed
        return faded

    def _gains(
        self, generator: np.random.Generator, frames: int, samples: int, sample_rate_hz: float, first: bool
    ) -> Signals:
        """Gain of one path, (frames, samples) or (frames, 1) where it does not change."""
        psi, phi = generator.uniform(-np.pi, np.pi, (2, frames, _SINUSOIDS, 1))
        theta = generator.uniform(-np.pi, np.pi, (frames, 1, 1))
        order = np.arange(1, _SINUSOIDS + 1)[:, None]
        alpha = (2 * np.pi * order - np.pi + theta) / (4 * _SINUSOIDS)
        cycles = self.doppler_hz * samples / sample_rate_hz
        knots = np.linspace(0, samples - 1, 2 + int(cycles * _STEPS_PER_CYCLE))
        turn = 2 * np.pi * self.doppler_hz / sample_rate_hz * knots
        real = np.cos(psi + turn * np.cos(alpha)).sum(axis=1)
        imaginary = np.sin(phi + turn * np.cos(alpha)).sum(axis=1)
        gain = (real + 1j * imaginary) / np.sqrt(_SINUSOIDS)
        if first and self.rician_k:
            sight = np.exp(1j * (psi[:, 0] + turn))
            gain = (gain + np.sqrt(self.rician_k) * sight) / np.sqrt(self.rician_k + 1)
        return _between(gain, knots, samples)


def _between(values: npt.NDArray[np.complex128], knots: Real, samples: int) -> Signals:
    """Values (frames, knots) interpolated at every sample, (frames, samples)."""
    place = np.arange(samples) * (len(knots) - 1) / max(samples - 1, 1)
    left = np.minimum(place.astype(np.int64), len(knots) - 2)
    part = (place - left).astype(np.float32)
    coarse = values.astype(np.complex64)
    found: Signals = coarse[:, left] * (1 - part) + coarse[:, left + 1] * part
    return found


def resampled(signal: Signals, offsets_hz: Real, sample_rate_hz: float, start: Real) -> Signals:
    """A signal as a receiver samples it whose clock is off, by cubic interpolation.

    Args:
        signal: (frames, samples + 8 or more).
        offsets_hz: Of the sample rate, (frames, samples).
        sample_rate_hz: Of the transmitter.
        start: Fraction of a sample by which each frame is late, (frames, 1).
    """
    samples = offsets_hz.shape[1]
    drift = start + np.cumsum(offsets_hz, axis=1) / sample_rate_hz
    place = np.clip(drift, -_MARGIN + 1, _MARGIN - 2) + np.arange(samples) + _MARGIN
    whole = np.floor(place).astype(np.int64)
    x = (place - whole).astype(np.float32)
    weights = (  # Lagrange, at -1, 0, 1, 2
        -x * (x - 1) * (x - 2) / 6,
        (x + 1) * (x - 1) * (x - 2) / 2,
        -(x + 1) * x * (x - 2) / 2,
        (x + 1) * x * (x - 1) / 6,
    )
    found = np.zeros((len(signal), samples), dtype=np.complex64)
    for shift, weight in zip(range(-1, _INTERPOLATOR - 1), weights, strict=True):
        found += weight * np.take_along_axis(signal, whole + shift, axis=1)
    return found


def turned(signal: Signals, offsets_hz: Real, sample_rate_hz: float, start: Real) -> Signals:
    """A signal on a carrier that is off by `offsets_hz` (frames, samples), from phases `start` (frames, 1) in rad."""
    phase = start + 2 * np.pi * np.cumsum(offsets_hz, axis=1) / sample_rate_hz
    turn = np.empty(signal.shape, dtype=np.complex64)
    wrapped = np.remainder(phase, 2 * np.pi).astype(np.float32)
    np.cos(wrapped, out=turn.real)
    np.sin(wrapped, out=turn.imag)
    return signal * turn


def noise(generator: np.random.Generator, shape: tuple[int, int]) -> Signals:
    """White complex Gaussian noise of unit power."""
    parts = generator.standard_normal((*shape, 2), dtype=np.float32) * np.float32(np.sqrt(0.5))
    found: Signals = parts.view(np.complex64)[..., 0]
    return found


EXTRA_SAMPLES = _TAPS - 1 + 2 * _MARGIN
