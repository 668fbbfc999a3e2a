import numpy as np
import pytest

from edgeprune.errors import DataError
from edgeprune.frames.duplicates import fingerprints, overlapping, refuse_shared, repeated

IQ = np.random.default_rng(0).normal(size=(500, 2, 16)).astype(np.float32)


def test_a_frame_has_the_fingerprint_of_its_copy_alone():
    iq = np.concatenate([IQ, IQ[[7, 7, 300]]])
    prints = fingerprints(iq)
    assert len(set(prints.tolist())) == 500
    assert prints[[500, 501, 502]].tolist() == prints[[7, 7, 300]].tolist()


@pytest.mark.parametrize("place", [(0, 0), (1, 15)])
def test_the_smallest_change_changes_it(place):
    changed = IQ.copy()
    changed[(slice(None), *place)] = np.nextafter(changed[(slice(None), *place)], np.float32(9))
    assert (fingerprints(changed) != fingerprints(IQ)).all()


def test_moved_samples_change_it():
    assert (fingerprints(IQ[:, ::-1]) != fingerprints(IQ)).all()


def test_it_does_not_depend_on_the_neighbours():
    assert fingerprints(IQ)[100:200].tolist() == fingerprints(IQ[100:200]).tolist()


def test_repeated_points_at_the_first():
    assert repeated(np.array([5, 3, 5, 9, 3], np.uint64)).tolist() == [0, 1, 0, 3, 1]


@pytest.mark.parametrize("hop", [4, 8])
def test_overlap_is_found_whatever_the_scale(hop):
    signal = np.random.default_rng(1).normal(size=(2, 400))
    frames = np.stack([signal[:, start : start + 16] * (start + 1) for start in range(0, 380, hop)]).astype(np.float32)
    assert overlapping(frames, hop).all()
    assert not overlapping(frames[::-1].copy(), hop).any()
    assert not overlapping(IQ, hop).any()


def test_what_repeats_itself_is_no_overlap():
    assert not overlapping(np.ones((5, 2, 16), np.float32), 8).any()
    assert not overlapping(np.zeros((5, 2, 16), np.float32), 8).any()


def test_a_frame_in_two_parts_is_named():
    iq = IQ.copy()
    iq[42] = iq[9]
    parts = {"train": np.arange(30), "test": np.arange(30, 60)}
    with pytest.raises(
        DataError, match=r"f.npz: 1 frames are in two splits, .* frame 9 \(train\) and frame 42 \(test\)"
    ):
        refuse_shared(iq, parts, "f.npz")


def test_copies_within_a_part_or_outside_all_are_let_be():
    iq = IQ.copy()
    iq[10], iq[70] = iq[9], iq[8]
    parts = {"train": np.arange(30), "test": np.arange(30, 60)}
    refuse_shared(iq, parts, "f.npz")
    assert fingerprints(iq)[10] == fingerprints(iq)[9]
