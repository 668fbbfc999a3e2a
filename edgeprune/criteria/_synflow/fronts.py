"""Least synaptic flow over all ways to choose m units of a network, without evaluating all of them.

The probe network is freshly initialized except for the chosen units, which are trained; all values are magnitudes. Its
score is

    S = Σ over its parameters w of |∂R/∂w · w| = Σ w ∂R/∂w = dR/dt at t = 0, all parameters being (1 + t) w,

the second because no derivative of R is negative. So S needs no gradient: it is the growth of R, propagated through the
network from front to back (`growth`). Let f be the flow, values and growths, that leaves the first stages under some
choices. The result of the later stages, under any choices there, is affine in f without negative coefficients: a stage
is affine in the values, and so is its derivative, which is linear in the growths. Therefore, if f ≤ g in every entry
with the same number of chosen units, every continuation of f gives an S no greater than that of g, and g can be
discarded. After every stage only the undominated flows remain for each number of chosen units; the least S of those
that reach the end is the least of all. This is dynamic programming with dominance (label setting, Martins 1984). Maps
without negative coefficients turn all flows towards one direction (Birkhoff 1957), so few remain: about 100 at a time,
where there are 10^15 ways to choose 27 units of 54.

Entries are compared to a relative 1e-12, the limit of double precision here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeprune.criteria._synflow.flow import require_finite
from edgeprune.criteria._synflow.growth import Flow, carry
from edgeprune.criteria._synflow.stages import Stage
from edgeprune.errors import ConfigError

_AT_ONCE = 64  # flows in one batch
_MOST_BYTES = 2**29  # of all flows at one place of the network
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Front:
    """Flows at one place with the same number of chosen units, and the choices that lead to each."""

    flow: Flow
    choices: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Least:
    """Best choice, its score, and the number of flows propagated through a stage to find it."""

    chosen: tuple[int, ...]
    score: float
    flows: int


def least(
    stages: Sequence[Stage],
    count: int,
    frame: Tensor,
    fresh: Mapping[str, Tensor],
    trained: Mapping[str, Tensor],
    advance: Callable[[int, str], None],
) -> Least:
    """Choose `count` units so that the probe's score is least.

    Args:
        stages: The whole network.
        count: Number of units to choose, at most as many as there are stages with one.
        frame: Frame of ones, (1, channels, length).
        fresh: Parameters and buffers of the probe by name, magnitudes in double precision.
        trained: Trained parameters and buffers of the units to choose from, likewise.
        advance: Called after every stage.

    Raises:
        ConfigError: More flows remain than may be kept.
        ModelError: The flow exceeds double precision.
    """
    fronts = {0: Front(Flow(frame, torch.zeros_like(frame)), ((),))}
    left = sum(stage.unit is not None for stage in stages)
    flows = 0
    with torch.no_grad():
        for stage in stages:
            left -= stage.unit is not None
            reached: dict[int, list[Front]] = {}
            for chosen, front in fronts.items():
                for more in (0, 1) if stage.unit is not None else (0,):
                    if chosen + more <= count <= chosen + more + left:
                        state = {**fresh, **trained} if more else fresh
                        reached.setdefault(chosen + more, []).append(_through(stage, front, state, bool(more)))
                        flows += len(front.choices)
            fronts = {chosen: _undominated(parts) for chosen, parts in reached.items()}
            _require_few(list(fronts.values()))
            advance(1, f"{flows} flows")
    front = fronts[count]
    scores = front.flow.growth.flatten(1).sum(dim=1)
    best = int(scores.argmin())
    return Least(front.choices[best], float(scores[best]), flows)


def _through(stage: Stage, front: Front, state: Mapping[str, Tensor], chosen: bool) -> Front:
    """Propagate the front through a stage."""
    flows = zip(torch.split(front.flow.value, _AT_ONCE), torch.split(front.flow.growth, _AT_ONCE), strict=True)
    parts = [carry(stage.module, Flow(value, growth), state) for value, growth in flows]
    value, growth = (torch.cat(tensors) for tensors in zip(*((part.value, part.growth) for part in parts), strict=True))
    require_finite(growth)
    own = (stage.unit,) if chosen and stage.unit is not None else ()
    return Front(Flow(value, growth), tuple((*choice, *own) for choice in front.choices))


def _undominated(fronts: Sequence[Front]) -> Front:
    """Flows of several fronts that no other flow is below in every entry; one of equals."""
    value = torch.cat([front.flow.value for front in fronts])
    growth = torch.cat([front.flow.growth for front in fronts])
    choices = [choice for front in fronts for choice in front.choices]
    rows = torch.cat([value.flatten(1), growth.flatten(1)], dim=1).cpu()  # each row decides what the next is held to
    lowest = torch.empty_like(rows)
    kept: list[int] = []
    for row in rows.sum(dim=1).argsort(stable=True).tolist():  # what is below in every entry has the lesser sum
        if not (lowest[: len(kept)] <= rows[row] * (1 + _ROUNDING)).all(dim=1).any():
            lowest[len(kept)] = rows[row]
            kept.append(row)
    return Front(Flow(value[kept], growth[kept]), tuple(choices[row] for row in kept))


def _require_few(fronts: Sequence[Front]) -> None:
    flows = sum(len(front.choices) for front in fronts)
    allowed = _MOST_BYTES // (2 * fronts[0].flow.value[0].nbytes)
    if flows > allowed:
        raise ConfigError(
            f"the search for the least flow would have to follow {flows:,} partial choices, and memory for {allowed:,} "
            "is allowed",
            "Use more `segments`, or `criterion='synflow'`",
        )
