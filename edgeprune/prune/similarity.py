"""Similarity of the units of a network, from their outputs for the same frames.

The network runs once over the frames. Every unit's output is reduced to a small summary as soon as it appears and then
released. The cost is thus little more than that of the forward passes, and activations are never stored.
"""

import operator
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from edgeprune.errors import DataError, ModelError
from edgeprune.files.store import record_sha256
from edgeprune.network.activations import Tap, read, taps_of
from edgeprune.network.compute import beside
from edgeprune.network.running import evaluating
from edgeprune.protocols import Progress, SimilarityMetric
from edgeprune.records.pruning import LayerChain, Similarity, Unit

SMALLEST_BATCH = 4  # the unbiased estimator is undefined below


def similarity_of(
    model: nn.Module,
    chain: LayerChain,
    batches: Iterable[Tensor],
    metric: SimilarityMetric,
    metric_name: str,
    data_sha256: str,
    progress: Progress,
) -> Similarity:
    """Compare the outputs of all units on the same frames.

    Args:
        model: The network the chain was found in; left unchanged, in its mode.
        chain: Its units.
        batches: Frames (n, channels, length), normalized, at least 4 a batch; a smaller last one is left out. They are
            moved to the model one batch at a time. Inner products are averaged over batches in proportion to their
            frames.
        metric: Metric that compares them.
        metric_name: Its registered name, for the record.
        data_sha256: SHA-256 of the data that the frames came from, for the record.
        progress: Updated after every batch.

    Returns:
        The symmetric matrix (L, L) of similarities with exactly 1 on its diagonal.

    Raises:
        DataError: No batch, or one before the last, has 4 frames; the frames do not fit the network; a unit gives the
            same output for all frames, or outputs in which the metric finds no structure: its similarity is undefined.
        ModelError: The output of a unit cannot be read, or has values that are not finite.
    """
    total = torch.zeros(len(chain.units), len(chain.units), dtype=torch.float64)
    taps: list[Tap] = []
    seen: list[Tensor] = []
    frames = left_out = 0
    with torch.no_grad(), evaluating(model), progress.track("similarity", operator.length_hint(batches)) as advance:
        for batch in batches:
            if left_out:
                raise _too_few(left_out)
            if len(batch) < SMALLEST_BATCH:
                left_out = len(batch)
                continue
            moved = beside(model, batch)
            taps = taps or taps_of(model, chain, moved)
            products = metric.products(read(model, taps, moved, metric.summarise)).cpu()
            _require_finite(products, chain)
            total += len(batch) * products
            seen[:] = [moved]
            frames += len(batch)
            advance(1, f"{frames} frames")
    if not frames:
        raise _too_few(left_out)
    mean = total / frames
    for unit, product in zip(chain.units, mean.diagonal().tolist(), strict=True):
        if product <= 0:
            raise _undefined(model, taps, unit, seen[0], metric_name)
    matrix = tuple(tuple(row) for row in metric.finish(mean).tolist())
    return Similarity(record_sha256(chain), data_sha256, metric_name, frames, matrix)


def _require_finite(products: Tensor, chain: LayerChain) -> None:
    for unit, finite in zip(chain.units, products.diagonal().isfinite().tolist(), strict=True):
        if not finite:
            raise ModelError(
                f"unit {unit.index} ({unit.path}) gives values that are not finite",
                "Check the weights, the frames and their normalization",
            )


@torch.no_grad()
def _undefined(model: nn.Module, taps: list[Tap], unit: Unit, batch: Tensor, metric_name: str) -> DataError:
    """Explain why a unit is not similar to itself: constant over all frames, or without structure for the metric."""
    with evaluating(model):
        varied = read(model, taps, batch, lambda output: bool((output != output[:1]).any()))[unit.index]
    if varied:
        return DataError(
            f"unit {unit.index} ({unit.path}) gives outputs in which {metric_name} finds nothing to compare, since no "
            "two frames are more alike than any others: its similarity is undefined",
            "Use more frames, of several classes, or another `metric`",
        )
    return DataError(
        f"unit {unit.index} ({unit.path}) gives the same output for all frames: its similarity is undefined",
        "Use frames of several classes; if they are, the unit is dead and the network needs training",
    )


def _too_few(frames: int) -> DataError:
    return DataError(
        f"a batch of {frames} frames is too small to compare units, at least {SMALLEST_BATCH} are needed",
        "Use more frames or larger batches",
    )
