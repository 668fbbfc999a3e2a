"""Plan: how many units stay, how many of them in each segment, and which.

Each segment keeps units in proportion to its size, by largest remainder and at least one where the number allows.
Within a segment those with the highest score stay. A unit whose shortcut removes a whole axis of the signal takes
precedence over all others: no score reflects that nothing after it could separate two instants.
"""

from collections.abc import Sequence

from edgeprune.errors import ConfigError
from edgeprune.records.pruning import Decision, LayerChain, PrunePlan, Scores, Segmentation, Unit


def units_to_keep(chain: LayerChain, keep: int | None, keep_ratio: float) -> int:
    """Decide how many droppable units stay.

    Args:
        chain: The network.
        keep: Units to keep in all, including those that cannot be dropped; None to use the ratio.
        keep_ratio: Share of the droppable units to keep, rounded.

    Raises:
        ConfigError: The chain has no droppable unit, or the number is out of range, or the ratio is.
    """
    droppable, fixed = len(chain.droppable), len(chain.units) - len(chain.droppable)
    if not droppable:
        reasons = "; ".join(f"{unit.path}: {unit.reason}" for unit in chain.units[:3])
        raise ConfigError(f"none of the network's {len(chain.units)} units can be dropped ({reasons})")
    if keep is None:
        if not 0 <= keep_ratio <= 1:
            raise ConfigError(f"`keep_ratio={keep_ratio}` is not a share", "Allowed: 0 to 1")
        return round(keep_ratio * droppable)
    if not fixed <= keep <= len(chain.units):
        raise ConfigError(
            f"`keep={keep}` is not possible: {fixed} of the network's {len(chain.units)} units cannot be dropped",
            f"Allowed: {fixed} to {len(chain.units)}",
        )
    return keep - fixed


def allot(sizes: Sequence[int], total: int) -> list[int]:
    """Distribute units over segments in proportion to their size.

    Largest remainder; each segment that has a unit gets at least one while there are enough; ties go to the earlier
    segment.

    Args:
        sizes: Droppable units in each segment.
        total: Units to keep, 0 to the sum of sizes.
    """
    counts = [0] * len(sizes)
    largest_first = sorted(range(len(sizes)), key=lambda segment: (-sizes[segment], segment))
    for segment in largest_first[:total]:
        counts[segment] = min(1, sizes[segment])
    everything = sum(sizes)
    while sum(counts) < total:
        open_segments = [segment for segment, size in enumerate(sizes) if counts[segment] < size]
        shortfall = {segment: total * sizes[segment] - counts[segment] * everything for segment in open_segments}
        counts[max(open_segments, key=lambda segment: (shortfall[segment], -segment))] += 1
    return counts


def members_of(chain: LayerChain, segmentation: Segmentation) -> list[list[int]]:
    """Droppable units of each segment."""
    return [[index for index in chain.droppable if first <= index <= last] for first, last in segmentation.segments]


def allotment(chain: LayerChain, segmentation: Segmentation, keep: int) -> tuple[list[list[int]], list[int]]:
    """Droppable units of each segment, and how many of them stay."""
    members = members_of(chain, segmentation)
    return members, allot([len(units) for units in members], keep)


def plan(
    chain: LayerChain,
    segmentation: Segmentation,
    scores: Scores,
    metric: str,
    keep: int,
    stay: frozenset[int] | None = None,
) -> PrunePlan:
    """Decide for every unit whether it stays.

    Args:
        chain: The network.
        segmentation: Its segments.
        scores: Scores of its droppable units.
        metric: Name of the similarity metric behind the segmentation, for the record.
        keep: Droppable units to keep.
        stay: The droppable units that stay, where they were chosen as a set; otherwise those with the highest scores.
    """
    members, counts = allotment(chain, segmentation, keep)
    ranked = [sorted(units, key=lambda index: _rank(chain.units[index], scores)) for units in members]
    searched = stay is not None
    if stay is None:
        stay = frozenset(index for units, count in zip(ranked, counts, strict=True) for index in units[:count])
    else:
        counts = [sum(index in stay for index in units) for units in members]
    decisions = []
    for segment, (first, last) in enumerate(segmentation.segments):
        for unit in chain.units[first : last + 1]:
            place = ranked[segment].index(unit.index) + 1 if unit.droppable else 0
            decisions.append(
                Decision(
                    index=unit.index,
                    path=unit.path,
                    kept=not unit.droppable or unit.index in stay,
                    segment=segment,
                    score=scores.values.get(unit.index),
                    reason=_found(unit, unit.index in stay, counts[segment], len(members[segment]))
                    if searched and unit.droppable
                    else _reason(unit, place, counts[segment], len(members[segment])),
                )
            )
    dropped = [unit for unit, decision in zip(chain.units, decisions, strict=True) if not decision.kept]
    return PrunePlan(
        model_sha256=chain.model_sha256,
        metric=metric,
        criterion=scores.criterion,
        segments=segmentation.segments,
        kept=tuple(decision.index for decision in decisions if decision.kept),
        dropped=tuple(unit.index for unit in dropped),
        decisions=tuple(decisions),
        edits=tuple(unit.edit for unit in dropped if unit.edit is not None),
    )


def _rank(unit: Unit, scores: Scores) -> tuple[bool, float, int]:
    """Order in which units are kept: those that would lose an axis, then by score, then the earlier."""
    return (not unit.collapses, -scores.values[unit.index], unit.index)


def _reason(unit: Unit, place: int, count: int, size: int) -> str:
    if not unit.droppable:
        return f"must stay: {unit.reason}"
    rank = f"ranks {place} of {size} in its segment, which keeps {count}"
    if unit.collapses and place <= count:
        return f"kept first, since its shortcut would lose an axis of the signal; {rank}"
    return rank if place <= count else f"{rank}; {unit.reason}"


def _found(unit: Unit, stays: bool, count: int, size: int) -> str:
    found = f"{'in' if stays else 'not in'} the best set of {count} of {size} in its segment"
    return found if stays else f"{found}; {unit.reason}"
