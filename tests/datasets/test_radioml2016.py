import pickle
import struct

import numpy as np
import pytest
import synthetic

from edgeprune import datasets
from edgeprune.errors import DataError
from edgeprune.files.store import file_sha256
from edgeprune.frames.labelled import split_frames


def python2_pickle(table):
    """What Python 2.7's cPickle writes in protocol 2 for a dict of (str, int) to float32 arrays: text is bytes."""

    def text(value):
        return b"T" + struct.pack("<I", len(value)) + value

    def integer(value):
        return b"J" + struct.pack("<i", value)

    parts = [b"\x80\x02}("]
    for (name, snr), iq in table.items():
        shape = b"".join(integer(size) for size in iq.shape) + b"\x87"
        empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        dtype = b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNN" + integer(-1) * 2 + b"K\x00tb"
        state = b"(K\x01" + shape + dtype + b"\x89" + text(iq.astype("<f4").tobytes()) + b"tb"
        parts.append(text(name.encode()) + integer(snr) + b"\x86" + empty + state)
    return b"".join(parts) + b"u."


@pytest.fixture
def table():
    return synthetic.cells(per_cell=4)


@pytest.fixture
def read(tmp_path):
    def write_and_read(content):
        path = tmp_path / "signals.pkl"
        path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
        return datasets.read(path)

    return write_and_read


def refused(read, content):
    with pytest.raises(DataError) as caught:
        read(content)
    assert "\n" not in str(caught.value)
    assert "signals.pkl" in caught.value.message
    return str(caught.value)


def assert_holds(frames, table):
    """The frames are those of the table: every cell with its name and SNR, in the order of sorted keys."""
    assert frames.classes == tuple(sorted({name for name, _ in table}))
    cells = [
        (frames.classes[label], int(snr), iq.tobytes())
        for label, snr, iq in zip(frames.labels, frames.snrs, frames.iq, strict=True)
    ]
    assert cells == [(name, snr, iq.tobytes()) for (name, snr) in sorted(table) for iq in table[name, snr]]


class TestFormats:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_every_protocol_of_python_3(self, read, table, protocol):
        assert_holds(read(pickle.dumps(table, protocol=protocol)), table)

    def test_python_2(self, read, table):
        content = python2_pickle(table)
        by_library = pickle.loads(content, encoding="latin1")
        assert all(np.array_equal(by_library[key], iq) for key, iq in table.items())
        assert_holds(read(content), table)

    @pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
    def test_numpy_before_and_after_it_moved_its_modules(self, read, table, module):
        content = python2_pickle(table).replace(b"numpy.core.multiarray", module)
        assert_holds(read(content), table)

    def test_names_in_bytes(self, read, table):
        frames = read({(name.encode(), snr): iq for (name, snr), iq in table.items()})
        assert_holds(frames, table)

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    @pytest.mark.parametrize("kind", [np.int64, np.int16, np.float64, np.float32, float])
    def test_snrs_of_any_type_of_number(self, read, table, kind, protocol):
        assert_holds(read(pickle.dumps({(m, kind(snr)): iq for (m, snr), iq in table.items()}, protocol)), table)

    @pytest.mark.parametrize("protocol", [0, 2, 5])
    def test_names_that_numpy_made(self, read, table, protocol):
        assert_holds(read(pickle.dumps({(np.str_(m), snr): iq for (m, snr), iq in table.items()}, protocol)), table)

    def test_snrs_are_in_whole_decibels(self, read, table):
        (name, _), iq = next(iter(table.items()))
        assert set(read({(name, -3.6): iq, (name, np.float32(0.4)): iq + 1}).snrs) == {-4, 0}
        assert "twice at 4 dB: SNRs are read in whole dB. Round its keys" in refused(
            read, {(name, 3.6): iq, (name, 4): iq}
        )

    @pytest.mark.parametrize("snr", [float("nan"), float("inf"), np.complex64(1), 2.0**40, np.datetime64("2026-01-01")])
    def test_snrs_that_are_no_number_of_decibels(self, read, table, snr):
        (name, _), iq = next(iter(table.items()))
        refused(read, {(name, snr): iq})

    def test_the_order_of_the_table_does_not_matter(self, read, table):
        assert_holds(read(dict(reversed(table.items()))), table)

    def test_arrays_that_are_not_contiguous(self, read):
        iq = np.asfortranarray(np.arange(24, dtype=np.float32).reshape(3, 2, 4))
        for protocol in (2, 5):
            np.testing.assert_array_equal(read(pickle.dumps({("AM", 0): iq}, protocol=protocol)).iq, iq)

    @pytest.mark.parametrize("suffix", [".pkl", ".pickle", ".dat", ".PKL", ".01A"])
    def test_every_suffix(self, tmp_path, table, suffix):
        path = tmp_path / f"signals{suffix}"
        path.write_bytes(pickle.dumps(table))
        frames = datasets.read(path)
        assert_holds(frames, table)
        assert (frames.source, frames.sha256, frames.split) == (path.name, file_sha256(path), None)


