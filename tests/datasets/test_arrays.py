import zipfile

import numpy as np
import pytest
import synthetic

from edgeprune import datasets
from edgeprune.errors import DataError
from edgeprune.files.store import file_sha256

LABELS = np.array(["QPSK", "BPSK", "QPSK", "CW"])
IQ = np.random.default_rng(0).normal(size=(4, 2, 16)).astype(np.float32)


@pytest.fixture
def read(tmp_path):
    def write_and_read(*, save=np.savez, **arrays):
        path = tmp_path / "signals.npz"
        with path.open("wb") as file:
            save(file, **arrays)
        return datasets.read(path)

    return write_and_read


def refused(function, *arguments, **options):
    with pytest.raises(DataError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    assert "signals.npz" in caught.value.message
    return str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_labels_may_be_names(read, tmp_path, save):
    frames = read(save=save, iq=IQ, labels=LABELS, snrs=np.array([0, 2, 4, 6]), split=np.array([0, 1, 2, 0]))
    assert frames.classes == ("BPSK", "CW", "QPSK")
    assert [frames.classes[label] for label in frames.labels] == LABELS.tolist()
    assert (frames.snrs.tolist(), frames.split.tolist()) == ([0, 2, 4, 6], [0, 1, 2, 0])
    np.testing.assert_array_equal(frames.iq, IQ)
    assert (frames.source, frames.sha256) == ("signals.npz", file_sha256(tmp_path / "signals.npz"))


def test_labels_may_count_classes_in_any_order(read):
    frames = read(iq=IQ, labels=np.array([2, 0, 2, 1], np.uint8), classes=np.array(["QPSK", "CW", "BPSK"]))
    assert frames.classes == ("BPSK", "CW", "QPSK")
    assert [frames.classes[label] for label in frames.labels] == ["BPSK", "QPSK", "BPSK", "CW"]
    assert frames.snrs is None
    assert frames.split is None


@pytest.mark.parametrize("as_labels", [True, False])
def test_names_may_be_bytes_in_utf8(read, as_labels):
    names = np.array(["π/4-QPSK".encode(), b"CW", b"CW", b"CW"])
    counted = {"labels": np.array([0, 1, 1, 1]), "classes": names[:2]}
    frames = read(iq=IQ, **({"labels": names} if as_labels else counted))
    assert [frames.classes[label] for label in frames.labels] == ["π/4-QPSK", "CW", "CW", "CW"]


@pytest.mark.parametrize("missing", ["iq", "labels"])
def test_a_missing_array_is_named_with_what_is_there(read, missing):
    arrays = {"iq": IQ, "labels": LABELS, "extra": np.zeros(1)}
    del arrays[missing]
    assert f"lacks {missing}; it holds extra, " in refused(read, **arrays)


def test_an_empty_archive(read):
    assert "lacks iq, labels; it holds nothing" in refused(read)


@pytest.mark.parametrize("labels", [np.arange(4), np.arange(4) / 2])
def test_labels_without_names_are_told_what_to_store(read, labels):
    message = refused(read, iq=IQ, labels=labels)
    assert f"labels of type {labels.dtype} and no classes" in message
    assert "class names" in message


@pytest.mark.parametrize("classes", [np.array("CW"), np.array([["CW", "AM"]])])
def test_class_names_in_another_shape(read, classes):
    assert "class names of shape" in refused(read, iq=IQ, labels=np.zeros(4, int), classes=classes)


def test_class_names_that_are_no_text(read):
    assert "not UTF-8" in refused(read, iq=IQ, labels=np.zeros(4, int), classes=np.array([b"\xff\xfe"]))


@pytest.mark.parametrize("which", ["iq", "labels", "snrs"])
def test_arrays_of_objects_are_refused_unread(read, tmp_path, which):
    marker = tmp_path / "marker"
    trap = np.full(4, None)
    trap[:] = [synthetic.RunsCommand(marker)] * 4
    message = refused(read, **{"iq": IQ, "labels": LABELS, "snrs": np.zeros(4), which: trap})
    assert "plain arrays" in message
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", b"<!DOCTYPE html>", b"\x93NUMPY\x01\x00", b"x" * 500],
    ids=["empty", "head", "html", "npy head", "text"],
)
def test_what_is_no_archive(tmp_path, content):
    path = tmp_path / "signals.npz"
    path.write_bytes(content)
    assert "is not a readable .npz archive" in refused(datasets.read, path)


def test_a_pickle_named_npz_is_not_run(tmp_path):
    (tmp_path / "signals.npz").write_bytes(synthetic.trap(tmp_path / "marker"))
    assert "is not a readable .npz archive" in refused(datasets.read, tmp_path / "signals.npz")
    assert not (tmp_path / "marker").exists()


def test_a_single_array_is_called_one(tmp_path):
    with (tmp_path / "signals.npz").open("wb") as file:
        np.save(file, IQ)
    assert "single array" in refused(datasets.read, tmp_path / "signals.npz")


def test_an_archive_of_other_files_holds_no_arrays(tmp_path):
    with zipfile.ZipFile(tmp_path / "signals.npz", "w") as archive:
        archive.writestr("iq.npy", b"not an array")
        archive.writestr("labels.txt", b"text")
    refused(datasets.read, tmp_path / "signals.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damage_anywhere_is_a_data_error_or_still_frames(read, tmp_path, save):
    read(save=save, iq=IQ, labels=LABELS)
    path = tmp_path / "signals.npz"
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    spoiled = [whole[:length] for length in range(0, len(whole), len(whole) // 40)]
    for _ in range(80):
        content = bytearray(whole)
        for place in generator.integers(len(whole), size=3):
            content[place] = generator.integers(256)
        spoiled.append(bytes(content))
    messages = []
    for content in spoiled:
        path.write_bytes(content)
        try:
            assert len(datasets.read(path)) == 4
        except DataError as error:
            messages.append(str(error))
    assert len(messages) > 70
    assert [message for message in messages if "\n" in message] == []
