import numpy as np
import pytest
from synthetic import refused

from edgeprune import datasets
from edgeprune.records.frames import Reading

RNG = np.random.default_rng(0)
GRID = RNG.integers(-100, 100, size=(300, 2)) / 128
SIGNAL = GRID[:, 0] + 1j * GRID[:, 1]
# kinds of files that GNU Radio, SoapySDR and rtl_sdr write
FILES = {
    ".cf32": GRID.astype("<f4"),
    ".cfile": GRID.astype("<f4"),
    ".cf64": GRID.astype("<f8"),
    ".cs16": (GRID * 2**15).astype("<i2"),
    ".cs8": (GRID * 128).astype("i1"),
    ".cu8": (GRID * 128 + 128).astype("u1"),
}
# the middle of 0 to 255 is 127.5, half a step below the 128 that was added
ABOVE = {".cu8": 0.5 / 128}


@pytest.fixture
def folder(tmp_path):
    for name, snr in (("BPSK", "10dB"), ("BPSK", "-4dB"), ("QPSK", "10dB")):
        place = tmp_path / "set" / name / snr
        place.mkdir(parents=True)
        FILES[".cf32"].tofile(place / "a.cf32")
        (place / "notes.txt").write_text("recorded on a roof")
    return tmp_path / "set"


@pytest.mark.parametrize("suffix", list(FILES))
def test_every_kind_of_file(tmp_path, suffix):
    (tmp_path / "QPSK").mkdir()
    FILES[suffix].tofile(tmp_path / "QPSK" / f"a{suffix}")
    frames = datasets.read(tmp_path)
    expected = np.array([GRID[:128].T, GRID[128:256].T]) + ABOVE.get(suffix, 0)
    np.testing.assert_allclose(frames.iq, expected, atol=1e-7)
    assert (frames.classes, frames.snrs) == (("QPSK",), None)


def test_unsigned_bytes_lie_around_the_middle_of_their_range(tmp_path):
    (tmp_path / "QPSK").mkdir()
    np.tile(np.array([[0, 255], [255, 0]], dtype="u1"), (64, 1)).tofile(tmp_path / "QPSK" / "a.cu8")
    frame = datasets.read(tmp_path).iq[0]
    np.testing.assert_array_equal(frame.mean(axis=1), [0, 0])
    np.testing.assert_array_equal(frame[:, 0], -frame[:, 1])


def test_complex_arrays(tmp_path):
    (tmp_path / "QPSK").mkdir()
    np.save(tmp_path / "QPSK" / "a.npy", SIGNAL)
    np.testing.assert_allclose(datasets.read(tmp_path).iq[1], GRID[128:256].T, atol=1e-7)


def test_class_and_snr_are_told_by_the_place(folder):
    frames = datasets.read(folder)
    told = [(frames.classes[label], snr) for label, snr in zip(frames.labels, frames.snrs, strict=True)]
    assert told == [("BPSK", -4)] * 2 + [("BPSK", 10)] * 2 + [("QPSK", 10)] * 2
    assert frames.recordings.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(("name", "snr"), [("snr_-4_b", -4), ("b_18dB", 18), ("snr=6", 6), ("run2_SNR10", 10)])
def test_the_name_of_a_file_may_tell_its_snr(tmp_path, name, snr):
    (tmp_path / "QPSK").mkdir()
    FILES[".cs8"].tofile(tmp_path / "QPSK" / f"{name}.cs8")
    assert set(datasets.read(tmp_path).snrs) == {snr}


def test_windows_may_overlap(folder):
    frames = datasets.read(folder, Reading(length=100, hop=25))
    assert frames.starts.tolist() == list(range(0, 201, 25)) * 3
    np.testing.assert_allclose(frames.iq[3], GRID[75:175].T, atol=1e-7)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "a.cf32 is empty"),
        (b"x" * 2403, "a.cf32 is short: 2403 bytes are not whole samples of 8 bytes"),
        (np.full(600, np.nan, "<f4").tobytes(), "NaN or infinity"),
    ],
    ids=["empty", "short", "nan"],
)
def test_a_bad_file_is_skipped_only_when_asked_and_listed(folder, content, said):
    (folder / "BPSK" / "10dB" / "a.cf32").write_bytes(content)
    assert said in refused(folder)
    with datasets.opened(folder, Reading(skip_bad_files=True)) as source:
        assert len(source.table) == 4
        assert len(source.skipped) == 1
        assert said in source.skipped[0]


def test_a_real_array_is_refused(tmp_path):
    (tmp_path / "QPSK").mkdir()
    np.save(tmp_path / "QPSK" / "a.npy", GRID)
    assert "holds float64 of shape (300, 2), not complex samples (n,)" in refused(tmp_path)


def test_a_folder_without_such_files_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    assert "is no folder of a format that is known" in refused(tmp_path)
