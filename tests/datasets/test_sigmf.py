"""SigMF recordings written byte by byte, by the specification."""

import hashlib
import json
import tarfile

import numpy as np
import pytest
from scipy.signal import resample_poly
from synthetic import refused

from edgeprune import datasets
from edgeprune.frames.splits import split_table
from edgeprune.records.frames import Reading

COUNT = 1000
RNG = np.random.default_rng(0)
# parts of samples in -1..1 on a grid that every type holds exactly
GRID = RNG.integers(-100, 100, size=(COUNT, 2)) / 128


def encoded(datatype):
    """GRID as bytes of a type of the specification, section Dataset Format."""
    kind, _, order = datatype.partition("_")
    sign = ">" if order == "be" else "<"
    values = GRID if kind[0] == "c" else GRID[:, :1]
    if kind[1] == "f":
        return values.astype(f"{sign}f{int(kind[2:]) // 8}").tobytes()
    bits = int(kind[2:])
    steps = np.round(values * 2 ** (bits - 1)).astype(np.int64)
    if kind[1] == "u":
        return (steps + 2 ** (bits - 1)).astype(f"{sign}u{bits // 8}").tobytes()
    return steps.astype(f"{sign}i{bits // 8}").tobytes()


def write(folder, name="a", datatype="cf32_le", annotations=None, rate=1e6, data=None, channels=1, first=0, **extra):
    """Write a recording; `first` is the index that its metadata give the first sample of the file."""
    folder.mkdir(exist_ok=True)
    data = encoded(datatype) if data is None else data
    (folder / f"{name}.sigmf-data").write_bytes(data)
    marks = [(0, 400, "BPSK"), (400, 600, "QPSK")] if annotations is None else annotations
    meta = {
        "global": {
            "core:datatype": datatype,
            "core:version": "1.0.0",
            "core:sha512": hashlib.sha512(data).hexdigest(),
            "core:num_channels": channels,
            **({} if rate is None else {"core:sample_rate": rate}),
            **({"core:offset": first} if first else {}),
            **extra,
        },
        "captures": [{"core:sample_start": first}],
        "annotations": [
            {
                "core:sample_start": first + start,
                "core:sample_count": count,
                "core:label": label,
                **(more[0] if more else {}),
            }
            for start, count, label, *more in marks
        ],
    }
    path = folder / f"{name}.sigmf-meta"
    path.write_text(json.dumps(meta))
    return path


TYPES = [
    f"{domain}{kind}{order}"
    for domain in "cr"
    for kind in ("f64", "f32", "i32", "i16", "u32", "u16")
    for order in ("_le", "_be")
] + ["ci8", "cu8", "ri8", "ru8"]


@pytest.mark.parametrize("datatype", TYPES)
def test_every_data_type(tmp_path, datatype):
    frames = datasets.read(write(tmp_path, datatype=datatype))
    assert [frames.classes[label] for label in frames.labels] == ["BPSK"] * 3 + ["QPSK"] * 4
    windows = [*(GRID[i * 128 :][:128] for i in range(3)), *(GRID[400 + i * 128 :][:128] for i in range(4))]
    expected = np.array(windows).transpose(0, 2, 1)
    if datatype[1:] == "u8":  # bytes lie around 127.5, half a step below what was written as zero
        expected += 0.5 / 128
    if datatype[0] == "r":
        expected[:, 1] = 0
    np.testing.assert_allclose(frames.iq, expected, atol=1e-7)


def test_windows_of_another_length_and_hop(tmp_path):
    frames = datasets.read(write(tmp_path), Reading(length=100, hop=50))
    starts = [*range(0, 301, 50), *range(400, 901, 50)]
    assert frames.starts.tolist() == starts
    np.testing.assert_allclose(frames.iq[:, 0], [GRID[start : start + 100, 0] for start in starts], atol=1e-7)


def test_overlapping_frames_share_no_sample_with_another_split(tmp_path):
    with datasets.opened(write(tmp_path), Reading(length=20, hop=5)) as source:
        parts = split_table(source.table, seed=0)
    used = [{(start + i) for start in source.table.starts[part] for i in range(20)} for part in parts.values()]
    assert all(used)
    assert sum(map(len, used)) == len(set.union(*used))


