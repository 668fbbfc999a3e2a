"""How alike the units of a network are, from what each makes of the same frames.

The network runs once over the frames. Every unit's output is turned into a small summary the moment it appears and then
let go, so that the cost is little more than that of the forward passes and activations are never kept.
"""

import contextlib
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from edgeprune.errors import DataError, ModelError
from edgeprune.modes import evaluating
from edgeprune.protocols import Progress, SimilarityMetric
from edgeprune.records import LayerChain, Similarity, Unit
from edgeprune.store import record_sha256

SMALLEST_BATCH = 4  # the unbiased estimator is undefined below
PROBE_FRAMES = 2  # any number other than a batch's tells the axis of the frames from the others


@dataclass(frozen=True)
class Place:
    """Where a tensor is read: what goes into a module, or what comes out of it."""

    module: nn.Module
    side: Literal["input", "output"]


@dataclass(frozen=True)
class Tap:
    """Where a unit's output is read, and its shape there for `PROBE_FRAMES` frames."""

    unit: Unit
    place: Place
    probe_shape: torch.Size


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
        model: The network the chain was found in; it is left as it was, in the mode it was in.
        chain: Its units.
        batches: Frames (n, channels, length), normalised, on the model's device, at least 4 a batch; a smaller last one
            is left out. Inner products are averaged over batches in proportion to their frames.
        metric: What compares them.
        metric_name: Its registered name, for the record.
        data_sha256: Of what the frames came from, for the record.
        progress: Told of every batch.

    Returns:
        The symmetric matrix (L, L) of similarities with exactly 1 on its diagonal.

    Raises:
        DataError: No batch, or one before the last, has 4 frames; the frames do not fit the network; a unit gives the
            same output for all frames, so that its similarity is undefined.
        ModelError: The output of a unit cannot be read, or has values that are not finite.
    """
    total = torch.zeros(len(chain.units), len(chain.units), dtype=torch.float64)
    taps: list[Tap] = []
    frames = left_out = 0
    with torch.no_grad(), evaluating(model), progress.track("similarity", operator.length_hint(batches)) as advance:
        for batch in batches:
            if left_out:
                raise _too_few(left_out)
            if len(batch) < SMALLEST_BATCH:
                left_out = len(batch)
                continue
            taps = taps or _taps(model, chain, batch[:PROBE_FRAMES])
            products = metric.products(_summaries(model, taps, batch, metric))
            _require_finite(products, chain)
            total += len(batch) * products
            frames += len(batch)
            advance(1, f"{frames} frames")
    if not frames:
        raise _too_few(left_out)
    mean = total / frames
    _require_varied(mean, chain)
    matrix = tuple(tuple(row) for row in metric.finish(mean).tolist())
    return Similarity(record_sha256(chain), data_sha256, metric_name, frames, matrix)


def _taps(model: nn.Module, chain: LayerChain, frames: Tensor) -> list[Tap]:
    """Choose for each unit the first of its places that is passed exactly once, by watching one small pass.

    A module that is called from several places cannot tell which unit it works for.
    """
    places = _places(model, chain)
    shapes: dict[Place, list[torch.Size | None]] = {place: [] for options in places for place in options}

    def note(tensor: Tensor | None, seen: list[torch.Size | None]) -> None:
        seen.append(None if tensor is None else tensor.shape)

    with contextlib.ExitStack() as hooks:
        for place, seen in shapes.items():
            hooks.enter_context(_listen(place, partial(note, seen=seen)))
        try:
            model(frames)
        except (RuntimeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            shape = tuple(frames.shape[1:])
            raise DataError(f"the network fails on frames of shape {shape}: {reason}") from error
    taps = []
    for unit, options in zip(chain.units, places, strict=True):
        once = [(place, shapes[place][0]) for place in options if len(shapes[place]) == 1]
        readable = [Tap(unit, place, shape) for place, shape in once if shape is not None]
        if not readable:
            raise ModelError(
                f"the output of unit {unit.index} ({unit.path}) cannot be read: none of its modules runs exactly once",
                "Give each place of the network a module of its own",
            )
        taps.append(readable[0])
    return taps


def _places(model: nn.Module, chain: LayerChain) -> list[list[Place]]:
    """Where the output of each unit might be read, best first.

    The output of the last of its modules, else of an earlier one. A unit written as plain code has no module: then what
    the next unit takes in, or what the whole network puts out.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    own = [[modules[path] for path in unit.path.split("+") if path in modules] for unit in chain.units]
    following = [[Place(paths[0], "input")] if paths else [] for paths in own[1:]]
    return [
        [Place(module, "output") for module in reversed(paths)] + fallback
        for paths, fallback in zip(own, [*following, [Place(model, "output")]], strict=True)
    ]


