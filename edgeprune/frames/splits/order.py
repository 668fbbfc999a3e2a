"""Permutation test for dependence between successive frames of a file.

Each frame is described by a few numbers that do not depend on its scale: its spectrum in bands, its envelope, the
correlation of its samples. Within each cell (modulation and SNR) these are replaced by their ranks. The mean product of
neighbors is compared with that of the same frames in random orders. If the order of the frames of a cell carries no
information, all orders are equally likely and the p-value is exact (Edgington 1964): at a level of a, one set in 1/a is
called dependent by chance.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeprune.frames.splits.cells import Indices, cells
from edgeprune.records.frames import FrameTable

ALPHA = 0.001
_ORDERS = 999
_MOST = 256  # frames of a cell that are looked at: the first, side by side
_BANDS = 8
_LAGS = (1, 2, 4, 8)
_ALIKE = 0.1

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OrderDependence:
    """Result of the test.

    Attributes:
        correlation: Correlation of neighbors, averaged over the columns that describe a frame and over cells.
        p_value: Share of random orders whose correlation is at least as large.
        reach_frames: First distance at which the correlation is below 0.1; 1 where it never exceeds that.
    """

    correlation: float
    p_value: float
    reach_frames: int

    @property
    def shown(self) -> bool:
        """Whether dependence was found."""
        return self.p_value <= ALPHA


def looked_at(table: FrameTable) -> list[Indices]:
    """Frames of each cell that are described, in the order of the file; none from cells of fewer than three."""
    return [cell[:_MOST] for _, _, cell in cells(table) if len(cell) >= 3]


def described(iq: npt.NDArray[np.float32]) -> Numbers:
    """Features of each frame, (N, features); zeros for a frame of zeros.

    Args:
        iq: Frames (N, 2, length).
    """
    samples = (iq[:, 0] + 1j * iq[:, 1]).astype(np.complex128)
    samples /= np.maximum(np.sqrt((np.abs(samples) ** 2).mean(axis=1, keepdims=True)), np.finfo(np.float64).tiny)
    power = np.abs(np.fft.fft(samples, axis=1)) ** 2
    bands = [band.mean(axis=1) for band in np.array_split(power, min(_BANDS, power.shape[1]), axis=1)]
    envelope = [np.abs(samples).std(axis=1), np.abs((samples**2).mean(axis=1)), np.abs(samples.mean(axis=1))]
    shifted = [(samples[:, lag:] * samples[:, :-lag].conj()).mean(axis=1) for lag in _LAGS if lag < samples.shape[1]]
    return np.stack([*bands, *envelope, *(part for each in shifted for part in (each.real, each.imag))], axis=1)


def order_dependence(groups: list[Numbers], seed: int = 0, orders: int = _ORDERS) -> OrderDependence | None:
    """Test whether neighbors resemble each other.

    Args:
        groups: Features of the frames of each cell, (frames, features), in order.
        seed: Seed of the random orders.
        orders: Number of random orders.

    Returns:
        The result; None if no cell has three frames that differ.
    """
    scored = [ranked(group) for group in groups if len(group) >= 3]
    scored = [scores for scores in scored if scores.any()]
    if not scored:
        return None
    generator = np.random.default_rng(seed)
    found, chance, pairs = 0.0, np.zeros(orders), 0
    for scores in scored:
        products = scores @ scores.T / scores.shape[1]  # of all pairs of frames
        found += float(np.diagonal(products, 1).sum())
        drawn = generator.permuted(np.tile(np.arange(len(scores)), (orders, 1)), axis=1)
        chance += products[drawn[:, :-1], drawn[:, 1:]].sum(axis=1)
        pairs += len(scores) - 1
    above = int((chance >= found - 1e-9 * pairs).sum())
    return OrderDependence(found / pairs, (1 + above) / (1 + orders), _reach(scored))


def ranked(values: Numbers) -> Numbers:
    """Ranks of each column with mean 0 and mean square 1, ties shared; zeros for a column of one value."""
    ranks = np.empty_like(values)
    for column, numbers in enumerate(values.T):
        _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
        ranks[:, column] = (np.cumsum(counts) - (counts + 1) / 2)[inverse]
    ranks -= ranks.mean(axis=0)
    spread = np.sqrt((ranks**2).mean(axis=0))
    scaled: Numbers = ranks / np.where(spread > 0, spread, 1)
    return scaled


def _reach(scored: list[Numbers]) -> int:
    longest = max(map(len, scored))
    for lag in range(1, longest):
        products = [(scores[lag:] * scores[:-lag]).mean(axis=1) for scores in scored if len(scores) > lag]
        if np.concatenate(products).mean() < _ALIKE:
            return lag
    return longest
