"""Files as TorchSig 2.2 writes them, laid out by h5py, object by object."""

import json

import h5py
import numpy as np
import pytest
from synthetic import refused

from edgeprune import datasets

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(6, 32)) + 1j * RNG.normal(size=(6, 32))).astype(np.complex64)
NAMES = ["bpsk", "qpsk"] * 3
SNRS = [10.0, 11.4, 12.6, 0.0, -3.2, 7.0]


def records(path, signals=1, x=X, tell=("class_name", "snr_db")):
    """HDF5Writer: keys count samples and their components."""
    with h5py.File(path, "w", libver="latest") as file:
        groups = {name: file.create_group(name) for name in ("data", "metadata", "index", "component_signals")}
        for index, sample in enumerate(x):
            key = str(index * 10)
            groups["index"][str(index)] = key
            groups["data"].create_dataset(key, data=sample, compression="lzf", shuffle=True, fletcher32=True)
            groups["metadata"].create_group(key)["num_signals"] = signals
            parts = [str(index * 10 + 1 + part) for part in range(signals)]
            groups["component_signals"][key] = parts
            for part in parts:
                about = groups["metadata"].create_group(part)
                for name, value in (("class_name", NAMES[index]), ("snr_db", SNRS[index])):
                    if name in tell:
                        about[name] = value
    return path


def array(path, signals=1, x=X, tell=("class_name", "snr_db")):
    """HomogeneousHDF5Writer: one array, metadata as JSON."""
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["format"], file.attrs["schema_version"] = "torchsig-homogeneous", 1
        file["data"] = x
        file["component_offsets"] = np.arange(len(x) + 1, dtype=np.uint64) * signals
        told = [
            {
                "__torchsig_type__": "dict",
                "items": {k: v for k, v in zip(("class_name", "snr_db"), each, strict=True) if k in tell},
            }
            for each in zip(NAMES, SNRS, strict=True)
            for _ in range(signals)
        ]
        file.create_dataset("component_metadata", data=list(map(json.dumps, told)), dtype=h5py.string_dtype())
        file.create_dataset("metadata", data=["{}"] * len(x), dtype=h5py.string_dtype())
    return path


both = pytest.mark.parametrize("write", [records, array])


@both
@pytest.mark.parametrize("of_folder", [True, False])
def test_samples_labels_and_snrs(tmp_path, write, of_folder):
    path = write(tmp_path / "data.h5")
    with datasets.opened(tmp_path if of_folder else path) as source:
        assert source.notes == ("SNRs are rounded to whole dB",)
        np.testing.assert_array_equal(source.read(2, 5), np.stack([X.real, X.imag], axis=1)[2:5])
    frames = datasets.read(path)
    assert [frames.classes[label] for label in frames.labels] == NAMES
    assert frames.snrs.tolist() == [10, 11, 13, 0, -3, 7]


@both
def test_without_snrs(tmp_path, write):
    assert datasets.read(write(tmp_path / "data.h5", tell=("class_name",))).snrs is None


@both
def test_without_class_names(tmp_path, write):
    assert "sample 0 has no class_name" in refused(write(tmp_path / "data.h5", tell=("snr_db",)))


@both
def test_several_signals_in_a_sample(tmp_path, write):
    assert "sample 0 is of 2 signals, not of one" in refused(write(tmp_path / "data.h5", signals=2))


@both
def test_real_samples(tmp_path, write):
    assert "complex samples" in refused(write(tmp_path / "data.h5", x=X.real))


def test_samples_of_another_length(tmp_path):
    path = records(tmp_path / "data.h5", x=[*X[:3], X[3][:20], *X[4:]])
    assert "sample 3 has shape (20,), not (32,)" in refused(path)


@both
@pytest.mark.parametrize("share", [0.1, 0.7])
def test_a_truncated_file(tmp_path, write, share):
    path = write(tmp_path / "data.h5")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused(path)
