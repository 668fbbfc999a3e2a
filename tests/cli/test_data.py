"""`edgeprune data`: each command's JSON, its text, and what goes wrong as one line with exit code 3."""

import json
import pickle
import shutil

import h5py
import numpy as np
import pytest
import synthetic

from edgeprune import datasets
from edgeprune.files.shipped import shipped
from edgeprune.files.store import file_sha256
from edgeprune.frames.splits import split_sha256, split_table


@pytest.fixture
def frames_npz(world):
    return world / "frames.npz"


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "recordings"
    generator = np.random.default_rng(0)
    for name in ("BPSK", "QPSK"):
        (folder / name / "10dB").mkdir(parents=True)
        for number in range(3):
            generator.normal(size=2 * 640).astype("<f4").tofile(folder / name / "10dB" / f"{number}.cf32")
    return folder


def one_line(result, code, *said):
    assert result.code == code
    lines = [line for line in result.err.splitlines() if not line.startswith((">", "  "))]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    for each in said:
        assert each in lines[0]


def shipped_cells(order):
    """The train frames of the shipped set as a pickle has them, those of each cell in some order of their time."""
    with np.load(shipped("calib_data") / "gr2016a-high" / "frames.npz") as stored:
        iq, labels, snrs = (stored[name][stored["split"] == 0] for name in ("iq", "labels", "snrs"))
        names = stored["classes"]
    return {
        (str(names[label]), int(snr)): iq[(labels == label) & (snrs == snr)][order]
        for label in np.unique(labels)
        for snr in np.unique(snrs)
    }