def _summaries(model: nn.Module, taps: list[Tap], batch: Tensor, metric: SimilarityMetric) -> list[Tensor]:
    """Run a batch and summarise the output of every unit, in the order of the chain."""
    summaries: dict[int, Tensor] = {}

    def summarise(tensor: Tensor | None, tap: Tap) -> None:
        summaries[tap.unit.index] = metric.summarise(_frames_first(tap, tensor, len(batch)))

    with contextlib.ExitStack() as hooks:
        for tap in taps:
            hooks.enter_context(_listen(tap.place, partial(summarise, tap=tap)))
        model(batch)
    return [summaries[tap.unit.index] for tap in taps]


def _listen(place: Place, hear: Callable[[Tensor | None], None]) -> RemovableHandle:
    """Call `hear` with every tensor that passes a place, until the handle is closed."""

    def before(_: nn.Module, arguments: Any) -> None:
        hear(_tensor(arguments))

    def after(_: nn.Module, __: Any, output: Any) -> None:
        hear(_tensor(output))

    if place.side == "input":
        return place.module.register_forward_pre_hook(before)
    return place.module.register_forward_hook(after)


def _frames_first(tap: Tap, output: Tensor | None, frames: int) -> Tensor:
    """The output as (frames, ...): the axis of the frames is the one that is longer than in the small pass."""
    if output is not None and len(output.shape) == len(tap.probe_shape):
        for axis, (length, probe_length) in enumerate(zip(output.shape, tap.probe_shape, strict=True)):
            if length != probe_length and length % frames == 0:
                return output.movedim(axis, 0).reshape(frames, -1)
    raise ModelError(
        f"the output of unit {tap.unit.index} ({tap.unit.path}) has no axis for the frames: {PROBE_FRAMES} give shape "
        f"{tuple(tap.probe_shape)}, {frames} give {None if output is None else tuple(output.shape)}",
        "Keep the frames apart along one axis of every layer's output",
    )


def _tensor(output: Any) -> Tensor | None:
    """What a module hands on: its tensor, or the first of several as recurrent and attention layers return them."""
    if isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None


def _require_finite(products: Tensor, chain: LayerChain) -> None:
    for unit, finite in zip(chain.units, products.diagonal().isfinite().tolist(), strict=True):
        if not finite:
            raise ModelError(
                f"unit {unit.index} ({unit.path}) gives values that are not finite",
                "Look at the weights, and at the frames and their normalisation",
            )


def _require_varied(products: Tensor, chain: LayerChain) -> None:
    for unit, product in zip(chain.units, products.diagonal().tolist(), strict=True):
        if product <= 0:
            raise DataError(
                f"unit {unit.index} ({unit.path}) gives the same output for all frames: its similarity is undefined",
                "Use frames of several classes; if they are, the unit is dead and the network needs training",
            )


def _too_few(frames: int) -> DataError:
    return DataError(
        f"a batch of {frames} frames is too small to compare units, at least {SMALLEST_BATCH} are needed",
        "Use more frames or larger batches",
    )
