"""Files in the layout of GOLD_XYZ_OSC.0001_1024.hdf5, written with h5py."""

import h5py
import numpy as np
import pytest
from synthetic import refused

from edgeprune import datasets
from edgeprune.records.frames import Reading

# radioML/dataset issue 25, as the Xilinx challenge has it
RIGHT_ORDER = [
    *("OOK", "4ASK", "8ASK", "BPSK", "QPSK", "8PSK", "16PSK", "32PSK", "16APSK", "32APSK", "64APSK", "128APSK"),
    *("16QAM", "32QAM", "64QAM", "128QAM", "256QAM"),
    *("AM-SSB-WC", "AM-SSB-SC", "AM-DSB-WC", "AM-DSB-SC", "FM", "GMSK", "OQPSK"),
]
SNRS = (-20, 30)
PER_CELL = 2
LENGTH = 16


def gold(path, **changes):
    """Strictly ordered by class, SNR and frame, as the real file is."""
    count = len(RIGHT_ORDER) * len(SNRS) * PER_CELL
    x = np.random.default_rng(0).normal(size=(count, LENGTH, 2)).astype(np.float32)
    label = np.repeat(np.arange(24), len(SNRS) * PER_CELL)
    arrays = {
        "X": x,
        "Y": np.eye(24, dtype=np.int64)[label],
        "Z": np.tile(np.repeat(SNRS, PER_CELL), 24).astype(np.int64)[:, None],
        **changes,
    }
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            if values is not None:
                file[name] = values
    return arrays


@pytest.fixture
def path(tmp_path):
    return tmp_path / "GOLD_XYZ_OSC.0001_1024.hdf5"


def test_classes_are_named_in_the_right_order(path):
    written = gold(path)
    frames = datasets.read(path)
    names = [frames.classes[label] for label in frames.labels]
    assert names == [RIGHT_ORDER[row.argmax()] for row in written["Y"]]
    assert frames.classes == tuple(sorted(RIGHT_ORDER))
    assert frames.snrs.tolist() == written["Z"][:, 0].tolist()
    np.testing.assert_array_equal(frames.iq[:, 0], written["X"][:, :, 0])
    np.testing.assert_array_equal(frames.iq[:, 1], written["X"][:, :, 1])


def test_a_range_is_read_alone(path):
    written = gold(path)
    with datasets.opened(path, Reading()) as source:
        assert source.table.shape == (2, LENGTH)
        np.testing.assert_array_equal(source.read(7, 12), written["X"][7:12].transpose(0, 2, 1))


@pytest.mark.parametrize("missing", ["X", "Y", "Z"])
def test_a_missing_array_is_named(path, missing):
    gold(path, **{missing: None})
    assert f"lacks {missing}; it holds " in refused(path)


@pytest.mark.parametrize(
    "row", [np.zeros(24, int), np.eye(24, dtype=int)[3] * 2, np.eye(24, dtype=int)[3] + np.eye(24, dtype=int)[4]]
)
def test_a_row_that_is_not_one_hot_is_named(path, row):
    y = gold(path)["Y"].copy()
    y[17] = row
    gold(path, Y=y)
    assert "row 17 of Y is not one-hot" in refused(path)


def test_labels_beyond_the_class_list(path):
    gold(path, Y=np.eye(25, dtype=int)[np.zeros(96, int)])
    assert "24 classes are known" in refused(path)


def test_arrays_of_different_length(path):
    gold(path, Z=np.zeros((95, 1), int))
    assert "differ in length: X (96, 16, 2), Y (96, 24), Z (95, 1)" in refused(path)


def test_nan_is_named_by_its_frame(path):
    x = gold(path)["X"].copy()
    x[40, 3, 1] = np.nan
    gold(path, X=x)
    assert "the first is frame 40" in refused(path)


def test_a_class_of_zeros_is_named(path):
    x = gold(path)["X"].copy()
    x[4:8] = 0
    gold(path, X=x)
    assert "all 4 frames of 4ASK are zero, the first is frame 4" in refused(path)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_one_line(path, share):
    gold(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "is truncated or not an HDF5 file" in refused(path)


def test_a_file_of_other_arrays_is_named_with_the_formats(path):
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros(3)
    assert "no .hdf5 file of a format that is known" in refused(path)