class TestInfo:
    def test_of_an_order_that_shows_dependence(self, run, tmp_path):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(shipped_cells(np.arange(100))))
        about = run("data", "info", tmp_path / "a.pkl", "--json", "-q").json
        assert about["order"]["p_value"] == 0.001
        assert about["order"]["correlation"] > 0.2
        (fault,) = about["found_faults"]
        assert fault.startswith("frames that follow one another resemble each other")
        assert fault.endswith("a random split puts them on both sides, which 'contiguous' does not")
        mixed = np.random.default_rng(0).permutation(100)
        (tmp_path / "b.pkl").write_bytes(pickle.dumps(shipped_cells(mixed)))
        about = run("data", "info", tmp_path / "b.pkl", "--json", "-q").json
        assert about["order"]["p_value"] > 0.001
        assert about["found_faults"] == []

    def test_of_made_frames_each_is_a_group_of_its_own(self, run, tmp_path):
        for suffix in ("h5", "npz"):
            made = tmp_path / f"made.{suffix}"
            run("data", "synth", "--recipe", "2016", "--frames-per", 20, "--snr", 10, "--out", made, "-q")
            assert datasets.read(made).groups.tolist() == list(range(220))
            about = run("data", "info", made, "--json", "-q").json
            assert (about["groups"], about["found_faults"]) == (220, [])
            assert about["order"]["p_value"] > 0.001

    def test_of_frames(self, frames_npz, run):
        about = run("data", "info", frames_npz, "--json", "-q").json
        with np.load(frames_npz) as stored:
            iq = stored["iq"].astype(float)
        size = np.hypot(iq[:, 0], iq[:, 1])
        assert (about["frames"], about["shape"], about["classes"]) == (150, [2, 32], ["BPSK", "CW", "QPSK"])
        assert about["snrs_db"] == [-4, 10]
        assert about["counts"]["CW"] == {"all": 50, "-4": 25, "10": 25}
        assert about["scale"]["mean_abs"] == pytest.approx(size.mean(), rel=1e-6)
        assert about["scale"]["rms"] == pytest.approx(np.sqrt((size**2).mean()), rel=1e-6)
        assert about["scale"]["max_abs"] == pytest.approx(size.max(), rel=1e-6)
        assert about["sha256"] == file_sha256(frames_npz)
        assert (about["known_faults"], about["found_faults"]) == ([], [])

    def test_in_words(self, frames_npz, run):
        result = run("data", "info", frames_npz, "-q")
        assert "150 frames of 2 x 32 samples, 3 classes" in result.out
        assert "CW\t50\t25\t" in result.out

    @pytest.mark.parametrize(
        ("name", "known", "fault"),
        [
            ("RML2016.10a_dict.pkl", "RadioML 2016.10A", "AM-SSB holds only noise"),
            ("RML2016.10b.dat", "RadioML 2016.10B", "labeled SNRs are not dB"),
            ("2016.04C.multisnr.pkl", "RadioML 2016.04C", "overlap by half"),
        ],
    )
    def test_knows_the_published_sets(self, tmp_path, run, name, known, fault):
        (tmp_path / name).write_bytes(pickle.dumps(synthetic.cells(per_cell=3)))
        about = run("data", "info", tmp_path / name, "--json", "-q").json
        assert about["set"] == known
        assert any(fault in each for each in about["known_faults"])
        assert "CC BY-NC-SA" in about["licence"]

    def test_finds_what_is_wrong_with_the_frames(self, tmp_path, run):
        table = synthetic.cells(per_cell=6)
        generator = np.random.default_rng(0)
        table["CW", 10] = generator.normal(size=(6, 2, 32)).astype(np.float32)
        table["BPSK", 10][3] = table["BPSK", 10][1]
        table["BPSK", -4][0] = 0
        table["QPSK", 10] = table["QPSK", 10][:4]
        signal = generator.normal(size=(2, 200))
        signal[:, 1:] += signal[:, :-1]  # not white
        table["FM", 10] = np.stack([signal[:, s : s + 32] for s in range(0, 96, 16)]).astype(np.float32)
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(table))
        found = run("data", "info", tmp_path / "a.pkl", "--json", "-q").json["found_faults"]
        assert found == [
            "1 frames are all zero, the first is frame 0",
            "1 frames are there before, the first is frame 9",
            "5 frames overlap the one before by half; they are split by spans",
            "CW is only noise even at 10 dB",
            "classes and SNRs have 4 to 6 frames each, not equally many",
            "1 of 8 pairs of class and SNR have no frames",
        ]

    def test_of_recordings(self, recordings, run):
        about = run("data", "info", recordings, "--length", 64, "--hop", 32, "--json", "-q").json
        assert (about["frames"], about["shape"], about["recordings"]) == (6 * 19, [2, 64], 6)

    def test_a_bad_file_is_skipped_only_when_asked_and_listed(self, recordings, run):
        (recordings / "QPSK" / "10dB" / "1.cf32").write_bytes(b"x" * 11)
        one_line(run("data", "info", recordings, "-q"), 3, "1.cf32 is short: 11 bytes")
        about = run("data", "info", recordings, "--skip-bad-files", "--json", "-q").json
        assert about["frames"] == 5 * 5
        assert len(about["skipped"]) == 1
        assert "1.cf32 is short" in about["skipped"][0]

    @pytest.mark.parametrize("share", [0.1, 0.6])
    def test_a_truncated_file(self, tmp_path, frames_npz, run, share):
        run("data", "convert", frames_npz, tmp_path / "a.h5", "-q")
        whole = (tmp_path / "a.h5").read_bytes()
        (tmp_path / "a.h5").write_bytes(whole[: int(share * len(whole))])
        one_line(run("data", "info", tmp_path / "a.h5", "-q"), 3, "a.h5 is truncated")

    def test_no_such_file(self, tmp_path, run):
        one_line(run("data", "info", tmp_path / "gone.h5"), 2, "no such file", "gone.h5")

    def test_its_own_split_with_a_frame_in_two_parts(self, tmp_path, run):
        iq = np.random.default_rng(0).normal(size=(6, 2, 8))
        iq[5] = iq[0]
        np.savez(tmp_path / "a.npz", iq=iq, labels=np.array(["A", "B"] * 3), split=np.array([0, 0, 1, 1, 2, 2]))
        one_line(run("data", "info", tmp_path / "a.npz", "-q"), 3, "frame 0 (train) and frame 5 (test)")

    def test_a_class_of_zeros(self, tmp_path, run):
        iq = np.random.default_rng(0).normal(size=(6, 2, 8))
        iq[1::2] = 0
        np.savez(tmp_path / "a.npz", iq=iq, labels=np.array(["A", "B"] * 3))
        one_line(run("data", "info", tmp_path / "a.npz", "-q"), 3, "all 3 frames of B are zero")