class TestDanger:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_a_pickle_that_would_run_a_command_is_not_run(self, read, tmp_path, protocol):
        marker = tmp_path / "marker"
        message = refused(read, synthetic.trap(marker, protocol))
        assert "system" in message
        assert "nothing was run" in message
        assert not marker.exists()

    def test_the_trap_of_this_test_works(self, tmp_path):
        pickle.loads(synthetic.trap(tmp_path / "marker"))
        assert (tmp_path / "marker").exists()

    def test_a_trap_among_good_cells_is_not_run(self, read, tmp_path, table):
        marker = tmp_path / "marker"
        refused(read, {**table, ("QPSK", 99): synthetic.RunsCommand(marker)})
        assert not marker.exists()

    @pytest.mark.parametrize(
        "name",
        [
            "builtins eval",
            "builtins getattr",
            "numpy load",
            "numpy ndarray.tofile",
            "numpy.core.multiarray fromfile",
            "numpy.lib.npyio load",
            "_codecs decode",
            "codecs encode",
            "edgeprune.files.store replacing",
        ],
    )
    def test_no_other_name_is_admitted(self, read, name):
        module, attribute = name.split()
        content = b"\x80\x04" + b"".join(b"\x8c" + bytes([len(x)]) + x.encode() for x in (module, attribute)) + b"\x93."
        assert f"asks to load {module}.{attribute}" in refused(read, content)

    def test_a_name_of_several_lines_is_told_in_one(self, read):
        assert "asks to load a b.c" in refused(read, b"\x80\x04\x8c\x03a\nb\x8c\x01c\x93.")

    def test_bytes_are_decoded_from_latin1_only(self, read):
        # Protocol 2 writes bytes as _codecs.encode(text, 'latin1'); other codecs could make much of little.
        content = b"\x80\x02c_codecs\nencode\nX\x02\x00\x00\x00abX\x05\x00\x00\x00rot13\x86R."
        assert "rot13" in refused(read, content)

    def test_an_array_of_objects_is_refused(self, read):
        iq = np.zeros((2, 2, 4), object)
        assert "holds object (2, 2, 4), not frames (n, 2, L)" in refused(read, {("AM", 0): iq})


