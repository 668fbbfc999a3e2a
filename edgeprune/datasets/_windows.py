"""Frames cut from recordings: their positions, and their samples, resampled on request."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeprune.datasets._source import Source
from edgeprune.errors import DataError
from edgeprune.frames.labelled import checked_table
from edgeprune.records.frames import Reading

Complex = npt.NDArray[np.complex64]
_MOST_FACTOR = 10_000
_MOST_RATIO = 64


@dataclass(frozen=True)
class Segment:
    """Stretch of a recording that holds one modulation.

    Attributes:
        name: Name of the file, for messages.
        recording: Number of the recording; segments with one number were recorded together.
        label: Name of the modulation.
        snr: SNR in dB, or None.
        start: Index of its first sample in the recording.
        count: Number of samples.
        sample_rate_hz: Sample rate of the recording, or None if unknown.
        read: Reads the samples from one index to another in the recording, complex64.
    """

    name: str
    recording: int
    label: str
    snr: int | None
    start: int
    count: int
    sample_rate_hz: float | None
    read: Callable[[int, int], Complex]


def cut(
    segments: Sequence[Segment],
    reading: Reading,
    source: str,
    files: tuple[Path, ...],
    notes: Sequence[str],
    skipped: Sequence[str],
) -> Source:
    """Cut frames from segments, in order.

    Raises:
        DataError: No segment is as long as a frame, or sample rates differ or are unknown where they are required.
    """
    hop = reading.hop or reading.length
    ratios = [_ratio(segment, reading) for segment in segments]
    lengths = [-(-segment.count * ratio.numerator // ratio.denominator) for segment, ratio in _pairs(segments, ratios)]
    counts = np.array([max(0, (length - reading.length) // hop + 1) for length in lengths], dtype=np.int64)
    if not counts.sum():
        raise DataError(
            f"{source}: none of {len(segments)} stretches is as long as a frame of {reading.length} samples",
            "Cut shorter frames with `length`",
        )
    bounds = np.concatenate([[0], np.cumsum(counts)])
    of = np.repeat(np.arange(len(segments)), counts)
    firsts = [round(segment.start * ratio) for segment, ratio in _pairs(segments, ratios)]
    names = sorted({segment.label for segment in segments})
    snrs = None
    if all(segment.snr is not None for segment in segments):
        snrs = np.array([segment.snr for segment in segments], dtype=np.int64)[of]
    table = checked_table(
        len(of),
        (2, reading.length),
        names,
        np.array([names.index(segment.label) for segment in segments])[of],
        snrs,
        recordings=np.array([segment.recording for segment in segments])[of],
        starts=np.array(firsts)[of] + (np.arange(len(of)) - bounds[of]) * hop,
        source=source,
    )

    windows = _Windows(tuple(segments), tuple(ratios), bounds, reading.length, hop)
    said = [*notes, *_rate_notes(segments, reading), *_left_out(segments, counts, snrs is None)]
    resampled = any(ratio != 1 for ratio in ratios)  # a recording whole, whatever part of it is asked for
    return Source(table, files, windows.block, tuple(said), tuple(skipped), forward_only=resampled)


@dataclass(frozen=True)
class _Windows:
    """Reader of frames: those of segment i have the numbers bounds[i] to bounds[i + 1]."""

    segments: tuple[Segment, ...]
    ratios: tuple[Fraction, ...]
    bounds: npt.NDArray[np.int64]
    length: int
    hop: int

    def block(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Read frames start to stop, (stop - start, 2, length)."""
        pieces = []
        first = int(np.searchsorted(self.bounds, start, side="right")) - 1
        for number in range(first, len(self.segments)):
            begin, end = (int(bound) for bound in self.bounds[number : number + 2])
            if begin >= stop:
                break
            if begin < end:
                samples = self._stretch(number, max(start - begin, 0), min(stop, end) - begin)
                windows = np.lib.stride_tricks.sliding_window_view(samples, self.length)[:: self.hop]
                pieces.append(np.stack([windows.real, windows.imag], axis=1))
        return np.concatenate(pieces)

    def _stretch(self, number: int, first: int, last: int) -> Complex:
        """Read the samples of windows first to last of a segment."""
        begin, end = first * self.hop, (last - 1) * self.hop + self.length
        segment, ratio = self.segments[number], self.ratios[number]
        if ratio != 1:
            return _resampled(segment, ratio)[begin:end]
        return segment.read(segment.start + begin, segment.start + end)


@lru_cache(maxsize=1)
def _resampled(segment: Segment, ratio: Fraction) -> Complex:
    from scipy.signal import resample_poly  # slow to load, and rarely needed

    samples = segment.read(segment.start, segment.start + segment.count)
    found: Complex = resample_poly(samples, ratio.numerator, ratio.denominator).astype(np.complex64)
    return found


def _pairs(segments: Sequence[Segment], ratios: Sequence[Fraction]) -> list[tuple[Segment, Fraction]]:
    return list(zip(segments, ratios, strict=True))


def _ratio(segment: Segment, reading: Reading) -> Fraction:
    """Ratio of the requested sample rate to that of the recording."""
    if reading.sample_rate_hz is None:
        return Fraction(1)
    if segment.sample_rate_hz is None:
        raise DataError(f"{segment.name} does not say its sample rate, so it cannot be resampled")
    ratio = Fraction(reading.sample_rate_hz / segment.sample_rate_hz).limit_denominator(_MOST_FACTOR)
    if not 0 < ratio <= _MOST_RATIO:
        raise DataError(
            f"{segment.name} is recorded at {segment.sample_rate_hz:g} Hz and cannot be resampled to "
            f"{reading.sample_rate_hz:g} Hz: allowed is from 1/{_MOST_FACTOR} of its rate to {_MOST_RATIO} times it"
        )
    return ratio


def _rate_notes(segments: Sequence[Segment], reading: Reading) -> list[str]:
    """Notes on sample rates.

    Raises:
        DataError: They differ and none was requested, or only some recordings have one.
    """
    rates = sorted({segment.sample_rate_hz for segment in segments if segment.sample_rate_hz is not None})
    told = ", ".join(f"{rate:g}" for rate in rates)
    silent = sorted({segment.name for segment in segments if segment.sample_rate_hz is None})
    if rates and silent:
        raise DataError(
            f"{silent[0]}{f' and {len(silent) - 1} more' if silent[1:] else ''} without a sample rate beside "
            f"recordings at {told} Hz",
            "Write core:sample_rate into their metadata, or keep them in a folder of their own",
        )
    if reading.sample_rate_hz is not None:
        return [f"recorded at {told} Hz, frames are resampled to {reading.sample_rate_hz:g} Hz"]
    if len(rates) > 1:
        raise DataError(f"recordings differ in sample rate: {told} Hz", "Resample them with `sample_rate_hz`")
    return [f"recorded and kept at {told} Hz; a network trained at another rate takes resampled ones"] if rates else []


def _left_out(segments: Sequence[Segment], counts: npt.NDArray[np.int64], no_snrs: bool) -> list[str]:
    notes = []
    short = int((counts == 0).sum())
    if short:
        notes.append(f"{short} of {len(segments)} stretches are shorter than a frame and are left out")
    if no_snrs and any(segment.snr is not None for segment in segments):
        notes.append("SNRs are left out: some stretches have none")
    return notes
