import numpy as np
import pytest
from scipy.stats import entropy as of_scipy

from edgeprune.errors import ConfigError, DataError
from edgeprune.records.frames import FrameTable
from edgeprune.tasks.data import choose as choice

# 3 classes at 4 SNRs, 30 frames of each; train is two thirds
TABLE = FrameTable(
    np.repeat([0, 1, 2], 120), np.tile(np.repeat([0, 10, 12, 20], 30), 3), ("A", "B", "C"), None, "set.h5", (2, 8)
)
TRAIN = np.flatnonzero(np.arange(360) % 3 != 0)


def counts(chosen):
    return np.array(
        [[((TABLE.labels[chosen] == c) & (TABLE.snrs[chosen] == s)).sum() for s in (0, 10, 12, 20)] for c in range(3)]
    )


@pytest.mark.parametrize("size", [3, 12, 13, 60, 240])
def test_stratified_is_even_over_classes_and_in_each_over_snrs(size):
    chosen = choice.stratified(TABLE, TRAIN, size, seed=0)
    found = counts(chosen)
    assert len(set(chosen)) == len(chosen) == size
    assert set(chosen) <= set(TRAIN)
    assert np.ptp(found.sum(axis=1)) <= 1
    assert (np.ptp(found, axis=1) <= 1).all()


def test_stratified_takes_more_elsewhere_when_a_cell_is_short():
    rare = np.concatenate([TRAIN[TABLE.labels[TRAIN] != 1], TRAIN[TABLE.labels[TRAIN] == 1][:5]])
    assert counts(choice.stratified(TABLE, rare, 35, seed=0)).sum(axis=1).tolist() == [15, 5, 15]


def test_random_is_of_the_allowed_and_of_the_seed():
    first, again, other = (choice.at_random(TRAIN, 50, seed) for seed in (1, 1, 2))
    assert set(first) <= set(TRAIN)
    assert len(set(first)) == 50
    assert first.tolist() == again.tolist() != other.tolist()


def test_clear_frames_have_ten_db_or_more():
    assert set(TABLE.snrs[choice.clear(TABLE, TRAIN, "set.h5")]) == {10, 12, 20}


def test_without_clear_frames():
    noisy = FrameTable(TABLE.labels, np.full(360, 8), TABLE.classes, None, "set.h5", (2, 8))
    with pytest.raises(DataError, match="no frames at 10 dB or more, the highest SNR is 8 dB"):
        choice.clear(noisy, TRAIN, "set.h5")
    untold = FrameTable(TABLE.labels, None, TABLE.classes, None, "set.h5", (2, 8))
    with pytest.raises(DataError, match="does not say SNRs"):
        choice.clear(untold, TRAIN, "set.h5")


def test_the_most_uncertain_of_each_class_are_chosen():
    entropy = np.random.default_rng(0).uniform(size=len(TRAIN))
    chosen = choice.most_uncertain(TABLE, TRAIN, entropy, 7)
    of = dict(zip(TRAIN.tolist(), entropy, strict=True))
    for label, size in ((0, 3), (1, 2), (2, 2)):
        mine = [of[frame] for frame in chosen if TABLE.labels[frame] == label]
        best = sorted((of[frame] for frame in TRAIN if TABLE.labels[frame] == label), reverse=True)
        assert sorted(mine, reverse=True) == best[:size]


def test_entropy_is_that_of_the_softmax():
    logits = np.array([[0, 0, 0], [100, 0, 0], [1, 2, 3], [-1000, 0, 1000]], np.float32)
    p = np.exp(logits.astype(float) - logits.max(axis=1, keepdims=True))
    expected = of_scipy(p / p.sum(axis=1, keepdims=True), axis=1)
    np.testing.assert_allclose(choice.entropy_of(logits), expected, atol=1e-12)
    assert choice.entropy_of(logits)[0] == pytest.approx(np.log(3))


def test_a_choice_without_a_class_is_refused():
    chosen = TRAIN[TABLE.labels[TRAIN] != 1][:20]
    with pytest.raises(DataError, match=r"set.h5: the 20 frames chosen by 'random' hold none of B"):
        choice.refuse_gaps(TABLE, chosen, 20, "random")


def test_a_choice_that_is_too_small_is_refused():
    with pytest.raises(ConfigError, match=r"set.h5 has 240 train frames for 'random', 500 are requested"):
        choice.refuse_gaps(TABLE, TRAIN, 500, "random")
