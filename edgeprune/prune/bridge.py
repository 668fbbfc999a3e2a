"""Bridges: initial weights of layers that were rebuilt for another width because a layer before them was dropped, and
re-estimated statistics of normalization layers.

`inherit` keeps the weights of the leading channels, as `widths.resized` made them; behind a concatenation those are not
the channels that remain. `kaiming` draws new weights (He et al. 2015) with biases of zero, as the authors of arXiv
2406.07929 do. `least-squares` brings the layer's output as near as possible to its output in the unpruned network, on
the same frames. It is a ridge regression of the old output on the new input, layer after layer, each with those before
it already bridged. For a layer without bias it is exact up to a constant for each channel, which the normalization
after it absorbs. Where the map has another size than before, the old output is averaged or repeated to fit.

Running statistics are re-estimated in the same order: those before a layer before it is fitted, since they determine
its input, and those behind it afterwards.
"""

import contextlib
from collections.abc import Collection, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from edgeprune.network.compute import beside
from edgeprune.network.running import evaluating
from edgeprune.network.statistics import reestimate, with_statistics
from edgeprune.records.names import Bridge

_RIDGE = 1e-3  # of the mean diagonal of the normal equations
_MOST_FEATURES = 8192  # beyond, the normal equations cost more than the fine-tuning they save
_FRAMES_AT_ONCE = 64
_MOST_PARTS = 8  # with 64 of them the bridges of VGG16 were no better
_MOST_PASSES = 4  # over all frames, for the statistics before layers that are fitted
_ROWS_A_FEATURE = 50  # equations for each unknown; more hardly move the solution


