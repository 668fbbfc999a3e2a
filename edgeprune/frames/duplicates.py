"""Duplicate samples: equal or overlapping frames, refused where they would be in both training and test data."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edgeprune.errors import DataError

Part = TypeVar("Part", bound=str)
_BLOCK_BYTES = 1 << 24
_ALIKE = 0.9999


def fingerprints(iq: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
    """Hash each frame to 64 bits, (N,): the inner product of its bits with fixed random odd numbers, modulo 2**64.

    Two different frames of a set collide with a probability of about 2**-63, so a collision among millions is unlikely.

    Args:
        iq: Frames (N, channels, length).
    """
    words = np.ascontiguousarray(iq, dtype=np.float32).reshape(len(iq), -1).view(np.uint32)
    factors = np.random.default_rng(0x5EED).integers(2**63, size=words.shape[1], dtype=np.uint64) * np.uint64(2)
    factors += np.uint64(1)
    found = np.empty(len(iq), dtype=np.uint64)
    rows = max(1, _BLOCK_BYTES // (8 * words.shape[1]))
    for start in range(0, len(iq), rows):
        block = words[start : start + rows].astype(np.uint64)
        mixed = (block * factors).sum(axis=1, dtype=np.uint64)
        found[start : start + rows] = mixed ^ (mixed >> np.uint64(29))
    return found


def repeated(prints: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Index of the first frame with the same fingerprint, (N,): its own where a frame is the first of its kind."""
    _, first, inverse = np.unique(prints, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64)


def overlapping(iq: npt.NDArray[np.float32], hop: int) -> npt.NDArray[np.bool_]:
    """Whether each frame except the first begins `hop` samples into the one before it, up to its scale, (N - 1,).

    Args:
        iq: Frames (N, channels, length) in the order they were cut.
        hop: Samples from one frame to the next, smaller than the length.
    """
    if len(iq) < 2:
        return np.zeros(0, dtype=np.bool_)
    tails, heads = (part.reshape(len(iq), -1).astype(np.float64) for part in (iq[:, :, hop:], iq[:, :, :-hop]))
    periodic = _alike(tails, heads)  # a frame like itself later, as a constant is, says nothing of its neighbor
    found: npt.NDArray[np.bool_] = _alike(tails[:-1], heads[1:]) & ~periodic[:-1] & ~periodic[1:]
    return found


def _alike(some: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether rows are positive multiples of one another."""
    products = np.einsum("ij,ij->i", some, others)
    sizes = np.sqrt(np.einsum("ij,ij->i", some, some) * np.einsum("ij,ij->i", others, others))
    alike: npt.NDArray[np.bool_] = (sizes > 0) & (products > _ALIKE * sizes)
    return alike


def refuse_shared(iq: npt.NDArray[np.float32], parts: Mapping[Part, npt.NDArray[np.int64]], source: str) -> None:
    """Refuse a split that has the same frame in two of its parts.

    Args:
        iq: All frames (N, channels, length).
        parts: Indices of the frames of each part.
        source: File name for messages.

    Raises:
        DataError: A frame is in two parts; the message has the indices of the first such pair.
    """
    refuse_shared_prints(fingerprints(iq), parts, source)


def refuse_shared_prints(
    prints: npt.NDArray[np.uint64], parts: Mapping[Part, npt.NDArray[np.int64]], source: str
) -> None:
    """Refuse a split as `refuse_shared` does, by the fingerprints of all frames, (N,)."""
    part_of = np.full(len(prints), -1)
    for number, indices in enumerate(parts.values()):
        part_of[indices] = number
    used = np.flatnonzero(part_of >= 0)
    first = used[repeated(prints[used])]
    shared = part_of[first] != part_of[used]
    if shared.any():
        names = list(parts)
        place = int(np.argmax(shared))
        one, other = int(first[place]), int(used[place])
        raise DataError(
            f"{source}: {int(shared.sum())} frames are in two splits, "
            f"the first is frame {one} ({names[part_of[one]]}) and frame {other} ({names[part_of[other]]})",
            "Write the file without repeated frames: edgeprune data convert IN OUT.h5 --drop-duplicates",
        )
