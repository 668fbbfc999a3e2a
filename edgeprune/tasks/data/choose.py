"""Choice of calibration frames from the allowed ones, by one of four strategies."""

import numpy as np
import numpy.typing as npt

from edgeprune.errors import ConfigError, DataError
from edgeprune.records.frames import FrameTable

STRATEGIES = ("random", "stratified", "entropy", "high-snr")
HIGH_SNR_DB = 10
_CANDIDATES = 20  # for each frame that is chosen by entropy

Indices = npt.NDArray[np.int64]


def at_random(allowed: Indices, size: int, seed: int) -> Indices:
    """Choose any `size` of the allowed frames."""
    return np.random.default_rng(seed).permutation(allowed)[:size]


def stratified(table: FrameTable, allowed: Indices, size: int, seed: int) -> Indices:
    """Choose equally many of each class, and of each class at each SNR, as far as possible.

    Classes take turns, and each takes its next SNR in a random order of its own.
    """
    generator = np.random.default_rng(seed)
    snrs = np.zeros(len(table), dtype=np.int64) if table.snrs is None else table.snrs
    queues = []
    for label in np.unique(table.labels[allowed]):
        of_class = generator.permutation(allowed[table.labels[allowed] == label])
        order = generator.permutation(np.unique(snrs[of_class]))
        rank = np.searchsorted(np.sort(order), snrs[of_class])
        turn = np.argsort(order)[rank]  # place of the frame's SNR in the random order
        within = np.zeros(len(of_class), dtype=np.int64)
        for place in range(len(order)):
            of_snr = np.flatnonzero(turn == place)
            within[of_snr] = np.arange(len(of_snr))
        queues.append(of_class[np.lexsort((turn, within))][:size])  # no class gives more than all
    rounds = [(position, index) for index, queue in enumerate(queues) for position in range(len(queue))]
    chosen = [queues[index][position] for position, index in sorted(rounds)[:size]]
    return np.array(chosen, dtype=np.int64)


def clear(table: FrameTable, allowed: Indices, source: str) -> Indices:
    """Select the allowed frames with a high SNR.

    Raises:
        DataError: SNRs are unknown, or none is high.
    """
    if table.snrs is None:
        raise DataError(f"{source} does not say SNRs, so 'high-snr' cannot choose", "Use `strategy='stratified'`")
    found: Indices = allowed[table.snrs[allowed] >= HIGH_SNR_DB]
    if not len(found):
        raise DataError(
            f"{source} holds no frames at {HIGH_SNR_DB} dB or more, the highest SNR is {table.snrs.max()} dB",
            "Use `strategy='stratified'`",
        )
    return found


def candidates(table: FrameTable, allowed: Indices, size: int, seed: int) -> Indices:
    """Draw the frames whose entropy is computed: many times as many as are chosen, sorted."""
    return np.sort(stratified(table, allowed, size * _CANDIDATES, seed))


def most_uncertain(table: FrameTable, among: Indices, entropy: npt.NDArray[np.float64], size: int) -> Indices:
    """Take from each class in turn the frame that the network is least sure of.

    Args:
        table: Table of all frames.
        among: Frames to choose from.
        entropy: Entropy of the network's output for each frame, in nats.
        size: Number of frames to choose.
    """
    order = among[np.argsort(-entropy, kind="stable")]
    labels = table.labels[order]
    position = np.zeros(len(order), dtype=np.int64)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        position[of_class] = np.arange(len(of_class))
    found: Indices = order[np.lexsort((labels, position))][:size]
    return found


def entropy_of(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Compute the entropy in nats of the softmax of logits (N, classes), (N,)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    entropy: npt.NDArray[np.float64] = -(np.exp(log_p) * log_p).sum(axis=1)
    return entropy


def refuse_gaps(table: FrameTable, chosen: Indices, size: int, strategy: str) -> None:
    """Refuse a choice that is too small or lacks a class.

    Raises:
        ConfigError: There are too few frames to choose from.
        DataError: A class has no frame in it.
    """
    if len(chosen) < size:
        raise ConfigError(
            f"{table.source} has {len(chosen)} train frames for {strategy!r}, {size} are requested", "Lower `size`"
        )
    lacking = [name for label, name in enumerate(table.classes) if not (table.labels[chosen] == label).any()]
    if lacking:
        raise DataError(
            f"{table.source}: the {size} frames chosen by {strategy!r} hold none of {', '.join(lacking)}",
            "Choose more with `size` or by `strategy='stratified'`, from data that hold every class",
        )
