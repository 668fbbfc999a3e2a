"""Where a data flow can be cut.

All of it passes through a node exactly when the node dominates the end of the flow (Cooper, Harvey & Kennedy 2001).
"""

from collections.abc import Callable, Hashable
from itertools import pairwise
from typing import TypeVar

import networkx as nx

T = TypeVar("T", bound=Hashable)


def cut(flow: nx.DiGraph, source: T, sink: T, passes: Callable[[T], bool] = lambda _: True) -> list[tuple[T, set[T]]]:
    """Cut a flow wherever all of it passes through one node.

    Args:
        flow: Edges from what is used to what uses it.
        source: Where it begins.
        sink: Where it ends; must depend on the source.
        passes: Whether to cut at such a node.

    Returns:
        The parts in order: the node each ends in, and all its nodes.
    """
    between = flow.subgraph((nx.descendants(flow, source) & nx.ancestors(flow, sink)) | {source, sink})
    dominators = nx.immediate_dominators(between, source)
    joints = [sink]
    while joints[-1] != source:
        joints.append(dominators[joints[-1]])
    cuts = [joint for joint in reversed(joints) if joint in (source, sink) or passes(joint)]
    return [
        (end, (nx.descendants(between, begin) & nx.ancestors(between, end)) | {end}) for begin, end in pairwise(cuts)
    ]
