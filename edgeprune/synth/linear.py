"""Linear modulations: random points of a constellation, shaped by a root-raised-cosine pulse."""

from dataclasses import dataclass

import numpy as np

from edgeprune.synth.constellations import points
from edgeprune.synth.pulse import Signals, rrc_taps, shape, symbols_for


@dataclass(frozen=True)
class Linear:
    """Modulator of independent, equally likely points.

    Attributes:
        name: Name of the constellation.
        sps: Samples a symbol.
        rolloff: Lowest and highest roll-off; each frame has its own, uniform between them.
        span: Length of a pulse in symbols.
        staggered: Whether Q is half a symbol later than I (OQPSK).
        gain: Amplitude relative to unit mean power.
    """

    name: str
    sps: int = 8
    rolloff: tuple[float, float] = (0.35, 0.35)
    span: int = 10
    staggered: bool = False
    gain: float = 1.0

    def modulate(self, generator: np.random.Generator, frames: int, samples: int) -> Signals:
        """Generate signals (frames, samples) of mean power `gain` squared, each at a random moment of its symbols."""
        table = points(self.name) * np.float32(self.gain)
        count = symbols_for(samples, self.sps, self.span)
        symbols = table[generator.integers(len(table), size=(frames, count))]
        timing = generator.uniform(0, self.sps, frames)
        rolloff = generator.uniform(*self.rolloff, frames)
        taps = rrc_taps(timing, rolloff, self.sps, self.span)
        late = rrc_taps(timing + self.sps / 2, rolloff, self.sps, self.span) if self.staggered else taps
        signal = np.empty((frames, samples), dtype=np.complex64)
        signal.real = shape(symbols.real, taps, samples)
        signal.imag = shape(symbols.imag, late, samples)
        return signal
