"""Scores of channels by the filters that make them: the channel methods that layer pruning is compared with.

A filter is the set of weights from which one layer makes a channel, (inputs x kernel), or a row of a linear layer.
Where several layers make the same channel (the stream of a residual network), each has one vote.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform
from torch import Tensor, nn

from edgeprune.prune.channels.dependencies import Group, Member

Score: TypeAlias = Callable[[nn.Module, Group, np.random.Generator], Tensor | None]


@dataclass(frozen=True)
class ChannelMethod:
    """Published method to choose channels.

    Attributes:
        score: Scores every channel of a group, (channels,) float64, more is better; None where it cannot say.
        scope: 'layer' if every layer loses the same share of its channels, 'network' if one threshold applies to all.
    """

    score: Score
    scope: Literal["layer", "network"]


def l1_norms(model: nn.Module, group: Group, _: np.random.Generator) -> Tensor | None:
    """Sum of absolute weights of each filter (Li et al. 2017, "Pruning Filters for Efficient ConvNets")."""
    return _mean_vote([filters.abs().sum(1) for filters in _filters(model, group)])


def l2_norms(model: nn.Module, group: Group, _: np.random.Generator) -> Tensor | None:
    """Euclidean norm of each filter (He et al. 2018, "Soft Filter Pruning")."""
    return _mean_vote([filters.norm(dim=1) for filters in _filters(model, group)])


def median_distances(model: nn.Module, group: Group, _: np.random.Generator) -> Tensor | None:
    """Sum of distances of each filter to all of its layer (He et al. 2019, "Filter Pruning via Geometric Median").

    The filter nearest to the geometric median is the one that the others can best replace.
    """
    makers = _makers(model, group)
    return _mean_vote([torch.cdist(_rows(module, member), _weight(module)).sum(1) for module, member in makers])


def norm_scales(model: nn.Module, group: Group, _: np.random.Generator) -> Tensor | None:
    """Absolute scale of each channel in batch normalization (Liu et al. 2017, "Network Slimming").

    Mean over the layers that normalize the same channels; None if none does.
    """
    scales = [
        _rows(module, member).abs()[:, 0]
        for member in group.members
        if isinstance(module := model.get_submodule(member.path), nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
        and module.affine
    ]
    return torch.stack(scales).mean(0) if scales else None


def redundancies(model: nn.Module, group: Group, generator: np.random.Generator) -> Tensor | None:
    """Dissimilarity of each filter to the others (Ayinde, Inanc & Zurada 2019, "Redundant feature pruning").

    Filters are merged into clusters by their mean cosine similarity (agglomerative, average linkage). Of every cluster
    one filter is drawn to represent it. The score of the others is 1 - similarity at which they were merged, and that
    of the last one is infinite. The filters above a threshold are thus one for each cluster into which it cuts the
    tree.
    """
    units = [nn.functional.normalize(filters, dim=1) for filters in _filters(model, group)]
    if not units:
        return None
    distance = 1 - torch.stack([unit @ unit.T for unit in units]).mean(0).numpy()
    distance = np.clip((distance + distance.T) / 2, 0, None)
    np.fill_diagonal(distance, 0)
    represents, sizes = list(range(group.channels)), [1] * group.channels
    scores = torch.full((group.channels,), torch.inf, dtype=torch.float64)
    for first, second, height, size in linkage(squareform(distance), "average"):
        pair = int(first), int(second)
        stays = int(generator.random() * size >= sizes[pair[0]])
        scores[represents[pair[1 - stays]]] = height
        represents.append(represents[pair[stays]])
        sizes.append(int(size))
    return scores


METHODS: dict[str, ChannelMethod] = {
    "rfp": ChannelMethod(redundancies, "network"),
    "fpgm": ChannelMethod(median_distances, "layer"),
    "l1": ChannelMethod(l1_norms, "layer"),
    "sfp": ChannelMethod(l2_norms, "layer"),
    "bnp": ChannelMethod(norm_scales, "network"),
}


def _makers(model: nn.Module, group: Group) -> list[tuple[nn.Module, Member]]:
    """Layers with filters that make the channels of a group."""
    made = [(model.get_submodule(member.path), member) for member in group.members if member.side != "inputs"]
    return [(module, member) for module, member in made if isinstance(module, nn.modules.conv._ConvNd | nn.Linear)]


def _filters(model: nn.Module, group: Group) -> list[Tensor]:
    """Filters of each layer that makes the channels, (channels, weights) float64."""
    return [_rows(module, member) for module, member in _makers(model, group)]


def _rows(module: nn.Module, member: Member) -> Tensor:
    return _weight(module)[torch.tensor(member.indices)].flatten(1)


def _weight(module: nn.Module) -> Tensor:
    """Weights of a layer, one row for each of its outputs."""
    weight: Tensor = module.get_parameter("weight").detach().double().cpu()
    return weight.flatten(1) if weight.dim() > 1 else weight[:, None]


def _mean_vote(votes: list[Tensor]) -> Tensor | None:
    """Mean of the layers' scores, each scaled to a mean of 1 over the group."""
    scaled = [vote / vote.mean().clamp(min=torch.finfo(vote.dtype).tiny) for vote in votes]
    return torch.stack(scaled).mean(0) if scaled else None
