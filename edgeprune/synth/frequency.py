"""Continuous-phase modulations: symbols are shaped into a frequency, whose sum is the phase."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeprune.synth.pulse import Signals, on_circle, shape, symbols_for

_GAUSSIAN_SPAN = 4


@dataclass(frozen=True)
class FrequencyShift:
    """Modulator of unit amplitude.

    Attributes:
        levels: Number of frequency levels: -1 and 1 for two, evenly spaced by 2.
        index: Modulation index: difference of neighboring levels over the symbol time, in cycles.
        sps: Samples a symbol.
        bt: Bandwidth times symbol time of the Gaussian filter; None for rectangular pulses.
    """

    levels: int
    index: float
    sps: int = 8
    bt: float | None = None

    def modulate(self, generator: np.random.Generator, frames: int, samples: int) -> Signals:
        """Generate signals (frames, samples) of unit power, each starting at a random moment within a symbol."""
        pulse = _rectangular(self.sps) if self.bt is None else _gaussian(self.sps, self.bt)
        span = len(pulse) - 1
        first = generator.integers(self.sps, size=frames)
        count = symbols_for(samples + self.sps, self.sps, span)
        symbols = (2 * generator.integers(self.levels, size=(frames, count)) - (self.levels - 1)).astype(np.float32)
        frequency = shape(symbols, pulse[None], samples + self.sps)
        frequency = np.take_along_axis(frequency, first[:, None] + np.arange(samples), axis=1)
        step = np.float32(np.pi * self.index / self.sps)
        start = generator.uniform(0, 2 * np.pi, (frames, 1)).astype(np.float32)
        return in_phase(step * frequency, start)


def in_phase(steps: npt.NDArray[np.float32], start: npt.NDArray[np.float32]) -> Signals:
    """Signals of unit amplitude whose phase advances by `steps` rad from each sample to the next, (frames, samples)."""
    return on_circle((np.cumsum(steps, axis=1, dtype=np.float64) + start) / (2 * np.pi))


def _rectangular(sps: int) -> npt.NDArray[np.float32]:
    return np.ones((1, sps), dtype=np.float32)


def _gaussian(sps: int, bt: float) -> npt.NDArray[np.float32]:
    """Taps (span + 1, sps) of a one-symbol rectangle through a Gaussian filter, with unit area a symbol."""
    t = np.arange(-_GAUSSIAN_SPAN * sps // 2, _GAUSSIAN_SPAN * sps // 2 + 1) / sps
    gauss = np.exp(-2 * (np.pi * bt * t) ** 2 / np.log(2))
    pulse = np.convolve(gauss / gauss.sum(), np.ones(sps))
    rows = -(-len(pulse) // sps)
    padded = np.zeros(rows * sps)
    padded[: len(pulse)] = pulse
    return padded.reshape(rows, sps)[::-1].astype(np.float32)
