"""Arrays that are in other files are refused by name, and nothing of the other file is told."""

import corpus_data
import h5py
import pytest

from edgeprune import datasets
from edgeprune.errors import DataError


def refused(path):
    with pytest.raises(DataError) as caught:
        datasets.read(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ("external-storage", "the samples of iq are in /etc/passwd"),
        ("external-labels", "the samples of labels are in /etc/passwd"),
        ("external-link", "iq is a ExternalLink to other.h5:/iq"),
        ("soft-link-across", "iq is a SoftLink"),
        ("virtual", "iq is a virtual array of other.h5"),
        ("radioml-external", "the samples of X are in /etc/passwd"),
        ("hisarmod-link", "samples is a ExternalLink to other.h5:/iq"),
        ("torchsig-link", "a is a ExternalLink to other.h5:/iq"),
    ],
)
def test_each_way_out_of_a_file_is_named(tmp_path, layout, words):
    corpus_data.other_file(tmp_path)
    path = tmp_path / "a.h5"
    corpus_data.hdf5(path, corpus_data.LAYOUTS[layout])
    message = refused(path)
    assert words in message
    assert "what is not in the file itself is not read" in message


def test_a_mat_file_is_no_exception(tmp_path):
    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("XTrainIQ", (252, 1, 16, 2), "f4", external=[("/etc/passwd", 0, 32256)])
    assert "the samples of XTrainIQ are in /etc/passwd" in refused(path)


def test_the_ways_out_of_this_test_work(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(range(128)))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("iq", (32,), "f4", external=[(str(tmp_path / "secret"), 0, 128)])
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert file["iq"][:].tobytes() == bytes(range(128))