class TestConvert:
    def test_keeps_frames_and_tells_where_they_are_from(self, tmp_path, frames_npz, run):
        written = run("data", "convert", frames_npz, tmp_path / "a.h5", "--json", "-q").json
        before, after = datasets.read(frames_npz), datasets.read(tmp_path / "a.h5")
        np.testing.assert_array_equal(before.iq, after.iq)
        for name in ("labels", "snrs", "classes"):
            np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
        assert written["sha256"] == file_sha256(tmp_path / "a.h5")
        with h5py.File(tmp_path / "a.h5") as file:
            origin = json.loads(file.attrs["provenance"])
        assert origin == written["provenance"]
        assert (origin["source"], origin["source_sha256"]) == ("frames.npz", file_sha256(frames_npz))

    def test_of_recordings_keeps_which_they_were(self, tmp_path, recordings, run):
        run("data", "convert", recordings, tmp_path / "a.h5", "--length", 64, "--hop", 16, "-q")
        frames = datasets.read(tmp_path / "a.h5")
        assert len(np.unique(frames.recordings)) == 6
        assert frames.starts[:3].tolist() == [0, 16, 32]
        origin = run("data", "info", tmp_path / "a.h5", "--json", "-q").json["provenance"]
        assert origin["reading"] == {"length": 64, "hop": 16, "skip_bad_files": False}

    def test_copies_are_dropped_when_asked(self, tmp_path, run):
        iq = np.random.default_rng(0).normal(size=(6, 2, 8)).astype(np.float32)
        iq[5] = iq[0]
        np.savez(tmp_path / "a.npz", iq=iq, labels=np.array(["A", "B"] * 3))
        written = run(
            "data", "convert", tmp_path / "a.npz", tmp_path / "b.h5", "--drop-duplicates", "--json", "-q"
        ).json
        assert (written["frames"], written["provenance"]["dropped_duplicates"]) == (5, 1)
        np.testing.assert_array_equal(datasets.read(tmp_path / "b.h5").iq, iq[:5])

    def test_a_file_that_fails_leaves_nothing(self, tmp_path, run):
        iq = np.random.default_rng(0).normal(size=(6, 8, 2)).astype(np.float32)
        iq[4, 0, 0] = np.inf
        with h5py.File(tmp_path / "gold.h5", "w") as file:
            file["X"], file["Y"], file["Z"] = iq, np.eye(24, dtype=int)[:6], np.zeros((6, 1), int)
        one_line(run("data", "convert", tmp_path / "gold.h5", tmp_path / "b.h5", "-q"), 3, "the first is frame 4")
        assert [file.name for file in tmp_path.iterdir()] == ["gold.h5"]

    def test_another_suffix(self, tmp_path, frames_npz, run):
        one_line(run("data", "convert", frames_npz, tmp_path / "b.csv", "-q"), 2, "b.csv is not called .h5 or .hdf5")


class TestSynth:
    @pytest.mark.parametrize("suffix", ["npz", "pkl", "h5"])
    def test_every_format_holds_the_same_frames(self, tmp_path, run, suffix):
        arguments = ("--recipe", "2016", "--frames-per", 4, "--snr=-4,10", "--seed", 3, "--json", "-q")
        made = run("data", "synth", *arguments, "--out", tmp_path / f"a.{suffix}").json
        assert (made["frames"], made["snrs_db"]) == (88, [-4, 10])
        frames = datasets.read(tmp_path / f"a.{suffix}")
        run("data", "synth", *arguments, "--workers", 3, "--out", tmp_path / "b.npz")
        with np.load(tmp_path / "b.npz") as stored:
            np.testing.assert_array_equal(frames.iq, stored["iq"])
            assert [frames.classes[label] for label in frames.labels] == stored["classes"][stored["labels"]].tolist()
        assert set(frames.snrs) == {-4, 10}

    def test_the_pickle_is_laid_out_as_radiomls(self, tmp_path, run):
        run("data", "synth", "--recipe", "2016", "--frames-per", 2, "--snr", "0:4:2", "--out", tmp_path / "a.pkl", "-q")
        table = pickle.loads((tmp_path / "a.pkl").read_bytes())
        assert sorted({snr for _, snr in table}) == [0, 2, 4]
        assert {name for name, _ in table} == set(datasets.read(tmp_path / "a.pkl").classes)
        assert {(iq.shape, iq.dtype.name) for iq in table.values()} == {((2, 2, 128), "float32")}

    @pytest.mark.parametrize("snr", ["ten", "0:4", "4:0:2", "999", "0:4:0"])
    def test_an_snr_that_is_none(self, tmp_path, run, snr):
        assert run("data", "synth", "--recipe", "2016", "--snr", snr, "--out", tmp_path / "a.h5").code == 2

    def test_a_format_that_is_not_written(self, tmp_path, run):
        result = run("data", "synth", "--recipe", "2016", "--frames-per", 1, "--out", tmp_path / "a.mat", "-q")
        one_line(result, 2, "frames are not written to .mat")
        assert list(tmp_path.iterdir()) == []


