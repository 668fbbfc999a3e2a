import numpy as np
import pytest

from edgeprune.bench import samples
from edgeprune.errors import ConfigError, DataError

ROUNDS = [np.array([1.25, 0.5]), np.array([3.0]), np.array([0.1, 0.2, 0.3])]


def test_written_times_are_read_back_exactly(tmp_path):
    path = tmp_path / "deeper" / "samples.npz"
    samples.write(path, ROUNDS, {"model_sha256": "ab", "device": {"cores": 2}})
    rounds, description = samples.read(path)
    assert [times.tolist() for times in rounds] == [times.tolist() for times in ROUNDS]
    assert description == {"model_sha256": "ab", "device": {"cores": 2}}


def test_file_is_open_to_plain_numpy_and_leaves_nothing_beside_it(tmp_path):
    samples.write(tmp_path / "samples.npz", ROUNDS, {})
    with np.load(tmp_path / "samples.npz", allow_pickle=False) as arrays:
        assert arrays["ms"].tolist() == [1.25, 0.5, 3.0, 0.1, 0.2, 0.3]
        assert arrays["round"].tolist() == [0, 0, 1, 2, 2, 2]
    assert [file.name for file in tmp_path.iterdir()] == ["samples.npz"]


def test_same_samples_make_the_same_file(tmp_path):
    for name in ("a.npz", "b.npz"):
        samples.write(tmp_path / name, ROUNDS, {"z": 1, "a": 2})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        samples.write(tmp_path / "file" / "samples.npz", ROUNDS, {})


@pytest.mark.parametrize("content", [None, b"", b"not a zip", b"PK\x03\x04 cut short"])
def test_what_is_not_a_file_of_samples_is_said(tmp_path, content):
    path = tmp_path / "samples.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"not a file of latency samples|cannot read"):
        samples.read(path)


def test_other_arrays_and_other_versions_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.ones(3))
    with pytest.raises(DataError, match="not a file of latency samples"):
        samples.read(tmp_path / "other.npz")
    np.savez(tmp_path / "newer.npz", ms=np.ones(1), round=np.zeros(1), description=np.array('{"schema": "newer"}'))
    with pytest.raises(DataError, match="edgeprune-samples/1"):
        samples.read(tmp_path / "newer.npz")
