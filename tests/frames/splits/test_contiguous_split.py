"""Cells cut where they lie, by hand; runs of neighbours; groups that a file names."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.errors import DataError
from edgeprune.frames.splits import groups_of, split_table
from edgeprune.records.frames import FrameTable


def table_of_cells(counts, groups=None, shuffle=None):
    """Cells of one SNR, one class each; with a seed, the frames of different cells lie mixed in the file."""
    labels = np.repeat(np.arange(len(counts)), counts)
    if shuffle is not None:
        labels = np.random.default_rng(shuffle).permutation(labels)
    names = tuple(f"class {number}" for number in range(len(counts)))
    return FrameTable(labels, None, names, None, "file.pkl", (2, 4), groups=groups)


class TestContiguous:
    @pytest.mark.parametrize("seed", range(8))
    def test_a_cell_of_a_hundred_by_hand(self, seed):
        parts = split_table(table_of_cells([100]), seed, "contiguous")
        one = {"test": range(20), "train": range(25, 87), "validation": range(92, 100)}
        other = {"validation": range(8), "train": range(13, 75), "test": range(80, 100)}
        assert {name: part.tolist() for name, part in parts.items()} in [
            {name: list(places) for name, places in side.items()} for side in (one, other)
        ]

    def test_either_end_is_taken_and_the_seed_says_which(self):
        table = table_of_cells([100] * 12)
        ends = [(split_table(table, seed, "contiguous")["test"] % 100 < 50)[::20].tolist() for seed in (0, 0, 1)]
        assert ends[0] == ends[1] != ends[2]
        assert len(set(ends[0])) == 2

    @settings(deadline=None, max_examples=60)
    @given(counts=st.lists(st.integers(3, 300), min_size=1, max_size=4), seed=st.integers(0, 2**20))
    def test_between_train_and_the_others_lies_a_twentieth_of_the_cell(self, counts, seed):
        table = table_of_cells(counts, shuffle=seed)
        parts = split_table(table, seed, "contiguous")
        for label, count in enumerate(counts):
            place = {int(frame): at for at, frame in enumerate(np.flatnonzero(table.labels == label))}
            at = {name: [place[int(frame)] for frame in part if int(frame) in place] for name, part in parts.items()}
            assert all(at.values())
            assert all(places == list(range(places[0], places[-1] + 1)) for places in at.values())
            distance = min(abs(one - other) for one in at["train"] for other in at["test"] + at["validation"])
            if count >= 20:
                assert distance == (count + 10) // 20 + 1

    def test_frames_of_recordings_are_left_to_spans(self):
        places = np.arange(100)
        table = FrameTable(np.zeros(100, int), None, ("a",), None, "x.h5", (2, 4), np.zeros(100, int), places)
        with pytest.raises(DataError, match=r"x\.h5 says where in its recordings.*Split it by 'spans'"):
            split_table(table, 0, "contiguous")

    def test_too_few_frames(self):
        with pytest.raises(DataError, match=r"holds 2 frames of class 1 at 0 dB; a split takes 3 or more"):
            split_table(table_of_cells([10, 2]), 0, "contiguous")


class TestGroups:
    def test_each_is_whole_in_one_part_and_parts_have_their_shares(self):
        groups = np.repeat(np.arange(100), 10)
        parts = split_table(table_of_cells([500, 500], groups), 3)
        of = {name: set(groups[part]) for name, part in parts.items()}
        assert {name: len(part) for name, part in parts.items()} == {"train": 720, "validation": 80, "test": 200}
        assert sum(map(len, of.values())) == len(set.union(*of.values())) == 100

    @pytest.mark.parametrize("seed", [0, 2016])
    def test_of_one_frame_each_they_are_the_stratified_split(self, seed):
        counts = [7, 100, 31]
        numbers = np.random.default_rng(seed).permutation(138) * 3
        alone = split_table(table_of_cells(counts, numbers), seed)
        stratified = split_table(table_of_cells(counts), seed)
        assert {name: part.tolist() for name, part in alone.items()} == {
            name: part.tolist() for name, part in stratified.items()
        }

    @settings(deadline=None, max_examples=60)
    @given(sizes=st.lists(st.integers(1, 40), min_size=3, max_size=30), seed=st.integers(0, 2**20))
    def test_of_any_sizes_none_is_cut_and_no_part_is_empty(self, sizes, seed):
        groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
        parts = split_table(table_of_cells([sum(sizes)], groups), seed)
        of = [set(groups[part]) for part in parts.values()]
        assert all(of)
        assert sum(map(len, of)) == len(set.union(*of)) == len(sizes)
        assert sum(map(len, parts.values())) == sum(sizes)

    def test_in_several_cells_they_are_whole_all_the_same(self):
        groups = np.tile(np.repeat(np.arange(10), 5), 2)  # ten transmitters, each of both classes
        parts = split_table(table_of_cells([50, 50], groups), 0)
        of = {name: set(groups[part]) for name, part in parts.items()}
        assert {name: len(numbers) for name, numbers in of.items()} == {"train": 7, "validation": 1, "test": 2}
        assert len(set.union(*of.values())) == 10

    def test_too_few_are_an_error_that_says_what_to_do(self):
        with pytest.raises(DataError, match=r"holds 2 groups of class 0 at 0 dB.*whole in one part.*stratified"):
            split_table(table_of_cells([20], np.repeat([4, 9], 10)), 0)
        with pytest.raises(DataError, match=r"does not say which frames belong together"):
            split_table(table_of_cells([20]), 0, "groups")


class TestGroupsOf:
    def test_of_a_plain_file_nobody_knows(self):
        assert groups_of(table_of_cells([20])) is None
        assert groups_of(table_of_cells([20]), "stratified") is None

    def test_the_file_says_so_before_anything_else(self):
        groups = np.arange(20) // 4
        assert groups_of(table_of_cells([20], groups), "contiguous").tolist() == groups.tolist()

    def test_a_contiguous_split_has_runs_of_neighbours_within_cells(self):
        table = table_of_cells([100, 40], shuffle=1)
        found = groups_of(table, "contiguous")
        for label, run in ((0, 5), (1, 2)):
            of_cell = found[table.labels == label]
            assert (np.diff(of_cell) >= 0).all()
            assert set(np.unique(of_cell, return_counts=True)[1]) == {run}
        assert len(np.unique(found)) == 40

    def test_recordings_are_groups_where_they_are_whole_and_runs_of_time_where_they_are_cut(self):
        recordings = np.repeat(np.arange(3), 40)
        starts = np.tile(np.arange(40)[::-1] * 4, 3)  # the last in time comes first
        table = FrameTable(np.zeros(120, int), None, ("a",), None, "x.h5", (2, 4), recordings, starts)
        assert groups_of(table).tolist() == recordings.tolist()
        of_spans = groups_of(table, "spans")
        assert len(np.unique(of_spans)) == 3 * 20
        assert of_spans[0] == of_spans[1] != of_spans[2]
        assert of_spans[39] == 0
