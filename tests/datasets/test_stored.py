import gc

import h5py
import numpy as np
import psutil
import pytest

from edgeprune import datasets
from edgeprune.datasets import StoredSamples, _stored
from edgeprune.errors import DataError
from edgeprune.frames.labelled import take

COUNT, LENGTH = 400, 8
IQ = np.random.default_rng(0).standard_normal((COUNT, 2, LENGTH)).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    """A file of frames as another program would write it."""
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file["iq"], file["labels"] = IQ, np.arange(COUNT) % 4
        file.create_dataset("classes", data=["A", "B", "C", "D"], dtype=h5py.string_dtype())
    return tmp_path / "frames.h5"


def kept(path):
    return datasets.read_or_keep(path, None, lambda _table: True)


def open_files():
    return [file.path for file in psutil.Process().open_files()]


def test_what_is_told_besides_the_samples_is_as_in_memory(path):
    stored, whole = kept(path), datasets.read(path)
    assert isinstance(stored.iq, StoredSamples)
    assert stored.iq.shape == whole.iq.shape
    np.testing.assert_array_equal(stored.labels, whole.labels)
    assert (stored.classes, stored.sha256, len(stored)) == (whole.classes, whole.sha256, COUNT)


def test_frames_that_fit_are_an_array(path):
    frames = datasets.read_or_keep(path, None, lambda table: len(table) > COUNT)
    assert type(frames.iq) is np.ndarray
    np.testing.assert_array_equal(frames.iq, IQ)


@pytest.mark.parametrize(("near", "most"), [(1 << 16, 1 << 24), (64, 1 << 24), (1 << 16, 256), (1, 64)])
@pytest.mark.parametrize("seed", range(3))
def test_any_frames_in_any_order_are_those_of_the_array(path, monkeypatch, near, most, seed):
    monkeypatch.setattr(_stored, "_NEAR_BYTES", near)
    monkeypatch.setattr(_stored, "_MOST_BYTES", most)
    rows = np.random.default_rng(seed).integers(0, COUNT, 60)
    stored = kept(path)
    np.testing.assert_array_equal(stored.iq[rows][:], IQ[rows])
    np.testing.assert_array_equal(take(stored, rows).iq[5:40], IQ[rows][5:40])
    np.testing.assert_array_equal(stored.iq[np.sort(rows)][np.arange(9)][::2], IQ[np.sort(rows)][:9:2])
    assert stored.iq[:0].shape == (0, 2, LENGTH)


def test_numpy_reads_them_all(path):
    some = kept(path).iq[np.array([5, 3, 300])]
    np.testing.assert_array_equal(np.concatenate([some, IQ[:1]]), IQ[[5, 3, 300, 0]])
    assert np.asarray(some, dtype=np.float64).dtype == np.float64


def test_no_read_is_larger_than_the_limit_and_near_frames_are_read_at_once(path, monkeypatch):
    monkeypatch.setattr(_stored, "_MOST_BYTES", 100 * 8 * LENGTH)
    with datasets.opened(path) as source:
        reads = []

        class Watched:
            table = source.table

            def read(self, start, stop):
                reads.append(stop - start)
                return source.read(start, stop)

        np.testing.assert_array_equal(_stored.gathered(Watched(), np.arange(0, COUNT, 3)), IQ[::3])
    assert len(reads) == COUNT // 100
    assert max(reads) <= 100


def test_the_file_is_closed_when_the_last_samples_are_gone(path):
    frames = kept(path)
    some = take(frames, np.arange(10))
    del frames
    gc.collect()
    np.testing.assert_array_equal(some.iq[:], IQ[:10])
    assert str(path) in open_files()
    del some
    gc.collect()
    assert str(path) not in open_files()


def test_nan_is_found_when_it_is_read_and_its_place_told(path):
    with h5py.File(path, "a") as file:
        file["iq"][123, 0, 1] = np.nan
    frames = kept(path)
    np.testing.assert_array_equal(frames.iq[:100], IQ[:100])
    with pytest.raises(DataError, match="NaN or infinity, the first is frame 123"):
        frames.iq[100:200]


def test_text_that_is_read_from_its_beginning_only_is_refused_with_the_way_out(tmp_path):
    rows = "\n".join(",".join(f"{value}+1i" for value in range(4)) for _ in range(30))
    (tmp_path / "Train_data.csv").write_text(rows + "\n")
    (tmp_path / "Train_labels.csv").write_text("\n".join(["0"] * 30) + "\n")
    (tmp_path / "Train_snr.csv").write_text("\n".join(["10"] * 30) + "\n")
    with pytest.raises(DataError, match=r"from its beginning only.*edgeprune data convert"):
        kept(tmp_path / "Train_data.csv")


def test_a_format_that_is_read_whole_is_in_memory_whatever_is_asked(tmp_path):
    np.savez(tmp_path / "frames.npz", iq=IQ, labels=np.array(list("ABCD"))[np.arange(COUNT) % 4])
    assert type(kept(tmp_path / "frames.npz").iq) is np.ndarray
