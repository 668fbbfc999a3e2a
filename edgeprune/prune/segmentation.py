"""Cut the chain into segments of similar units: Fisher's optimal segmentation, exact.

Among all ways to cut an ordered sequence into k runs, it finds the one with the least sum of squared distances of the
points to the mean of their run (Fisher 1958, doi 10.1080/01621459.1958.10501479), by dynamic programming. The cuts are
read back from the minima of the recurrence. The code published with arXiv 2406.07929 fills the same table but takes as
cuts the largest n whose loss is below the current one, which gives other, worse segments.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from edgeprune.errors import ConfigError, ModelError
from edgeprune.files.store import record_sha256
from edgeprune.records.pruning import LayerChain, Segmentation, Similarity

Floats = npt.NDArray[np.float64]
Segments = tuple[tuple[int, int], ...]

NEGLIGIBLE = 1e-9  # similarities are of order 1: a smaller sum of squares is the rounding of float32 activations


def diameters(profile: Floats) -> Floats:
    """Compute the sum of squared distances to the mean for every run of points.

    It grows point by point (Welford 1962, doi 10.1080/00401706.1962.10490022). Differences of prefix sums of squares
    would lose digits; this cannot go below 0, and is exactly 0 for a run of equal points.

    Args:
        profile: (L, d), one point a unit.

    Returns:
        (L, L); entry (i, j) is for the points i..j, infinite below the diagonal.
    """
    length = len(profile)
    result = np.full((length, length), np.inf)
    means = np.zeros_like(profile)  # row i: mean of the points i..j
    spreads = np.zeros(length)
    for j in range(length):
        sizes = np.arange(j + 1, 0, -1.0)
        offsets = profile[j] - means[: j + 1]
        means[: j + 1] += offsets / sizes[:, None]
        spreads[: j + 1] += np.square(offsets).sum(axis=1) * (sizes - 1) / sizes
        result[: j + 1, j] = spreads[: j + 1]
    return result


def fisher_segments(profile: Floats, k: int) -> tuple[tuple[float, ...], tuple[Segments, ...]]:
    """Cut a sequence into 1, 2, ... k runs, each time with the least sum of squares.

    Among cuts of equal loss, the last run starts as early as it can, then the one before it, and so on.

    Args:
        profile: (L, d), one point a unit, in order.
        k: Largest number of runs, 1..L.

    Returns:
        The least loss for 1..k runs, and the runs that attain it as (first, last), for each number of runs.
    """
    length = len(profile)
    spread = diameters(profile)
    loss = spread[0]
    losses = [float(loss[-1])]
    starts = [np.zeros(length, dtype=np.intp)]  # starts[m][j]: where the last of m + 1 runs over 0..j begins
    for _ in range(1, k):
        before = np.concatenate(([np.inf], loss[:-1]))  # row i: the loss up to i - 1
        candidates = before[:, None] + spread
        starts.append(candidates.argmin(axis=0))
        loss = candidates.min(axis=0)
        losses.append(float(loss[-1]))
    return tuple(losses), tuple(_trace(starts[: m + 1], length) for m in range(k))


def _trace(starts: list[npt.NDArray[np.intp]], length: int) -> Segments:
    """Follow the starts of the last run from the end of the sequence to its beginning."""
    runs: list[tuple[int, int]] = []
    last = length - 1
    for start_of in reversed(starts):
        first = int(start_of[last])
        runs.append((first, last))
        last = first - 1
    return tuple(reversed(runs))


def segment(
    similarity: Similarity,
    chain: LayerChain,
    segments: int | Literal["auto"],
    profile: Literal["rows", "column-sums"],
    limit: int,
) -> Segmentation:
    """Cut the chain into segments of similar units.

    Only the run from the first droppable unit to the last is segmented, by its part of the matrix. Units before it join
    the first segment, units after it the last.

    Args:
        similarity: Similarity of the units of this chain.
        chain: The units.
        segments: Number of segments, or 'auto' for the limit, or fewer if those leave no difference within any.
        profile: The point of a unit: its row of the matrix, or (the paper) the sum of its column.
        limit: Number that 'auto' makes; fewer when the run is shorter, never less than 1.

    Returns:
        The segments, and the least loss for 1, 2, ... up to the number given or the limit.

    Raises:
        ConfigError: The number of segments is below 1 or above the number of units in the run.
        ModelError: No unit can be dropped, or the similarity is of another network.
    """
    if similarity.chain_sha256 != record_sha256(chain):
        raise ModelError("the similarity was computed for another network", "Compute it again for this one")
    if not chain.droppable:
        raise ModelError("no unit of the network can be dropped", "`edgeprune inspect` shows why")
    first, last = chain.droppable[0], chain.droppable[-1]
    units = last - first + 1
    if segments != "auto" and not 1 <= segments <= units:
        raise ConfigError(f"{segments} segments requested, this network allows 1 to {units}", "Choose fewer, or auto")
    most = max(1, min(limit, units)) if segments == "auto" else segments
    matrix = np.array(similarity.matrix)[first : last + 1, first : last + 1]
    points = matrix if profile == "rows" else matrix.sum(axis=0)[:, None]
    losses, partitions = fisher_segments(points, most)
    uniform = [k for k, loss in enumerate(losses, start=1) if loss <= NEGLIGIBLE]
    chosen = uniform[0] if segments == "auto" and uniform else most
    runs = [(start + first, end + first) for start, end in partitions[chosen - 1]]
    runs[0] = (0, runs[0][1])
    runs[-1] = (runs[-1][0], len(chain.units) - 1)
    return Segmentation(
        record_sha256(similarity), tuple(runs), losses, profile, "auto" if segments == "auto" else "given"
    )
