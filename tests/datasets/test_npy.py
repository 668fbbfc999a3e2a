import numpy as np
import pytest
import synthetic
from synthetic import refused

from edgeprune import datasets

IQ = np.random.default_rng(0).normal(size=(4, 2, 16)).astype(np.float32)
NAMES = np.array(["QPSK", "BPSK", "QPSK", "CW"])


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "set.npy"
    np.save(path, IQ)
    np.save(tmp_path / "set_labels.npy", NAMES)
    return path


def names_of(frames):
    return [frames.classes[label] for label in frames.labels]


def test_labels_may_be_names(path):
    frames = datasets.read(path)
    assert names_of(frames) == NAMES.tolist()
    np.testing.assert_array_equal(frames.iq, IQ)
    assert frames.snrs is None


def test_labels_may_count_names_in_a_text_file(path):
    np.save(path.with_name("set_labels.npy"), np.array([2, 0, 2, 1]))
    path.with_name("classes.txt").write_text("QPSK\nCW\nBPSK\n")
    np.save(path.with_name("snrs.npy"), np.array([0, 2, 4, 6]))
    np.save(path.with_name("set_split.npy"), np.array([0, 1, 2, 0]))
    frames = datasets.read(path)
    assert names_of(frames) == ["BPSK", "QPSK", "BPSK", "CW"]
    assert (frames.snrs.tolist(), frames.split.tolist()) == ([0, 2, 4, 6], [0, 1, 2, 0])


def test_frames_may_be_complex(path):
    np.save(path, IQ[:, 0] + 1j * IQ[:, 1])
    np.testing.assert_array_equal(datasets.read(path).iq, IQ)


def test_what_identifies_it_is_also_its_labels(path):
    before = datasets.read(path).sha256
    np.save(path.with_name("set_labels.npy"), NAMES[::-1])
    assert datasets.read(path).sha256 != before


def test_no_labels(path):
    path.with_name("set_labels.npy").unlink()
    assert "has no labels beside it. Save them as set_labels.npy" in refused(path)


def test_labels_beyond_the_names(path):
    np.save(path.with_name("set_labels.npy"), np.array([0, 1, 3, 1]))
    path.with_name("classes.txt").write_text("A\nB\nC\n")
    assert "labels 0..3 for 3 classes, the first at frame 2" in refused(path)


def test_labels_without_names(path):
    np.save(path.with_name("set_labels.npy"), np.array([0, 1, 3, 1]))
    assert "no class names are beside it" in refused(path)


def test_another_shape(path):
    np.save(path, IQ.transpose(0, 2, 1))
    assert "float32 frames of shape (4, 16, 2), not (N, 2, L) or complex (N, L)" in refused(path)


@pytest.mark.parametrize("which", ["set.npy", "set_labels.npy"])
def test_objects_are_refused_unread(path, which):
    trap = np.full(4, None)
    trap[:] = [synthetic.RunsCommand(path.with_name("marker"))] * 4
    np.save(path.with_name(which), trap, allow_pickle=True)
    assert "plain array" in refused(path)
    assert not path.with_name("marker").exists()


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"text"])
def test_what_is_no_array(path, content):
    path.write_bytes(content)
    assert "is not a readable .npy file" in refused(path)


def test_a_truncated_array(path):
    path.write_bytes(path.read_bytes()[:-8])
    assert "is not a readable .npy file" in refused(path)
