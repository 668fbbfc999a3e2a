"""Cutting a flow, against removing each node in turn: all of the flow passes where nothing gets past."""

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.prune.units.dominators import cut


@st.composite
def flows(draw):
    """Graphs without cycles from 0 to the last node."""
    count = draw(st.integers(2, 12))
    pairs = [(a, b) for b in range(1, count) for a in range(b)]
    edges = draw(st.sets(st.sampled_from(pairs)))
    return nx.DiGraph([*edges, (0, count - 1)] if draw(st.booleans()) or not edges else list(edges)), count


@settings(deadline=None, derandomize=True)
@given(flows())
def test_is_at_the_nodes_without_which_nothing_arrives(drawn):
    flow, count = drawn
    source, sink = 0, count - 1
    if source not in flow or sink not in flow or not nx.has_path(flow, source, sink):
        return
    parts = cut(flow, source, sink)
    needed = {
        node
        for node in flow
        if node not in (source, sink) and not nx.has_path(flow.subgraph(set(flow) - {node}), source, sink)
    }
    assert {end for end, _ in parts} == needed | {sink}
    between = {node for node in flow if nx.has_path(flow, source, node) and nx.has_path(flow, node, sink)}
    assert sorted(node for _, inside in parts for node in inside) == sorted(between - {source})
    assert all(end in inside for end, inside in parts)


def test_a_node_that_is_no_place_to_cut_is_passed_over():
    flow = nx.DiGraph([(0, 1), (1, 2), (2, 3)])
    assert cut(flow, 0, 3) == [(1, {1}), (2, {2}), (3, {3})]
    assert cut(flow, 0, 3, lambda node: node != 2) == [(1, {1}), (3, {2, 3})]
