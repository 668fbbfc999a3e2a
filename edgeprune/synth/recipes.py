"""Recipes for sets of frames after published generators: modulations, channel and scaling."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol

import numpy as np

from edgeprune.errors import unknown_name
from edgeprune.synth.analog import Amplitude, Frequency, Silence
from edgeprune.synth.channel import Fading, Walk
from edgeprune.synth.frequency import FrequencyShift
from edgeprune.synth.linear import Linear
from edgeprune.synth.pulse import Signals


class Modulator(Protocol):
    """Generator of signals of unit mean power."""

    def modulate(self, generator: np.random.Generator, frames: int, samples: int) -> Signals:
        """Generate signals (frames, samples), each at a random moment of its transmission."""
        ...


@dataclass(frozen=True)
class SignalRecipe:
    """Recipe for a set of frames.

    Attributes:
        name: Name of the recipe.
        modulators: Modulator of each class, by class name.
        snrs: Default SNRs in dB.
        length: Samples of a frame.
        sample_rate_hz: Nominal sample rate; only offsets and audio depend on it.
        clock: Offset of the receiver's sample rate.
        carrier: Offset of the carrier.
        fading: Fading of the channel, or None.
        turned: Whether each frame has a random carrier phase.
        scale: Whether a frame is divided by the sum of its magnitudes, or by the root of its mean power.
        amplitude_noise: Mistake of RadioML 2016.10A: the noise has amplitude 10^(-SNR/10), whatever the signal's.
        transients: One frame in this many begins soon after the transmitter is switched on; 0 for none.
    """

    name: str
    modulators: Mapping[str, Modulator]
    snrs: tuple[int, ...]
    length: int
    sample_rate_hz: int
    clock: Walk
    carrier: Walk
    fading: Fading | None
    turned: bool
    scale: Literal["sum-abs", "power"]
    amplitude_noise: bool = False
    transients: int = 0


# Points of QAM and PAM that are whole numbers, as the original had them, have this amplitude over that of unit power.
_UNSCALED = {"PAM4": np.sqrt(5), "QAM16": np.sqrt(10), "QAM64": np.sqrt(42)}
_FRAMES_A_RUN = 30


def recipe_2016(quirks: bool) -> SignalRecipe:
    """RadioML 2016.10A: 11 modulations at 8 samples a symbol, a slow three-path channel, frames of 128 samples.

    With its quirks, AM-SSB is silent, noise has a wrong amplitude that ignores the constellation's, all frames have
    one multipath profile, and some frames begin while the filters fill.
    """
    rate = 200_000
    modulators: dict[str, Modulator] = {
        "8PSK": Linear("8PSK"),
        "AM-DSB": Amplitude("both", 1.0, 0.18, rate),
        "AM-SSB": Amplitude("upper", 0.0, 1.0, rate),
        "BPSK": Linear("BPSK"),
        "CPFSK": FrequencyShift(2, 0.5),
        "GFSK": FrequencyShift(2, 0.8 / np.pi, bt=0.35),
        "PAM4": Linear("4PAM"),
        "QAM16": Linear("16QAM"),
        "QAM64": Linear("64QAM"),
        "QPSK": Linear("QPSK"),
        "WBFM": Frequency(9_000.0, rate),
    }
    fading = Fading(delays=(0.0, 0.9, 1.7), amplitudes=(1.0, 0.8, 0.3), doppler_hz=1.0, rician_k=4.0)
    plain = SignalRecipe(
        name="2016",
        modulators=modulators,
        snrs=tuple(range(-20, 20, 2)),
        length=128,
        sample_rate_hz=rate,
        clock=Walk(step=0.01, limit=50.0, age=10_000),
        carrier=Walk(step=0.01, limit=500.0, age=10_000),
        fading=fading,
        turned=False,
        scale="sum-abs",
    )
    if not quirks:
        return plain
    spoilt = {**modulators, "AM-SSB": Silence()}
    for name, gain in _UNSCALED.items():
        spoilt[name] = replace(_linear(modulators[name]), gain=float(gain))
    return replace(
        plain,
        modulators=spoilt,
        fading=replace(fading, fixed=True),
        amplitude_noise=True,
        transients=_FRAMES_A_RUN,
    )


def _linear(modulator: Modulator) -> Linear:
    assert isinstance(modulator, Linear)
    return modulator


def recipe_2018(quirks: bool) -> SignalRecipe:  # noqa: ARG001 (its known faults are not those of signals)
    """RadioML 2018.01A: 24 modulations, roll-off 0.1 to 0.4, clocks off by 1e-4, Rayleigh fading, 1024 samples."""
    rate = 1_000_000
    shaped = partial(Linear, rolloff=(0.1, 0.4))
    names = (
        *("OOK", "4ASK", "8ASK", "BPSK", "QPSK", "8PSK", "16PSK", "32PSK"),
        *("16APSK", "32APSK", "64APSK", "128APSK", "16QAM", "32QAM", "64QAM", "128QAM", "256QAM"),
    )
    modulators: dict[str, Modulator] = {name: shaped(name) for name in names}
    modulators |= {
        "AM-SSB-WC": Amplitude("upper", 1.0, 0.5, rate),
        "AM-SSB-SC": Amplitude("upper", 0.0, 1.0, rate),
        "AM-DSB-WC": Amplitude("both", 1.0, 0.5, rate),
        "AM-DSB-SC": Amplitude("both", 0.0, 1.0, rate),
        "FM": Frequency(25_000.0, rate),
        "GMSK": FrequencyShift(2, 0.5, bt=0.3),
        "OQPSK": shaped("QPSK", staggered=True),
    }
    return SignalRecipe(
        name="2018",
        modulators=modulators,
        snrs=tuple(range(-20, 31, 2)),
        length=1024,
        sample_rate_hz=rate,
        clock=Walk(spread=1e-4 * rate, limit=5e-4 * rate),
        carrier=Walk(spread=1e-4 * rate),
        fading=Fading(delays=(0.0, 0.5, 1.0), amplitudes=(0.93, 0.34, 0.13), doppler_hz=1.0, rician_k=0.0),
        turned=True,
        scale="power",
    )


def recipe_sig2019(quirks: bool) -> SignalRecipe:  # noqa: ARG001 (no fault is known)
    """Sig2019-12 after its public sibling HKDD_AMC12: 12 modulations, carrier offsets up to a fifth of the rate."""
    shaped = partial(Linear, rolloff=(0.2, 0.7), span=6)
    names = ("BPSK", "QPSK", "8PSK", "16QAM", "32QAM", "64QAM", "4PAM", "8PAM")
    modulators: dict[str, Modulator] = {name: shaped(name) for name in names}
    modulators["OQPSK"] = shaped("QPSK", staggered=True)
    modulators |= {f"{levels}FSK": FrequencyShift(levels, 0.5) for levels in (2, 4, 8)}
    return SignalRecipe(
        name="sig2019",
        modulators=dict(sorted(modulators.items())),
        snrs=tuple(range(-20, 31, 2)),
        length=512,
        sample_rate_hz=1_000_000,
        clock=Walk(),
        carrier=Walk(spread=2e5, uniform=True),
        fading=None,
        turned=True,
        scale="power",
    )


_RECIPES: dict[str, Callable[[bool], SignalRecipe]] = {
    "2016": recipe_2016,
    "2018": recipe_2018,
    "sig2019": recipe_sig2019,
}
RECIPES = tuple(_RECIPES)


def recipe(name: str, quirks: bool) -> SignalRecipe:
    """Find a recipe by its name.

    Args:
        name: One of RECIPES.
        quirks: Whether to include the known faults of the published set, if any.

    Raises:
        ConfigError: No such recipe.
    """
    if name not in _RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return _RECIPES[name](quirks)
