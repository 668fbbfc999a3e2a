"""How alike the units of a network are, from what each makes of the same frames.

The network runs once over the frames. Every unit's output is turned into a small summary the moment it appears and then
let go, so that the cost is little more than that of the forward passes and activations are never kept.
"""

import contextlib
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgeprune.errors import DataError, ModelError
from edgeprune.protocols import Progress, SimilarityMetric
from edgeprune.records import LayerChain, Similarity, Unit
from edgeprune.store import record_sha256

SMALLEST_BATCH = 4  # the unbiased estimator is undefined below
PROBE_FRAMES = 2  # any number other than a batch's tells the axis of the frames from the others


@dataclass(frozen=True)
class Tap:
    """Where a unit's output is read: a module that runs once a pass, and its shape for `PROBE_FRAMES` frames."""

    unit: Unit
    module: nn.Module
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
        ModelError: A unit cannot be found or read, or gives values that are not finite.
    """
    total = torch.zeros(len(chain.units), len(chain.units), dtype=torch.float64)
    taps: list[Tap] = []
    frames = left_out = 0
    with _evaluating(model), progress.track("similarity", operator.length_hint(batches)) as advance:
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


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module is back in its own mode."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad():
            model.eval()
            yield
    finally:
        for module, training in modes:
            module.training = training


def _taps(model: nn.Module, chain: LayerChain, frames: Tensor) -> list[Tap]:
    """Choose for each unit the last of its modules that runs exactly once, by watching one small pass.

    The last module gives the unit's output. One that is called from several places, such as an activation shared by the
    whole network, cannot tell which unit it works for; the module before it then stands in.
    """
    modules = {unit.index: [_submodule(model, path) for path in unit.path.split("+")] for unit in chain.units}
    seen: dict[nn.Module, list[torch.Size | None]] = {module: [] for path in modules.values() for module in path}

    def record(module: nn.Module, _: Any, output: Any) -> None:
        tensor = _tensor(output)
        seen[module].append(None if tensor is None else tensor.shape)

    with contextlib.ExitStack() as hooks:
        for module in seen:
            hooks.enter_context(module.register_forward_hook(record))
        try:
            model(frames)
        except (RuntimeError, ValueError) as error:
            shape = tuple(frames.shape[1:])
            reason = str(error).partition("\n")[0]
            raise DataError(f"the network fails on frames of shape {shape}: {reason}") from error

    taps = []
    for unit in chain.units:
        once = [(module, shape) for module in modules[unit.index] for shape in seen[module] if len(seen[module]) == 1]
        readable = [Tap(unit, module, shape) for module, shape in once if shape is not None]
        if not readable:
            raise ModelError(
                f"the output of unit {unit.index} ({unit.path}) cannot be read: none of its modules runs exactly once "
                "a pass and returns a tensor",
                "Give each place of the network a module of its own",
            )
        taps.append(readable[-1])
    return taps


def _summaries(model: nn.Module, taps: list[Tap], batch: Tensor, metric: SimilarityMetric) -> list[Tensor]:
    """Run a batch and summarise the output of every unit, in the order of the chain."""
    summaries: dict[int, Tensor] = {}

    def summariser(tap: Tap) -> Callable[[nn.Module, Any, Any], None]:
        def summarise(_: nn.Module, __: Any, output: Any) -> None:
            summaries[tap.unit.index] = metric.summarise(_frames_first(tap, _tensor(output), len(batch)))

        return summarise

    with contextlib.ExitStack() as hooks:
        for tap in taps:
            hooks.enter_context(tap.module.register_forward_hook(summariser(tap)))
        model(batch)
    return [summaries[tap.unit.index] for tap in taps]


def _frames_first(tap: Tap, output: Tensor | None, frames: int) -> Tensor:
    """The output as (frames, ...): the axis of the frames is the one that is longer than in the small pass."""
    shape = None if output is None else output.shape
    if output is not None and len(output.shape) == len(tap.probe_shape):
        for axis, (length, probe_length) in enumerate(zip(output.shape, tap.probe_shape, strict=True)):
            if length != probe_length and length % frames == 0:
                return output.movedim(axis, 0).reshape(frames, -1)
    raise ModelError(
        f"the output of unit {tap.unit.index} ({tap.unit.path}) has no axis for the frames: {frames} frames give shape "
        f"{shape}, {PROBE_FRAMES} give {tuple(tap.probe_shape)}",
    )


def _tensor(output: Any) -> Tensor | None:
    """What a module hands on: its tensor, or the first of several as recurrent and attention layers return them."""
    if isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None


def _submodule(model: nn.Module, path: str) -> nn.Module:
    try:
        return model.get_submodule(path)
    except AttributeError as error:
        raise ModelError(f"the network has no module {path!r}", "The units were found in another network") from error


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
