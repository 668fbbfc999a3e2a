"""CSV files as HisarMod2019.1 publishes them, written as text, and the HDF5 of its mirrors."""

import h5py
import numpy as np
import pytest
from synthetic import refused

from edgeprune import datasets

# the published label codes
FAMILIES = {
    0: ["BPSK", "QPSK", "8PSK", "16PSK", "32PSK", "64PSK"],
    1: ["4QAM", "8QAM", "16QAM", "32QAM", "64QAM", "128QAM", "256QAM"],
    2: ["2FSK", "4FSK", "8FSK", "16FSK"],
    3: ["4PAM", "8PAM", "16PAM"],
    4: ["AM-DSB", "AM-DSB-SC", "AM-USB", "AM-LSB", "FM", "PM"],
}
CODES = {10 * index + digit: name for digit, family in FAMILIES.items() for index, name in enumerate(family)}
LENGTH = 8


def written(value):
    """MATLAB's way: 0.25-1.5i."""
    return f"{value.real:.7g}{value.imag:+.7g}i"


def write_part(folder, part, per_cell, codes=tuple(CODES), snrs=(-20, 18)):
    rng = np.random.default_rng(len(part))
    labels = [code for code in codes for snr in snrs for _ in range(per_cell)]
    snr = [snr for code in codes for snr in snrs for _ in range(per_cell)]
    x = rng.normal(size=(len(labels), LENGTH)) + 1j * rng.normal(size=(len(labels), LENGTH))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part}_data.csv").write_text("".join(",".join(map(written, row)) + "\n" for row in x))
    (folder / f"{part}_labels.csv").write_text("".join(f"{code}\n" for code in labels))
    (folder / f"{part}_snr.csv").write_text("".join(f"{value}\n" for value in snr))
    return x, labels, snr


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "HisarMod2019.1"
    train = write_part(path / "Train", "train", 10)
    test = write_part(path / "Test", "test", 5)
    return path, train, test


def test_the_folder(folder):
    path, train, test = folder
    frames = datasets.read(path)
    assert [frames.classes[label] for label in frames.labels] == [CODES[code] for code in train[1] + test[1]]
    assert frames.snrs.tolist() == train[2] + test[2]
    x = np.concatenate([train[0], test[0]])
    np.testing.assert_allclose(frames.iq[:, 0] + 1j * frames.iq[:, 1], x, rtol=1e-6, atol=1e-6)
    assert len(frames.classes) == 26


def test_its_own_split_holds_test_apart_and_a_tenth_of_train_for_validation(folder):
    path, train, _ = folder
    frames = datasets.read(path)
    assert set(frames.split[len(train[1]) :]) == {2}
    own = frames.split[: len(train[1])]
    assert np.bincount(own).tolist() == [26 * 2 * 9, 26 * 2]
    assert (
        len(
            {
                (label, snr)
                for label, snr in zip(frames.labels[frames.split == 1], frames.snrs[frames.split == 1], strict=True)
            }
        )
        == 52
    )


def test_one_data_file_alone_is_split_like_any_other(folder):
    path, train, _ = folder
    frames = datasets.read(path / "Train" / "train_data.csv")
    assert len(frames) == len(train[1])
    assert frames.split is None


def test_a_range_may_be_read_again(folder):
    path, train, test = folder
    with datasets.opened(path) as source:
        for start, stop in ((515, 525), (3, 6), (4, 9)):
            x = np.concatenate([train[0], test[0]])[start:stop]
            np.testing.assert_allclose(source.read(start, stop)[:, 1], x.imag, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("field", ["0.5+", "abc", "", "1.0+2.0i3", "nan?"])
def test_a_broken_number_is_named_by_line_and_column(folder, field):
    path = folder[0] / "Train" / "train_data.csv"
    lines = path.read_text().splitlines()
    numbers = lines[6].split(",")
    numbers[2] = field
    lines[6] = ",".join(numbers)
    path.write_text("\n".join(lines) + "\n")
    message = refused(folder[0])
    assert f"train_data.csv: line 7, number 3: {field!r} is not a complex number a+bi" in message


def test_a_row_of_another_length(folder):
    path = folder[0] / "Test" / "test_data.csv"
    lines = path.read_text().splitlines()
    lines[3] += ",1+1i"
    path.write_text("\n".join(lines) + "\n")
    assert "test_data.csv: line 4 holds 9 numbers, line 1 holds 8" in refused(folder[0])


def test_a_label_that_is_no_code(folder):
    path = folder[0] / "Train" / "train_labels.csv"
    lines = path.read_text().splitlines()
    lines[11] = "99"
    path.write_text("\n".join(lines) + "\n")
    assert "train_labels.csv: line 12: label 99 is not a code" in refused(folder[0])


@pytest.mark.parametrize(("what", "text"), [("labels", "ten"), ("snr", "1.5")])
def test_a_line_that_is_no_whole_number(folder, what, text):
    path = folder[0] / "Train" / f"train_{what}.csv"
    path.write_text(text + "\n" + "\n".join(path.read_text().splitlines()[1:]) + "\n")
    assert f"train_{what}.csv: line 1: {text!r} is not a whole number" in refused(folder[0])


def test_fewer_labels_than_frames(folder):
    path = folder[0] / "Test" / "test_labels.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    assert "test_labels.csv holds 259 rows, test_data.csv holds 260" in refused(folder[0])


def test_missing_labels(folder):
    (folder[0] / "Test" / "test_snr.csv").unlink()
    assert "no such file: " in refused(folder[0])


@pytest.mark.parametrize("last", [True, False])
def test_a_mirror_in_hdf5(tmp_path, last):
    x = np.random.default_rng(0).normal(size=(6, 2, LENGTH)).astype(np.float32)
    path = tmp_path / "HisarMod2019test.h5"
    with h5py.File(path, "w") as file:
        file["samples"] = x.transpose(0, 2, 1) if last else x
        file["labels"] = np.array([0, 10, 61, 32, 23, 54])
        file["snr"] = np.array([[-20], [18], [0], [2], [4], [6]])
    frames = datasets.read(path)
    assert [frames.classes[label] for label in frames.labels] == ["BPSK", "QPSK", "256QAM", "16FSK", "16PAM", "PM"]
    assert frames.snrs.tolist() == [-20, 18, 0, 2, 4, 6]
    np.testing.assert_array_equal(frames.iq, x)


def test_a_mirror_with_a_label_beyond_the_list(tmp_path):
    path = tmp_path / "HisarMod2019train.h5"
    with h5py.File(path, "w") as file:
        file["samples"] = np.ones((3, 2, LENGTH), np.float32)
        file["labels"] = np.array([0, 5, 10])
        file["snr"] = np.zeros(3, int)
    assert "labels[1]: label 5 is not a code" in refused(path)
