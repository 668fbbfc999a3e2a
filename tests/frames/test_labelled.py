import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.errors import DataError
from edgeprune.frames.labelled import checked, fit_to, split_frames, take
from edgeprune.records.pruning import InputSpec

SHARES = {"train": 0.72, "validation": 0.08, "test": 0.20}


def arrays(count=6, length=8):
    """Arrays that `checked` takes, to be spoiled one by one."""
    return {
        "iq": np.random.default_rng(0).normal(size=(count, 2, length)).astype(np.float32),
        "names": ["QPSK", "BPSK"],
        "label_of": np.arange(count) % 2,
        "snrs": np.full(count, 10),
        "split": np.arange(count) % 3,
        "source": "file.npz",
        "sha256": "0" * 64,
    }


def refused(**changes):
    with pytest.raises(DataError) as caught:
        checked(**{**arrays(), **changes})
    assert "\n" not in str(caught.value)
    assert "file.npz" in caught.value.message
    return str(caught.value)


def with_sample(value, dtype=np.float32):
    iq = arrays()["iq"].astype(dtype)
    iq[4, 1, 3] = value
    iq[5, 0, 0] = value
    return iq


class TestChecked:
    def test_classes_are_sorted_and_labels_follow(self):
        frames = checked(**arrays())
        assert frames.classes == ("BPSK", "QPSK")
        assert [frames.classes[label] for label in frames.labels] == ["QPSK", "BPSK"] * 3

    def test_types_are_those_of_the_record(self):
        changes = {"iq": arrays()["iq"].astype(">f8"), "snrs": np.full(6, 10.0), "split": np.zeros(6, np.float32)}
        frames = checked(**{**arrays(), **changes})
        assert (frames.iq.dtype, frames.labels.dtype) == (np.float32, np.int64)
        assert (frames.snrs.dtype, frames.split.dtype) == (np.int64, np.int8)
        assert frames.snrs.tolist() == [10] * 6
        np.testing.assert_array_equal(frames.iq, arrays()["iq"])

    def test_whole_numbers_of_samples_are_frames_too(self):
        iq = np.arange(96, dtype=np.int16).reshape(6, 2, 8)
        np.testing.assert_array_equal(checked(**{**arrays(), "iq": iq}).iq, iq.astype(np.float32))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_samples_that_are_no_numbers_are_counted_and_the_first_is_named(self, value):
        message = refused(iq=with_sample(value))
        assert "2 of 6 frames hold NaN or infinity, the first is frame 4" in message

    def test_samples_beyond_single_precision_are_infinite(self):
        assert "2 of 6 frames" in refused(iq=with_sample(1e300, np.float64))

    @pytest.mark.parametrize("shape", [(6, 8), (6, 3, 8), (6, 8, 2), (6, 2, 0), (6, 2, 4, 2), ()])
    def test_another_shape_is_named_with_the_one_allowed(self, shape):
        message = refused(iq=np.zeros(shape, np.float32))
        assert f"shape {shape}" in message
        assert "(N, 2, L)" in message

    @pytest.mark.parametrize("dtype", [object, bool, "U1", "datetime64[s]"])
    def test_another_type_is_named(self, dtype):
        message = refused(iq=np.zeros((6, 2, 8), dtype))
        assert str(np.dtype(dtype)) in message

    def test_complex_frames_are_told_how_to_be_stored(self):
        assert "I and Q rows" in refused(iq=np.zeros((6, 2, 8), np.complex64))

    def test_no_frames(self):
        empty = np.zeros(0, np.int64)
        assert "no frames" in refused(iq=np.zeros((0, 2, 8)), label_of=empty, snrs=None, split=None)

    @pytest.mark.parametrize("which", ["label_of", "snrs", "split"])
    def test_arrays_of_another_length(self, which):
        message = refused(**{which: np.zeros(5, np.int64)})
        assert "6 frames" in message
        assert "(5,)" in message

    @pytest.mark.parametrize("which", ["label_of", "snrs", "split"])
    @pytest.mark.parametrize(
        "values", [np.full(6, 0.5), np.full(6, np.nan), np.full(6, "x"), np.full(6, None), np.zeros(6, bool)]
    )
    def test_numbers_that_are_not_whole(self, which, values):
        assert "not whole numbers" in refused(**{which: values})

    @pytest.mark.parametrize("label", [-1, 2])
    def test_a_label_without_a_class(self, label):
        message = refused(label_of=np.array([0, 1, 0, 1, 0, label]))
        assert f"{min(label, 0)}..{max(label, 1)}" in message
        assert "2 classes" in message

    @pytest.mark.parametrize("value", [-1, 3])
    def test_a_split_that_does_not_exist(self, value):
        message = refused(split=np.array([0, 1, 2, 0, 1, value]))
        assert str(value) in message
        assert "0 to 2" in message

    def test_a_class_named_twice(self):
        assert "twice" in refused(names=["QPSK", "QPSK"])