class TestDamage:
    @pytest.mark.parametrize("protocol", [2, 4])
    def test_a_truncated_file_is_a_data_error_wherever_it_is_cut(self, read, table, protocol):
        content = pickle.dumps(table, protocol=protocol)
        for length in [*range(0, len(content), len(content) // 60), 1, 2, 3, len(content) - 1]:
            message = refused(read, content[:length])
            assert f"({length} bytes) is truncated or not a pickle" in message

    def test_a_changed_byte_is_a_data_error_or_still_a_file_of_frames(self, read, table):
        content = pickle.dumps(table, protocol=4)
        generator = np.random.default_rng(0)
        counts, messages = set(), []
        for _ in range(80):
            spoiled = bytearray(content)
            spoiled[generator.integers(200)] = generator.integers(256)
            try:
                counts.add(len(read(bytes(spoiled))))
            except DataError as error:
                messages.append(str(error))
        assert 24 in counts
        assert messages
        assert [message for message in messages if "\n" in message] == []

    @pytest.mark.parametrize("page", [b"<!DOCTYPE html><html>", b"\n  <html>not found</html>"])
    def test_a_web_page_is_called_one(self, read, page):
        message = refused(read, page)
        assert "is a web page" in message
        assert "fetch it again" in message

    def test_a_folder_cannot_be_read(self, tmp_path):
        (tmp_path / "signals.pkl").mkdir()
        with pytest.raises(DataError, match=r"cannot read .*directory"):
            datasets.read(tmp_path / "signals.pkl")


class TestContent:
    @pytest.mark.parametrize(("content", "found"), [([1], "list"), ({}, "dict"), (None, "NoneType")])
    def test_what_is_not_a_table_is_named(self, read, content, found):
        assert f"holds a {found}, not a dict of (modulation, SNR)" in refused(read, content)

    @pytest.mark.parametrize("key", ["QPSK", ("QPSK",), ("QPSK", "10"), ("QPSK", None), ("QPSK", 10, 1), 3])
    def test_another_key_is_shown(self, read, table, key):
        message = refused(read, {**table, key: table["CW", 10]})
        assert f"key {key!r} is not (modulation, SNR)" in message

    @pytest.mark.parametrize("value", [[1, 2], "text", np.zeros((4, 8), np.float32), np.zeros((2, 2, 4), "M8[s]")])
    def test_another_value_is_named_with_its_key(self, read, table, value):
        message = refused(read, {**table, ("CW", 10): value})
        assert "('CW', 10) holds" in message
        assert "not frames (n, 2, L)" in message

    def test_cells_of_different_length_are_named(self, read, table):
        message = refused(read, {**table, ("CW", 10): np.zeros((4, 2, 16), np.float32)})
        assert "(2, 16), (2, 32)" in message

    @pytest.mark.parametrize("shape", [(4, 3, 32), (4, 32, 2), (4, 2, 0)])
    def test_frames_of_another_shape(self, read, shape):
        assert "not real numbers (N, 2, L)" in refused(read, {("CW", 10): np.zeros(shape, np.float32)})

    def test_frames_that_hold_no_numbers_are_counted(self, read, table):
        table["CW", 10][2, 0, 5] = np.nan
        assert "1 of 24 frames hold NaN or infinity, the first is frame 14" in refused(read, table)

    def test_a_table_of_empty_cells_holds_no_frames(self, read):
        assert "no frames" in refused(read, {("CW", 10): np.zeros((0, 2, 8), np.float32)})


class TestOverlap:
    """RML2016.04C cuts frames of 128 samples every 64 and scales each by its own sum of magnitudes."""

    def cut(self, hop, length=32, count=40, seed=0):
        generator = np.random.default_rng(seed)
        table = {}
        for name in ("BPSK", "QPSK"):
            signal = generator.normal(size=(2, hop * count + length))
            frames = np.stack([signal[:, start : start + length] for start in range(0, hop * count, hop)])
            sizes = np.abs(frames[:, 0] + 1j * frames[:, 1]).sum(axis=1)
            table[name, 10] = (frames / sizes[:, None, None]).astype(np.float32)
        return table

    def test_frames_that_overlap_by_half_are_found(self, read):
        frames = read(self.cut(hop=16))
        assert frames.starts.tolist() == list(range(0, 640, 16)) * 2
        assert frames.recordings.tolist() == [0] * 40 + [1] * 40

    def test_frames_that_do_not_are_left_alone(self, read):
        frames = read(self.cut(hop=32))
        assert (frames.starts, frames.recordings) == (None, None)

    def test_their_splits_share_no_samples(self, read):
        frames = read(self.cut(hop=16))
        parts = split_frames(frames, seed=1)
        for recording in (0, 1):
            used = [
                {s + i for s in frames.starts[part[frames.recordings[part] == recording]] for i in range(32)}
                for part in parts.values()
            ]
            assert all(used)
            assert sum(map(len, used)) == len(set.union(*used))
