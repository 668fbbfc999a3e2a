"""Block influence (ShortGPT, Men et al. 2024, arXiv 2403.03853): how much a unit changes the direction of its input.
Needs frames, but no labels.

The score is 1 minus the mean cosine between the input and the output of a unit, for the same frame, flattened: 0 for a
unit that changes nothing but the scale. Where code transposes or pools between two units, its result is the input of
the second unit. A unit that changes the shape is compared with the output of a shortcut without weights (He et al.
2016, arXiv 1512.03385, option A): the longer of the two is averaged down to the length of the shorter along each axis
except channels, and missing channels count as zeros. Where one of the two is all zeros, the cosine counts as 0.
"""

import torch
from torch import Tensor
from torch.linalg import vecdot, vector_norm
from torch.nn.functional import cosine_similarity, pad

from edgeprune.criteria._subject import batches, droppable, not_finite, spread
from edgeprune.network.activations import passages_of, read_passing
from edgeprune.network.compute import beside
from edgeprune.network.running import evaluating
from edgeprune.protocols import Subject

FRAMES = 64
_SMALLEST = torch.finfo(torch.float32).tiny


class BlockInfluence:
    """Scores units by the angle between their output and their input."""

    @torch.no_grad()
    def scores(self, subject: Subject) -> dict[int, float]:
        """Score every droppable unit on frames of the train split.

        Raises:
            DataError: The frames do not fit the network.
            ModelError: The output of a unit cannot be read, or is not finite.
        """
        model = subject.model
        parts = batches(spread(subject.train, FRAMES, subject.seed))
        total = torch.zeros(len(subject.chain.units), dtype=torch.float64)
        with evaluating(model), subject.progress.track("block influence", len(parts)) as advance:
            passages = passages_of(model, subject.chain, beside(model, parts[0].iq))
            for batch in parts:
                frames = beside(model, batch.iq)
                total += torch.stack(read_passing(model, passages, frames, _unit_length, _cosines)).cpu()
                advance(1, f"{len(batch.labels)} frames")
        mean = total / sum(len(batch.labels) for batch in parts)
        for unit in subject.chain.units:
            if not mean[unit.index].isfinite():
                raise not_finite(f"the outputs of unit {unit.index} ({unit.path})")
        return {unit.index: 1.0 - float(mean[unit.index]) for unit in droppable(subject)}


def _cosines(before: Tensor, after: Tensor) -> Tensor:
    """Sum over frames of the cosine between the input of a unit (n, ...) and its output, both of unit length."""
    if before.shape == after.shape:
        cosines: Tensor = vecdot(before.flatten(1), after.flatten(1))
    else:
        cosines = cosine_similarity(*comparable(before, after), dim=1)
    return cosines.double().sum()


def _unit_length(activations: Tensor) -> Tensor:
    """Copy activations (n, ...) to float32, as later layers may work in place; frames are scaled to length 1, or 0."""
    rows = activations.flatten(1).float()
    lengths: Tensor = vector_norm(rows, dim=1, keepdim=True)
    return (rows / lengths.clamp_min(_SMALLEST)).reshape(activations.shape)


def comparable(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Bring two activations of the same frames, (n, C, ...) and (n, C', ...), to rows of the same length.

    Args:
        first: Input of a unit.
        second: Output of the unit.

    Returns:
        Both as (n, p): averaged down to the smaller length along each axis after the channels; an axis that only one of
        them has is averaged away. Then the channels of the smaller are padded with zeros.
    """
    first, second = (x if x.dim() > 1 else x.unsqueeze(1) for x in (first, second))
    shared = min(first.dim(), second.dim())
    lengths = tuple(map(min, first.shape[2:shared], second.shape[2:shared]))
    first, second = _averaged(first, lengths), _averaged(second, lengths)
    channels = max(first.shape[1], second.shape[1])
    rows = [
        pad(x.flatten(2) if x.dim() > 2 else x.unsqueeze(2), (0, 0, 0, channels - x.shape[1])) for x in (first, second)
    ]
    return rows[0].flatten(1), rows[1].flatten(1)


def _averaged(activations: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """Average (n, C, ...) down to (n, C, *lengths); any further axes are averaged away."""
    if activations.dim() > len(lengths) + 2:
        activations = activations.flatten(len(lengths) + 2).mean(dim=-1)
    for axis, length in enumerate(lengths, start=2):
        moved = activations.movedim(axis, -1)
        pooled = torch.nn.functional.adaptive_avg_pool1d(moved.flatten(0, -2).unsqueeze(1), length)
        activations = pooled.reshape(*moved.shape[:-1], length).movedim(-1, axis)
    return activations


criterion = BlockInfluence()
