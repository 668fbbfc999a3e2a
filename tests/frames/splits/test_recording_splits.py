import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.errors import DataError
from edgeprune.frames.splits import split_table
from edgeprune.records.frames import FrameTable

LENGTH = 10


def cut(recordings, hop, classes=2):
    """Frames of recordings (label, samples), cut every `hop` samples."""
    labels, numbers, starts = [], [], []
    for number, (label, samples) in enumerate(recordings):
        for start in range(0, samples - LENGTH + 1, hop):
            labels.append(label)
            numbers.append(number)
            starts.append(start)
    names = tuple(f"class {number}" for number in range(classes))
    return FrameTable(np.array(labels), None, names, None, "file.h5", (2, LENGTH), np.array(numbers), np.array(starts))


def samples_of(table, part):
    return {(table.recordings[frame], table.starts[frame] + i) for frame in part for i in range(LENGTH)}


def test_with_enough_recordings_none_is_in_two_parts():
    table = cut([(label, 200) for label in (0, 1) for _ in range(10)], hop=3)
    parts = split_table(table, seed=4)
    of = {name: set(table.recordings[part]) for name, part in parts.items()}
    assert {name: len(numbers) for name, numbers in of.items()} == {"train": 14, "validation": 2, "test": 4}
    assert len(set.union(*of.values())) == 20
    for part in parts.values():
        assert set(table.labels[part]) == {0, 1}


def test_another_seed_takes_other_recordings():
    table = cut([(label, 200) for label in (0, 1) for _ in range(10)], hop=3)
    chosen = {tuple(np.unique(table.recordings[split_table(table, seed)["test"]])) for seed in range(5)}
    assert len(chosen) > 1


@settings(deadline=None, max_examples=40)
@given(
    hop=st.integers(1, LENGTH + 3),
    sizes=st.lists(st.integers(150, 400), min_size=2, max_size=2),
    seed=st.integers(0, 2**20),
)
def test_spans_share_no_sample(hop, sizes, seed):
    table = cut(list(enumerate(sizes)), hop)
    parts = split_table(table, seed)
    used = [samples_of(table, part) for part in parts.values()]
    assert sum(map(len, used)) == len(set.union(*used))
    for part in parts.values():
        assert set(table.labels[part]) == {0, 1}
    lost = len(table) - sum(map(len, parts.values()))
    assert lost <= 2 * 2 * (LENGTH // hop + 1)  # at two borders in each recording


def test_frames_side_by_side_lose_none():
    table = cut([(0, 300), (1, 300)], hop=LENGTH)
    assert sum(len(part) for part in split_table(table, 0).values()) == len(table)


def test_parts_have_their_shares():
    table = cut([(0, 10_000)], hop=LENGTH, classes=1)
    assert [len(part) for part in split_table(table, 0).values()] == [720, 80, 200]


def test_recordings_too_short_are_an_error():
    with pytest.raises(DataError, match=r"file.h5: recordings are too short for a \w+ split"):
        split_table(cut([(0, 14), (1, 14)], hop=1), 0)


def test_too_few_recordings_when_asked_for_by_name():
    with pytest.raises(DataError, match=r"too few recordings of class 0 at 0 dB for a train split.*Split by 'spans'"):
        split_table(cut([(0, 100), (0, 100), *[(1, 100)] * 3], hop=5), 0, "recordings")


@pytest.mark.parametrize("method", ["recordings", "spans"])
def test_a_file_that_does_not_tell_recordings(method):
    table = cut([(0, 100)], hop=5)
    untold = FrameTable(table.labels, None, table.classes, None, "file.npz", (2, LENGTH))
    with pytest.raises(DataError, match=r"file\.npz does not say which recordings"):
        split_table(untold, 0, method)