class TestCalib:
    def chosen(self, folder):
        with np.load(folder / "frames.npz") as stored:
            return dict(stored)

    @pytest.mark.parametrize("strategy", ["random", "stratified", "high-snr"])
    def test_stores_train_frames_with_a_manifest(self, tmp_path, frames_npz, run, strategy):
        out = tmp_path / "calib"
        manifest = run(
            "data", "calib", frames_npz, "--size", 24, "--strategy", strategy, "--out", out, "--json", "-q"
        ).json
        assert json.loads((out / "manifest.json").read_text()) == manifest
        assert manifest["sha256"] == file_sha256(out / "frames.npz")
        assert manifest["source"]["sha256"] == file_sha256(frames_npz)
        frames, stored = datasets.read(frames_npz), self.chosen(out)
        with datasets.opened(frames_npz) as source:
            parts = split_table(source.table, 2016)
        assert manifest["source"]["split_sha256"] == split_sha256(parts)
        assert set(stored["source_index"]) <= set(parts["train"])
        np.testing.assert_array_equal(stored["iq"], frames.iq[stored["source_index"]])
        np.testing.assert_array_equal(stored["labels"], frames.labels[stored["source_index"]])
        assert sum(manifest["frames_per_class"].values()) == len(stored["iq"]) == 24
        if strategy != "random":
            assert set(manifest["frames_per_class"].values()) == {8}
        assert set(stored["snrs"]) == ({10} if strategy == "high-snr" else {-4, 10})

    def test_can_be_read_as_data(self, tmp_path, frames_npz, run):
        run("data", "calib", frames_npz, "--size", 24, "--out", tmp_path / "calib", "-q")
        assert run("data", "info", tmp_path / "calib" / "frames.npz", "--json", "-q").json["frames"] == 24

    def test_by_entropy_of_a_model(self, tmp_path, world, frames_npz, run):
        from edgeprune.network import checkpoint
        from edgeprune.tasks.data.choose import entropy_of
        from edgeprune.train.evaluate import predict

        out, model = tmp_path / "calib", world / "model.pt"
        arguments = ("--size", 6, "--strategy", "entropy", "--model", model, "--out", out, "--json", "-q")
        manifest = run("data", "calib", frames_npz, *arguments).json
        assert manifest["model_sha256"] == file_sha256(model)
        frames, stored, loaded = datasets.read(frames_npz), self.chosen(out), checkpoint.load(model)
        with datasets.opened(frames_npz) as source:
            train = split_table(source.table, 2016)["train"]
        entropy = entropy_of(predict(loaded.model, frames.iq, loaded.input, synthetic.Silent(), ""))
        for label in range(3):
            best = sorted(entropy[train[frames.labels[train] == label]], reverse=True)[:2]
            mine = sorted(entropy[[i for i in stored["source_index"] if frames.labels[i] == label]], reverse=True)
            assert mine == pytest.approx(best, rel=1e-4)

    def test_a_choice_without_a_class(self, tmp_path, frames_npz, run):
        result = run("data", "calib", frames_npz, "--size", 2, "--strategy", "random", "--out", tmp_path / "c", "-q")
        one_line(result, 3, "the 2 frames chosen by 'random' hold none of")
        assert not (tmp_path / "c").exists()

    def test_data_without_a_class(self, tmp_path, run):
        iq = np.random.default_rng(0).normal(size=(20, 2, 8))
        np.savez(tmp_path / "a.npz", iq=iq, labels=np.arange(20) % 2, classes=np.array(["A", "B", "C"]))
        result = run("data", "calib", tmp_path / "a.npz", "--size", 4, "--out", tmp_path / "c", "-q")
        one_line(result, 3, "hold none of C")

    @pytest.mark.parametrize("arguments", [("--strategy", "entropy"), ("--strategy", "random", "--model", "m.pt")])
    def test_a_model_is_for_entropy(self, tmp_path, frames_npz, run, arguments):
        result = run("data", "calib", frames_npz, "--size", 4, *arguments, "--out", tmp_path / "c", "-q")
        one_line(result, 2, "--strategy entropy takes a --model")

    def test_more_than_there_are(self, tmp_path, frames_npz, run):
        result = run("data", "calib", frames_npz, "--size", 500, "--out", tmp_path / "c", "-q")
        one_line(result, 2, "has 108 train frames for 'stratified', 500 are requested")

    def test_an_unknown_split(self, tmp_path, frames_npz, run):
        result = run("data", "calib", frames_npz, "--size", 4, "--split", "itu", "--out", tmp_path / "c", "-q")
        one_line(result, 2, "no split is named 'itu'")


def test_a_set_may_be_moved(tmp_path, frames_npz, run):
    """What identifies a set is in its files, not where they are."""
    shutil.copy(frames_npz, tmp_path / "moved.npz")
    first, second = (run("data", "info", path, "--json", "-q").json for path in (frames_npz, tmp_path / "moved.npz"))
    assert first["sha256"] == second["sha256"]