def test_resampling(tmp_path):
    with datasets.opened(write(tmp_path), Reading(length=64, sample_rate_hz=5e5)) as source:
        assert source.notes == ("recorded at 1e+06 Hz, frames are resampled to 500000 Hz",)
        halved = resample_poly((GRID[:, 0] + 1j * GRID[:, 1])[:400], 1, 2)
        np.testing.assert_allclose(source.read(1, 2)[0, 1], halved[64:128].imag, atol=1e-6)


@pytest.mark.parametrize("first", [1, 512, 100_000, 2**40])
@pytest.mark.parametrize("rate", [None, 5e5])
def test_indices_count_from_the_offset_of_the_recording(tmp_path, first, rate):
    """As the editor of the specification reads it: every index in the metadata includes `core:offset`."""
    reading = Reading(length=64, sample_rate_hz=rate)
    plain, moved = (datasets.read(write(tmp_path / str(n), first=n), reading) for n in (0, first))
    assert len(plain)
    np.testing.assert_array_equal(moved.iq, plain.iq)
    np.testing.assert_array_equal(moved.starts, plain.starts)


def test_an_annotation_without_a_length_ends_with_the_data(tmp_path):
    path = write(tmp_path, first=700, annotations=[(400, 0, "QPSK")])
    path.write_text(path.read_text().replace('"core:sample_count": 0, ', ""))
    assert datasets.read(path, Reading(length=100)).starts.tolist() == [400, 500, 600, 700, 800, 900]


def test_without_resampling_the_rate_is_noted(tmp_path):
    with datasets.opened(write(tmp_path)) as source:
        assert "recorded and kept at 1e+06 Hz" in source.notes[0]


def test_recordings_of_different_rates_are_refused_unless_resampled(tmp_path):
    write(tmp_path, "a")
    write(tmp_path, "b", rate=2e6)
    assert "differ in sample rate: 1e+06, 2e+06 Hz. Resample them with `sample_rate_hz`" in refused(tmp_path)
    assert len(datasets.read(tmp_path, Reading(sample_rate_hz=1e6))) == 7 + 3


def test_recordings_of_an_unknown_rate_are_not_mixed_with_others(tmp_path):
    write(tmp_path, "a")
    write(tmp_path, "b", rate=None)
    write(tmp_path, "c", rate=None)
    said = "b.sigmf-meta and 1 more without a sample rate beside recordings at 1e+06 Hz. Write core:sample_rate"
    assert said in refused(tmp_path)
    (tmp_path / "a.sigmf-meta").unlink()
    with datasets.opened(tmp_path) as source:
        assert (len(source.table), source.notes) == (14, ())


def test_snrs_of_annotations(tmp_path):
    marks = [(0, 400, "BPSK", {"radio:snr_db": 10}), (400, 600, "QPSK", {"radio:snr_db": -4.2})]
    assert datasets.read(write(tmp_path, annotations=marks)).snrs.tolist() == [10] * 3 + [-4] * 4


def test_channels_are_frames_of_one_recording(tmp_path):
    data = np.stack([GRID, -GRID], axis=1).astype("<f4").tobytes()
    frames = datasets.read(write(tmp_path, data=data, channels=2, annotations=[(0, 400, "BPSK")]))
    np.testing.assert_allclose(frames.iq[3:], -frames.iq[:3])
    np.testing.assert_allclose(frames.iq[0], GRID[:128].T, atol=1e-7)
    assert set(frames.recordings) == {0}


def test_a_folder_of_recordings_is_split_by_recording(tmp_path):
    for name in "abcdefghij":
        write(tmp_path, name)
    frames = datasets.read(tmp_path)
    with datasets.opened(tmp_path) as source:
        parts = split_table(source.table, seed=3)
    of = [set(frames.recordings[part]) for part in parts.values()]
    assert [len(each) for each in of] == [7, 1, 2]
    assert len(set.union(*of)) == 10