class TestSplit:
    def test_of_every_cell_exactly_72_8_and_20_percent(self):
        frames = synthetic.frames_of(synthetic.cells(per_cell=100, length=2))
        parts = split_frames(frames, seed=1)
        for name, share in SHARES.items():
            for label in range(len(frames.classes)):
                for snr in synthetic.SNRS:
                    of_cell = (frames.labels[parts[name]] == label) & (frames.snrs[parts[name]] == snr)
                    assert of_cell.sum() == round(share * 100), (name, label, snr)

    @settings(deadline=None, max_examples=60)
    @given(counts=st.lists(st.integers(3, 60), min_size=1, max_size=5), seed=st.integers(0, 2**40))
    def test_is_complete_disjoint_and_in_every_cell_near_the_shares(self, counts, seed):
        table = {("A", snr): np.ones((count, 2, 1), np.float32) for snr, count in enumerate(counts)}
        frames = synthetic.frames_of(table)
        parts = split_frames(frames, seed)
        everything = np.concatenate(list(parts.values()))
        assert sorted(everything) == list(range(len(frames)))
        for snr, count in enumerate(counts):
            sizes = {name: int((frames.snrs[part] == snr).sum()) for name, part in parts.items()}
            assert min(sizes.values()) >= 1
            assert all(abs(sizes[name] - share * count) <= 1.5 for name, share in SHARES.items()), sizes

    def test_indices_are_sorted(self, frames):
        for part in split_frames(frames, seed=0).values():
            assert part.tolist() == sorted(part)

    def test_is_the_same_again_and_another_with_another_seed(self, frames):
        first, again, other = (split_frames(frames, seed) for seed in (5, 5, 6))
        assert all(np.array_equal(first[name], again[name]) for name in SHARES)
        assert not np.array_equal(first["test"], other["test"])

    def test_a_cell_is_split_alike_whatever_other_cells_the_file_holds(self):
        table = synthetic.cells()
        few = {key: iq for key, iq in table.items() if key in (("CW", 10), ("QPSK", -4))}
        more = {("AM", 30): table["CW", 10] + 1, **dict(reversed(table.items()))}

        def test_frames(cells):
            frames = synthetic.frames_of(cells)
            part = take(frames, split_frames(frames, seed=9)["test"])
            return {
                key: {
                    iq.tobytes() for iq in part.iq[(part.labels == part.classes.index(key[0])) & (part.snrs == key[1])]
                }
                for key in few
            }

        assert test_frames(table) == test_frames(few) == test_frames(more)
        assert all(len(cell) == 5 for cell in test_frames(few).values())

    def test_cells_of_one_size_are_not_split_in_one_pattern(self, frames):
        part = split_frames(frames, seed=0)["test"]
        patterns = {tuple(index % 25 for index in part if index // 25 == cell) for cell in range(6)}
        assert len(patterns) == 6

    def test_frames_without_snr_are_split_by_class(self):
        frames = checked(**{**arrays(count=50), "snrs": None, "split": None})
        parts = split_frames(frames, seed=0)
        assert [np.bincount(frames.labels[parts[name]]).tolist() for name in SHARES] == [[18, 18], [2, 2], [5, 5]]

    def test_a_split_of_its_own_is_respected(self):
        frames = checked(**arrays())
        for seed in (0, 1):
            parts = split_frames(frames, seed)
            assert {name: part.tolist() for name, part in parts.items()} == {
                "train": [0, 3],
                "validation": [1, 4],
                "test": [2, 5],
            }

    def test_a_cell_too_small_for_three_parts_is_named(self):
        table = {("AM", 10): np.ones((9, 2, 4), np.float32), ("FM", -6): np.ones((2, 2, 4), np.float32)}
        with pytest.raises(DataError, match="holds 2 frames of FM at -6 dB; a split takes 3 or more"):
            split_frames(synthetic.frames_of(table), seed=0)


class TestTake:
    def test_takes_everything_along_in_the_order_asked_for(self):
        frames = checked(**arrays())
        some = take(frames, np.array([5, 0]))
        np.testing.assert_array_equal(some.iq, frames.iq[[5, 0]])
        assert some.labels.tolist() == [frames.labels[5], frames.labels[0]]
        assert some.split.tolist() == [2, 0]
        assert len(some) == 2
        assert (some.classes, some.source, some.sha256) == (frames.classes, frames.source, frames.sha256)


class TestFit:
    def test_labels_are_counted_in_the_networks_classes(self):
        frames = checked(**arrays())
        fitted = fit_to(frames, ("AM", "QPSK", "BPSK"), InputSpec(2, 8))
        before = [frames.classes[label] for label in frames.labels]
        assert [fitted.classes[label] for label in fitted.labels] == before
        assert fitted.classes == ("AM", "QPSK", "BPSK")

    def test_another_length_is_a_data_error_with_both(self):
        with pytest.raises(DataError, match="frames of 2 x 8 samples, the network takes 2 x 128"):
            fit_to(checked(**arrays()), ("BPSK", "QPSK"), InputSpec(2, 128))

    def test_an_unknown_class_is_named_with_those_known(self):
        with pytest.raises(DataError, match=r"does not know: QPSK\. It knows AM, BPSK") as caught:
            fit_to(checked(**arrays()), ("AM", "BPSK"), InputSpec(2, 8))
        assert "\n" not in str(caught.value)
