"""Analog modulations of speech."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgeprune.synth.frequency import in_phase
from edgeprune.synth.pulse import Signals
from edgeprune.synth.speech import spoken

Sideband = Literal["both", "upper"]


@dataclass(frozen=True)
class Amplitude:
    """Amplitude modulation: carrier + depth * audio, or its upper sideband.

    Attributes:
        sideband: Transmitted sideband or sidebands of the audio.
        carrier: Amplitude of the carrier; 0 suppresses it.
        depth: Root mean square of the audio.
        sample_rate_hz: Sample rate of the signal.
    """

    sideband: Sideband
    carrier: float
    depth: float
    sample_rate_hz: int

    def modulate(self, generator: np.random.Generator, frames: int, samples: int) -> Signals:
        """Generate signals (frames, samples) of unit mean power over all the speech; a frame in a pause has less."""
        audio = spoken(generator, frames, samples, self.sample_rate_hz)
        if self.sideband == "both":
            audio.imag = 0
        else:
            audio /= np.float32(np.sqrt(2))
        signal = np.float32(self.carrier) + np.float32(self.depth) * audio
        scaled: Signals = signal / np.float32(np.hypot(self.carrier, self.depth))
        return scaled


@dataclass(frozen=True)
class Frequency:
    """Frequency modulation.

    Attributes:
        deviation_hz: Frequency deviation for audio at its root mean square.
        sample_rate_hz: Sample rate of the signal.
    """

    deviation_hz: float
    sample_rate_hz: int

    def modulate(self, generator: np.random.Generator, frames: int, samples: int) -> Signals:
        """Generate signals (frames, samples) of unit power."""
        audio = spoken(generator, frames, samples, self.sample_rate_hz).real
        start = generator.uniform(0, 2 * np.pi, (frames, 1)).astype(np.float32)
        return in_phase(audio * np.float32(2 * np.pi * self.deviation_hz / self.sample_rate_hz), start)


@dataclass(frozen=True)
class Silence:
    """Silence: the output of RadioML 2016.10A's AM-SSB, whose modulator multiplies by zero."""

    def modulate(self, generator: np.random.Generator, frames: int, samples: int) -> Signals:  # noqa: ARG002
        """Generate zeros (frames, samples)."""
        return np.zeros((frames, samples), dtype=np.complex64)
