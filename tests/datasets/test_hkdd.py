"""MATLAB files with XTrainIQ (2, 512, 1, N), by scipy and, as version 7.3 is HDF5 with reversed axes, by h5py."""

import h5py
import numpy as np
import pytest
from scipy.io import savemat
from synthetic import refused

from edgeprune import datasets

CLASSES = ["BPSK", "QPSK", "8PSK", "OQPSK", "2FSK", "4FSK", "8FSK", "16QAM", "32QAM", "64QAM", "4PAM", "8PAM"]
LENGTH, PER_CELL = 8, 2
COUNT = 12 * 21 * PER_CELL
X = np.random.default_rng(0).normal(size=(2, LENGTH, 1, COUNT))  # as MATLAB sees it


def version_5(path, **variables):
    savemat(path, variables)


def version_7_3(path, **variables):
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in variables.items():
            file[name] = values.transpose()
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(512))


@pytest.mark.parametrize("save", [version_5, version_7_3])
@pytest.mark.parametrize("name", ["XTrainIQ", "XTestIQ"])
def test_labels_follow_from_the_order(tmp_path, save, name):
    path = tmp_path / "HKDD_AMC12_train.mat"
    save(path, **{name: X, "Feature": np.zeros((228, COUNT))})
    frames = datasets.read(path)
    # snr-major: np.tile(np.arange(12).repeat(per cell), 21)
    order = [(CLASSES[c], snr) for snr in range(-20, 21, 2) for c in range(12) for _ in range(PER_CELL)]
    assert [(frames.classes[label], snr) for label, snr in zip(frames.labels, frames.snrs, strict=True)] == order
    np.testing.assert_array_equal(frames.iq, X[:, :, 0].transpose(2, 0, 1).astype(np.float32))


@pytest.mark.parametrize("save", [version_5, version_7_3])
def test_a_missing_array(tmp_path, save):
    save(tmp_path / "a.mat", Feature=np.zeros((228, COUNT)))
    assert "lacks XTrainIQ and XTestIQ; it holds Feature" in refused(tmp_path / "a.mat")


@pytest.mark.parametrize("save", [version_5, version_7_3])
def test_a_number_of_frames_that_cells_do_not_divide(tmp_path, save):
    save(tmp_path / "a.mat", XTrainIQ=X[..., :-1])
    assert "503 frames, which 12 classes at 21 SNRs do not divide" in refused(tmp_path / "a.mat")


@pytest.mark.parametrize("save", [version_5, version_7_3])
def test_another_shape(tmp_path, save):
    save(tmp_path / "a.mat", XTrainIQ=X.transpose(1, 0, 2, 3))
    assert "has shape (8, 2, 1, 504), not (2, L, 1, N)" in refused(tmp_path / "a.mat")


@pytest.mark.parametrize("save", [version_5, version_7_3])
@pytest.mark.parametrize("length", [0, 20, 127, 600, 9000])
def test_a_truncated_file(tmp_path, save, length):
    path = tmp_path / "a.mat"
    save(path, XTrainIQ=X)
    path.write_bytes(path.read_bytes()[:length])
    assert "is truncated or not" in refused(path)
