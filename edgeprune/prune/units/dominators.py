"""Cuts of a data flow at its dominators.

All of it passes through a node exactly when the node dominates the end of the flow (Cooper, Harvey & Kennedy 2001). A
part with one branch that is itself a long chain is cut within that branch (`opened`).
"""

from collections.abc import Callable, Hashable
from itertools import pairwise
from typing import TypeVar

import networkx as nx

T = TypeVar("T", bound=Hashable)


def cut(flow: nx.DiGraph, source: T, sink: T, passes: Callable[[T], bool] = lambda _: True) -> list[tuple[T, set[T]]]:
    """Cut a flow wherever all of it passes through one node.

    Args:
        flow: Graph with edges from inputs to their users.
        source: First node.
        sink: Last node; must depend on the source.
        passes: Whether to cut at such a node.

    Returns:
        The parts in order: the node that each ends in, and all its nodes.
    """
    between = flow.subgraph((nx.descendants(flow, source) & nx.ancestors(flow, sink)) | {source, sink}).copy()
    dominators = nx.immediate_dominators(between, source)
    joints = [sink]
    while joints[-1] != source:
        joints.append(dominators[joints[-1]])
    cuts = [joint for joint in reversed(joints) if joint in (source, sink) or passes(joint)]
    following = dict(pairwise(cuts))
    parts: dict[T, set[T]] = {end: {end} for end in following.values()}
    last = {node: node for node in cuts}  # the last cut that all data on the way to a node pass through
    for node in nx.topological_sort(between):
        if node not in last:
            last[node] = last[dominators[node]]
            parts[following[last[node]]].add(node)
    return list(parts.items())


def opened(
    flow: nx.DiGraph, begin: T, end: T, inside: set[T], weighty: Callable[[T], bool], passes: Callable[[T], bool]
) -> list[tuple[T, set[T]]] | None:
    """Cut a part of a flow within its only branch with weights; the rest goes with the end.

    Args:
        flow: Graph with edges from inputs to their users.
        begin: Node before the part.
        end: Node that the part ends in.
        inside: All its nodes.
        weighty: Whether a node has weights.
        passes: Whether to cut at a node.

    Returns:
        The parts in order, the last of them the end with what is beside the branch; None where no branch is the only
        one with weights, or the end has some.
    """
    part = flow.subgraph({begin, *inside})
    branches = {node: nx.ancestors(part, node) | {node} for node in part.predecessors(end)}
    heavy = [node for node, nodes in branches.items() if any(map(weighty, nodes - {begin}))]
    if len(branches) < 2 or len(heavy) != 1 or weighty(end):
        return None
    body = branches[heavy[0]]
    beside = inside - body
    if any(weighty(node) for node in beside):
        return None
    parts = cut(part.subgraph(body | {begin}), begin, heavy[0], passes)
    return [*parts, (end, beside | {end})]
