"""Generation of frames from a recipe: cell by cell, in pieces that any number of workers can share."""

import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from edgeprune.records.frames import FrameTable
from edgeprune.synth.channel import EXTRA_SAMPLES, noise, resampled, turned
from edgeprune.synth.pulse import Signals
from edgeprune.synth.recipes import SignalRecipe

_PIECE_SAMPLES = 1 << 17  # so many that workers seldom wait for one another, and few enough for the cache
_AT_ONCE = 16  # pieces in work for each worker
_SWITCHED_ON = (50, 500)  # samples before a frame with a transient
_FILTER_FILLS = 352  # samples: half the arms of the original's resampling filter, at 8 a symbol


@dataclass(frozen=True)
class FrameBlock:
    """Some frames of one class at one SNR; `number` counts the pieces of the cell."""

    name: str
    snr: int
    number: int
    frames: int


def pieces_of(recipe: SignalRecipe, snrs: Sequence[int], frames_per_cell: int) -> list[FrameBlock]:
    """List all pieces in order: by class name, SNR and number."""
    largest = max(1, _PIECE_SAMPLES // recipe.length)
    return [
        FrameBlock(name, snr, number, min(largest, frames_per_cell - number * largest))
        for name in sorted(recipe.modulators)
        for snr in snrs
        for number in range(-(-frames_per_cell // largest))
    ]


def table_of(recipe: SignalRecipe, snrs: Sequence[int], frames_per_cell: int) -> FrameTable:
    """Labels and SNRs of all frames; each is a group of its own, since no two share bits, speech or channel."""
    classes = tuple(sorted(recipe.modulators))
    return FrameTable(
        labels=np.repeat(np.arange(len(classes)), len(snrs) * frames_per_cell),
        snrs=np.tile(np.repeat(np.asarray(snrs, dtype=np.int64), frames_per_cell), len(classes)),
        classes=classes,
        split=None,
        source=f"recipe {recipe.name}",
        shape=(2, recipe.length),
        groups=np.arange(len(classes) * len(snrs) * frames_per_cell),
    )


def generate(
    recipe: SignalRecipe, pieces: Sequence[FrameBlock], seed: int, workers: int
) -> Iterator[npt.NDArray[np.float32]]:
    """Generate the frames of each piece, (frames, 2, length), in order, independent of the number of workers."""
    with ThreadPoolExecutor(workers) as pool:
        waiting = iter(pieces)
        while batch := list(islice(waiting, workers * _AT_ONCE)):
            yield from pool.map(lambda piece: frames_of(recipe, piece, seed), batch)


def frames_of(recipe: SignalRecipe, piece: FrameBlock, seed: int) -> npt.NDArray[np.float32]:
    """Generate the frames of one piece, (frames, 2, length)."""
    place = [seed, zlib.crc32(piece.name.encode()), piece.snr & 0xFFFFFFFF, piece.number]
    generator = np.random.default_rng(place)
    clean = recipe.modulators[piece.name].modulate(generator, piece.frames, recipe.length + EXTRA_SAMPLES)
    if recipe.transients:
        clean = _switched_on(generator, clean, recipe.transients)
    received = through(recipe, generator, clean)
    power = _noise_power(recipe, clean, received, piece.snr)
    noisy = noise(generator, (piece.frames, recipe.length))
    noisy *= np.sqrt(power).astype(np.float32)
    noisy += received
    return _scaled(recipe, noisy)


def through(recipe: SignalRecipe, generator: np.random.Generator, clean: Signals) -> Signals:
    """Pass signals through the channel, without noise, (frames, length)."""
    frames, rate = len(clean), recipe.sample_rate_hz
    samples = clean.shape[1] - EXTRA_SAMPLES + 7 if recipe.fading else recipe.length
    late = np.zeros((frames, 1), dtype=np.float32)
    signal = resampled(clean, recipe.clock.offsets(generator, frames, samples), rate, late, samples)
    phase = generator.uniform(0, 2 * np.pi, (frames, 1)) if recipe.turned else np.zeros((frames, 1))
    signal = turned(signal, recipe.carrier.offsets(generator, frames, samples), rate, phase)
    return recipe.fading.apply(generator, signal, rate) if recipe.fading else signal


def _noise_power(recipe: SignalRecipe, clean: Signals, received: Signals, snr: int) -> npt.NDArray[np.float64]:
    """Power of the noise of each frame, (frames, 1).

    The SNR refers to the mean power of the class after the frame's channel, so a frame in a pause has less. With the
    original's mistake it scales the noise alone: its amplitude is 10^(-SNR/10).
    """
    if recipe.amplitude_noise:
        return np.full((len(clean), 1), 10 ** (-snr / 5))
    before, after = (_mean_power(signal) for signal in (clean, received))
    gain = np.where(before > 0, after / np.maximum(before, np.finfo(np.float32).tiny), 1.0)
    power: npt.NDArray[np.float64] = gain * 10 ** (-snr / 10)
    return power


def _mean_power(signal: Signals) -> npt.NDArray[np.float64]:
    """Mean power of each frame, (frames, 1)."""
    parts = np.ascontiguousarray(signal).view(np.float32)
    power: npt.NDArray[np.float64] = np.einsum("ij,ij->i", parts, parts)[:, None] / np.float64(signal.shape[1])
    return power


def _switched_on(generator: np.random.Generator, signal: Signals, one_in: int) -> Signals:
    """Let one in `one_in` signals begin while the transmitter's filter is still filling."""
    begins = generator.integers(*_SWITCHED_ON, size=len(signal))
    chosen = generator.integers(one_in, size=len(signal)) == 0
    silent = np.where(chosen, np.maximum(_FILTER_FILLS - begins, 0), 0)
    return signal * (np.arange(signal.shape[1]) >= silent[:, None])


def _scaled(recipe: SignalRecipe, signal: Signals) -> npt.NDArray[np.float32]:
    """Scale frames (frames, 2, length) as the recipe requires."""
    if recipe.scale == "sum-abs":
        divisor = np.abs(signal).sum(axis=1, keepdims=True)
    else:
        divisor = np.sqrt(_mean_power(signal)).astype(np.float32)
    scaled = np.empty((len(signal), 2, signal.shape[1]), dtype=np.float32)
    np.divide(signal.real, divisor, out=scaled[:, 0])
    np.divide(signal.imag, divisor, out=scaled[:, 1])
    return scaled