def bridge(
    unpruned: nn.Module, pruned: nn.Module, batches: Sequence[Tensor], how: Bridge, seed: int
) -> tuple[str, ...]:
    """Initialize the rebuilt layers of a pruned network, and re-estimate the statistics of all its layers, in place.

    Args:
        unpruned: The network before pruning, unfolded.
        pruned: The network without the dropped units.
        batches: Normalized frames (n, channels, length) of the train split; moved to the networks in parts.
        how: The kind of bridge.
        seed: Seed of the new weights.

    Returns:
        Paths of the layers that were bridged.
    """
    paths = rebuilt_layers(unpruned, pruned)
    if how == "kaiming":
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for path in paths:
                _draw(pruned.get_submodule(path))
    fitting = [path for path in paths if how == "least-squares" and _can_be_fitted(pruned.get_submodule(path))]
    parts = [part for whole in batches for part in torch.split(whole, _FRAMES_AT_ONCE)][:_MOST_PARTS]
    wanted = _old_outputs(unpruned, pruned, fitting, parts)
    few = batches[: max(2, -(-_MOST_PASSES * len(batches) // (len(fitting) + 1)))]
    waiting: list[str] = []
    for path in _in_order(pruned, {*fitting, *with_statistics(pruned)}, batches):
        if path in wanted:
            reestimate(pruned, few, waiting, until=path)
            _fit(pruned, path, parts, wanted[path])
            waiting = []
        else:
            waiting.append(path)
    reestimate(pruned, batches, waiting)
    return paths


@torch.no_grad()
def _in_order(model: nn.Module, paths: Collection[str], batches: Sequence[Tensor]) -> list[str]:
    """Paths of modules in the order in which they first run, without those that do not run."""
    order: dict[str, None] = {}

    def note(path: str, _: nn.Module, __: object) -> None:
        order.setdefault(path)

    with contextlib.ExitStack() as hooks:
        for path in paths:
            hooks.enter_context(model.get_submodule(path).register_forward_pre_hook(partial(note, path)))
        hooks.enter_context(evaluating(model))
        if paths:
            model(beside(model, batches[0][:2]))
    return list(order)


def rebuilt_layers(unpruned: nn.Module, pruned: nn.Module) -> tuple[str, ...]:
    """Paths of convolutions and linear layers whose weights have another shape than before."""
    before = dict(unpruned.named_modules())
    return tuple(
        path
        for path, module in pruned.named_modules()
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear)
        and path in before
        and _weight(before[path]).shape != _weight(module).shape
    )


def _weight(module: nn.Module) -> Tensor:
    weight: Tensor = module.weight  # type: ignore[assignment]
    return weight


@torch.no_grad()
def _draw(module: nn.Module) -> None:
    drawn = nn.init.kaiming_normal_(torch.empty(_weight(module).shape), nonlinearity="relu")  # the same on any device
    _weight(module).copy_(drawn)
    if isinstance(module.bias, Tensor):
        module.bias.zero_()


def _can_be_fitted(layer: nn.Module) -> bool:
    return _features(layer) <= _MOST_FEATURES and getattr(layer, "groups", 1) == 1


def _features(layer: nn.Module) -> int:
    """Number of unknowns for each output channel."""
    return _weight(layer)[0].numel() + 1


@torch.no_grad()
def _old_outputs(
    unpruned: nn.Module, pruned: nn.Module, paths: Sequence[str], parts: Sequence[Tensor]
) -> dict[str, list[Tensor]]:
    """Outputs of each layer in the unpruned network, for as many parts as its equations need.

    The unpruned network is the slow one, so it runs once on each part.
    """
    rows = {path: _ROWS_A_FEATURE * _features(pruned.get_submodule(path)) for path in paths}
    made: dict[str, list[Tensor]] = {path: [] for path in paths}
    for part in parts:
        asked = [path for path in paths if rows[path] > 0]
        if not asked:
            break
        for path, (_, output) in _passing(unpruned, asked, part).items():
            made[path].append(output.cpu())  # of all parts together, which a card may not hold
            rows[path] -= output.numel() // len(_weight(unpruned.get_submodule(path)))
    return made


@torch.no_grad()
def _fit(pruned: nn.Module, path: str, parts: Sequence[Tensor], old: Sequence[Tensor]) -> None:
    """Fit a layer's old output to its new input by ridge regression; unchanged where the two do not line up."""
    layer, features = pruned.get_submodule(path), _features(pruned.get_submodule(path))
    gram = torch.zeros(features, features, dtype=torch.float64, device=_weight(layer).device)
    cross = gram.new_zeros(features, len(_weight(layer)))
    for part, answered in zip(parts, old, strict=False):
        wanted = beside(pruned, answered)
        inputs, made = _passing(pruned, [path], part)[path]
        if wanted.dim() != made.dim() or (isinstance(layer, nn.Linear) and wanted.shape != made.shape):
            return
        rows, targets = _rows(layer, inputs), _targets(layer, wanted, made.shape[2:])
        rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1).double()  # few digits are left once it is solved
        gram += rows.T @ rows
        cross += rows.T @ targets.double()
    ridge = _RIDGE * gram.diagonal().mean()
    solved = torch.linalg.solve(gram + ridge * torch.eye(features, dtype=torch.float64, device=gram.device), cross)
    weight = _weight(layer)
    weight.copy_(solved[:-1].T.reshape(weight.shape))
    if isinstance(layer.bias, Tensor):
        layer.bias.copy_(solved[-1])


def _passing(model: nn.Module, paths: Sequence[str], batch: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Input and output of each of some layers, on one batch; for a shared layer, the first time."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def note(path: str, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.setdefault(path, (inputs[0], output))

    with contextlib.ExitStack() as hooks:
        for path in paths:
            hooks.enter_context(model.get_submodule(path).register_forward_hook(partial(note, path)))
        hooks.enter_context(evaluating(model))
        model(beside(model, batch))
    return seen


def _rows(layer: nn.Module, inputs: Tensor) -> Tensor:
    """Arrange the inputs as the rows (positions, features) that the layer's weights multiply."""
    if not isinstance(layer, nn.Conv1d | nn.Conv2d):
        return inputs.reshape(-1, inputs.shape[-1])
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = nn.functional.pad(inputs, _padding(layer), mode)
    if isinstance(layer, nn.Conv1d):
        size, dilation, stride = ((1, *layer.kernel_size), (1, *layer.dilation), (1, *layer.stride))
        columns = nn.functional.unfold(padded.unsqueeze(2), size, dilation, 0, stride)
    else:
        columns = nn.functional.unfold(padded, layer.kernel_size, layer.dilation, 0, layer.stride)
    return columns.transpose(1, 2).reshape(-1, columns.shape[1])


def _padding(layer: nn.Conv1d | nn.Conv2d) -> list[int]:
    """Padding before and after each axis, the last axis first."""
    pairs = []
    for axis, (size, dilation) in enumerate(zip(layer.kernel_size, layer.dilation, strict=True)):
        if isinstance(layer.padding, str):
            total = dilation * (size - 1) if layer.padding == "same" else 0
            pairs.append((total // 2, total - total // 2))
        else:
            pairs.append((layer.padding[axis],) * 2)
    return [added for pair in reversed(pairs) for added in pair]


def _targets(layer: nn.Module, wanted: Tensor, size: torch.Size) -> Tensor:
    """Arrange the outputs as rows (positions, channels), on a map of the given size."""
    if isinstance(layer, nn.Linear):
        return wanted.reshape(-1, wanted.shape[-1])
    if wanted.shape[2:] != size:
        pool = nn.functional.adaptive_avg_pool1d if len(size) == 1 else nn.functional.adaptive_avg_pool2d
        wanted = pool(wanted, tuple(size))  # type: ignore[arg-type]
    return wanted.movedim(1, -1).reshape(-1, wanted.shape[1])
