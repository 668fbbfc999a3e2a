import json

import h5py
import numpy as np
import pytest
from synthetic import refused

from edgeprune import datasets
from edgeprune.datasets.frames_hdf5 import provenance, writing
from edgeprune.errors import ConfigError, DataError
from edgeprune.records.frames import FrameTable

IQ = np.random.default_rng(0).normal(size=(6, 2, 8)).astype(np.float32)
ARRAYS = {
    "iq": IQ,
    "labels": np.array([0, 1, 0, 1, 0, 1]),
    "classes": np.array([b"QPSK", b"BPSK"], dtype=object),
    "snrs": np.array([0, 0, 2, 2, 4, 4]),
    "split": np.array([0, 1, 2, 0, 1, 2]),
    "recordings": np.array([0, 0, 0, 1, 1, 1]),
    "starts": np.array([0, 8, 16, 0, 8, 16]),
}


def by_h5py(path, attributes=(("format", "edgeprune-frames/1"),), **changes):
    with h5py.File(path, "w") as file:
        for name, values in {**ARRAYS, **changes}.items():
            if values is not None:
                file.create_dataset(name, data=values)
        file.attrs.update(dict(attributes))
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "frames.h5"


def test_what_h5py_wrote(path):
    frames = datasets.read(by_h5py(path))
    assert [frames.classes[label] for label in frames.labels] == ["QPSK", "BPSK"] * 3
    for name in ("snrs", "split", "recordings", "starts"):
        assert getattr(frames, name).tolist() == ARRAYS[name].tolist()
    np.testing.assert_array_equal(frames.iq, IQ)


def test_what_is_written_is_read_by_h5py(path):
    table = FrameTable(ARRAYS["labels"], ARRAYS["snrs"], ("BPSK", "QPSK"), None, "x", (2, 8))
    with writing(path, table, {"source": "x.pkl"}) as append:
        append(IQ[:4])
        append(IQ[4:])
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["iq"][:], IQ)
        assert file["iq"].chunks is None
        assert [name.decode() for name in file["classes"][:]] == ["BPSK", "QPSK"]
        assert file["labels"][:].tolist() == ARRAYS["labels"].tolist()
        assert sorted(file) == ["classes", "iq", "labels", "snrs"]
        assert json.loads(file.attrs["provenance"]) == {"source": "x.pkl"}
    assert provenance(path) == {"source": "x.pkl"}


def test_the_same_frames_give_the_same_bytes(tmp_path):
    table = FrameTable(ARRAYS["labels"], None, ("BPSK", "QPSK"), None, "x", (2, 8))
    for name in "ab":
        with writing(tmp_path / f"{name}.h5", table, {}) as append:
            append(IQ)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_file_that_was_not_finished_is_not_there(path):
    table = FrameTable(ARRAYS["labels"], None, ("BPSK", "QPSK"), None, "x", (2, 8))
    with pytest.raises(KeyboardInterrupt), writing(path, table, {}):
        raise KeyboardInterrupt
    assert list(path.parent.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    table = FrameTable(ARRAYS["labels"], None, ("BPSK", "QPSK"), None, "x", (2, 8))
    with pytest.raises(ConfigError, match="cannot write"), writing(tmp_path / "file" / "a.h5", table, {}):
        pass


@pytest.mark.parametrize("missing", ["iq", "labels", "classes"])
def test_a_missing_array(path, missing):
    assert f"lacks {missing}; it holds " in refused(by_h5py(path, **{missing: None}))


def test_labels_beyond_the_classes(path):
    message = refused(by_h5py(path, labels=np.array([0, 1, 0, 1, 2, 1])))
    assert "labels 0..2 for 2 classes, the first at frame 4" in message


def test_another_version(path):
    assert "edgeprune-frames/9, not edgeprune-frames/1" in refused(by_h5py(path, {"format": "edgeprune-frames/9"}))


@pytest.mark.parametrize("name", ["labels", "snrs", "starts"])
def test_arrays_of_another_length(path, name):
    assert "(5,)" in refused(by_h5py(path, **{name: ARRAYS[name][:5]}))


def test_frames_of_another_shape(path):
    assert "(6, 8, 2)" in refused(by_h5py(path, iq=IQ.transpose(0, 2, 1)))


def test_classes_that_are_no_text(path):
    assert "classes are not text" in refused(by_h5py(path, classes=np.arange(2)))


def test_a_class_of_nan(path):
    iq = IQ.copy()
    iq[::2] = np.nan
    assert "3 of 6 frames hold NaN or infinity, the first is frame 0" in refused(by_h5py(path, iq=iq))


def test_its_own_split_may_not_share_a_frame(path):
    iq = IQ.copy()
    iq[4] = iq[0]
    frames = datasets.read(by_h5py(path, iq=iq))
    from edgeprune.frames.labelled import split_frames

    with pytest.raises(DataError, match=r"1 frames are in two splits, .* frame 0 \(train\) and frame 4 \(validation\)"):
        split_frames(frames, seed=0)