class TestRefused:
    def test_a_wrong_hash(self, tmp_path):
        path = write(tmp_path, **{"core:sha512": "0" * 128})
        assert "is not a valid SigMF recording" in refused(path)
        assert "hash" in refused(path)

    def test_data_shorter_than_an_annotation(self, tmp_path):
        path = write(tmp_path, annotations=[(0, 400, "BPSK"), (800, 300, "QPSK")])
        assert "annotation 1 ends at sample 1100, the data end at 1000: they are short" in refused(path)

    def test_an_annotation_before_the_first_sample(self, tmp_path):
        path = write(tmp_path, first=512, annotations=[(-12, 400, "BPSK")])
        assert "annotation 0 begins at sample 500, the data at 512, their core:offset" in refused(path)

    @pytest.mark.parametrize("first", [-1, 2.5, True, "1"])
    def test_an_offset_that_is_no_index(self, tmp_path, first):
        path = write(tmp_path, **{"core:offset": first})
        assert any(words in refused(path) for words in ("core:offset is", "is not a valid SigMF recording"))

    def test_data_that_end_within_a_sample(self, tmp_path):
        path = write(tmp_path, data=encoded("cf32_le")[:-3])
        assert "a.sigmf-data is short: 7997 bytes are not whole samples of 8 bytes" in refused(path)

    def test_no_data(self, tmp_path):
        path = write(tmp_path)
        (tmp_path / "a.sigmf-data").unlink()
        assert "has no data file beside it. It should be a.sigmf-data" in refused(path)

    def test_no_labels(self, tmp_path):
        assert "none of 1 annotations has a core:label" in refused(write(tmp_path, annotations=[(0, 400, "")]))

    @pytest.mark.parametrize("content", ["", "[]", "{", '{"global": 1}', "\x00"])
    def test_what_is_no_metadata(self, tmp_path, content):
        path = write(tmp_path)
        path.write_text(content)
        assert "is not a SigMF metadata file" in refused(path)

    def test_an_unknown_data_type(self, tmp_path):
        path = write(tmp_path, data=encoded("cf32_le"))
        path.write_text(path.read_text().replace("cf32_le", "cf33_le"))
        assert "is not a valid SigMF recording" in refused(path)

    @pytest.mark.parametrize("named", ["../../etc/passwd", "/etc/passwd", 3])
    def test_data_elsewhere(self, tmp_path, named):
        path = write(tmp_path, **{"core:dataset": named})
        assert "is not the name of a file beside it" in refused(path)

    @pytest.mark.parametrize("snr", ["10", True])
    def test_an_snr_that_is_no_number(self, tmp_path, snr):
        path = write(tmp_path, annotations=[(0, 400, "BPSK", {"radio:snr": snr})])
        assert f"annotation 0: radio:snr is {snr!r}, not a number of dB" in refused(path)

    def test_stretches_shorter_than_a_frame(self, tmp_path):
        assert "none of 2 stretches is as long as a frame of 700" in refused(write(tmp_path), Reading(length=700))


def test_a_bad_recording_is_skipped_only_when_asked_and_listed(tmp_path):
    write(tmp_path, "a")
    write(tmp_path, "b", data=encoded("cf32_le")[:-3])
    write(tmp_path, "c")
    assert "b.sigmf-data is short" in refused(tmp_path)
    with datasets.opened(tmp_path, Reading(skip_bad_files=True)) as source:
        assert len(source.table) == 14
        (skipped,) = source.skipped
        assert "b.sigmf-data is short" in skipped


def test_an_archive(tmp_path):
    path = write(tmp_path / "a")
    with tarfile.open(tmp_path / "a.sigmf", "w") as archive:
        for file in (path, path.with_suffix(".sigmf-data")):
            archive.add(file, f"a/{file.name}")
    np.testing.assert_array_equal(datasets.read(tmp_path / "a.sigmf").iq, datasets.read(path).iq)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\0" * 1024])
def test_what_is_no_archive(tmp_path, content):
    (tmp_path / "a.sigmf").write_bytes(content)
    assert "is not a valid SigMF recording" in refused(tmp_path / "a.sigmf")


def test_the_data_file_may_be_named_instead(tmp_path):
    path = write(tmp_path)
    np.testing.assert_array_equal(datasets.read(path.with_suffix(".sigmf-data")).iq, datasets.read(path).iq)
