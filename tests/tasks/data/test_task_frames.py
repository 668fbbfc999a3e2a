from dataclasses import replace

import h5py
import numpy as np
import pytest
import synthetic

from edgeprune import datasets
from edgeprune.errors import ConfigError, DataError
from edgeprune.files.store import file_sha256
from edgeprune.frames.splits import split_sha256, split_table
from edgeprune.records.frames import DataRef, Reading
from edgeprune.tasks import plan
from edgeprune.tasks.data import frames as inputs
from edgeprune.tasks.data import reading
from edgeprune.tasks.data.frames import at_most, find_data, frames_for, in_memory, splits_of, spread, stored
from edgeprune.tasks.data.reading import ReadOptions, ReadOverrides, data_ref, handling_of

STREAMED = ReadOptions(stream=True)


def write(path, iq=None, **arrays):
    """Frames of the three classes as another program would write them."""
    frames = synthetic.frames_of(synthetic.cells())
    with h5py.File(path, "w") as file:
        file["iq"] = frames.iq if iq is None else iq
        file["labels"], file["snrs"] = frames.labels, frames.snrs
        file.create_dataset("classes", data=list(frames.classes), dtype=h5py.string_dtype())
        for name, values in arrays.items():
            file[name] = values
    return path


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "frames.h5")


@pytest.fixture
def model():
    return replace(synthetic.checkpoint(), classes=synthetic.CLASSES)


def loaded(path, stays=True):
    return datasets.read_or_keep(path, None, lambda _table: stays)


class TestSplits:
    @pytest.mark.parametrize("method", ["auto", "stratified", "authors-800-200"])
    def test_frames_in_a_file_are_split_as_those_in_memory(self, path, method):
        few, many = (splits_of(loaded(path, stays), 7, method) for stays in (True, False))
        for name, part in many.items():
            assert stored(few[name])
            assert not stored(part)
            np.testing.assert_array_equal(few[name].iq[:], part.iq)
            np.testing.assert_array_equal(few[name].labels, part.labels)
            assert few[name].split_sha256 == part.split_sha256

    def test_the_hash_is_of_the_places_of_the_frames(self, frames):
        expected = split_sha256(split_table(inputs.table_of(frames), 7))
        assert {part.split_sha256 for part in splits_of(frames, 7).values()} == {expected}
        assert splits_of(frames, 8)["test"].split_sha256 != expected

    @pytest.mark.parametrize("stays", [True, False])
    def test_a_frame_in_two_parts_is_refused_wherever_it_is(self, tmp_path, stays):
        iq = synthetic.frames_of(synthetic.cells()).iq
        iq[3] = iq[0]
        place = np.zeros(len(iq), dtype=np.int8)
        place[3], place[5:10] = 2, 1
        frames = loaded(write(tmp_path / "twice.h5", iq, split=place), stays)
        with pytest.raises(DataError, match=r"1 frames are in two splits.*frame 0 \(train\) and frame 3 \(test\)"):
            splits_of(frames, 0)

    def test_a_silent_class_is_found_in_a_file_too(self, tmp_path):
        frames = synthetic.frames_of(synthetic.cells())
        iq = np.where((frames.labels == 1)[:, None, None], 0, frames.iq)
        with pytest.raises(DataError, match="all 50 frames of CW are zero"):
            splits_of(loaded(write(tmp_path / "silent.h5", iq)), 0)

    def test_a_split_that_was_looked_at_is_not_read_again(self, path, monkeypatch):
        known = splits_of(loaded(path), 7)["train"].split_sha256
        monkeypatch.setattr(inputs, "_prints", lambda _frames: pytest.fail("read again"))
        parts = splits_of(loaded(path), 7, known=known)
        assert sum(map(len, parts.values())) == 150

    def test_a_method_that_does_not_exist_is_named(self, frames):
        with pytest.raises(ConfigError, match="strat"):
            splits_of(frames, 0, "strat")


class TestHandling:
    def test_frames_larger_than_a_third_of_the_memory_stay_in_their_file(self, path, monkeypatch):
        with datasets.opened(path) as source:
            size = 4 * 150 * 2 * synthetic.LENGTH
            monkeypatch.setattr(reading, "available_bytes", lambda: 3 * size)
            assert not ReadOptions().stays(source.table)
            monkeypatch.setattr(reading, "available_bytes", lambda: 3 * size - 1)
            assert ReadOptions().stays(source.table)
            assert not ReadOptions(stream=False).stays(source.table)

    def test_it_is_as_in_training_but_for_what_is_asked(self, model):
        cut = Reading(32, hop=8, sample_rate_hz=1e6)
        trained = replace(model, data=DataRef("a", "0" * 64, 5, "spans", "1" * 64, cut))
        assert handling_of(trained) == ReadOptions(5, "spans", cut, None, "1" * 64)
        asked = handling_of(trained, ReadOverrides("recordings", {"hop": 16}, stream=True))
        assert asked == ReadOptions(5, "recordings", Reading(32, 16, 1e6), True, "1" * 64)

    def test_recordings_are_cut_to_the_length_of_a_model_that_says_nothing(self, model):
        assert handling_of(model).reading == Reading(length=synthetic.LENGTH)
        assert handling_of(model).seed == 2016

    def test_how_recordings_are_cut_is_kept_of_recordings_alone(self, frames):
        part = splits_of(frames, 3)["train"]
        way = ReadOptions(3, "auto", Reading(32))
        assert data_ref("x", part, way) == DataRef("x", part.sha256, 3, "auto", part.split_sha256)
        cut = replace(part, recordings=np.zeros(len(part), dtype=np.int64))
        assert data_ref("x", cut, way).reading == Reading(32)


class TestFramesFor:
    def test_they_are_split_as_the_model_says(self, path, model):
        trained = replace(model, data=DataRef(str(path), file_sha256(path), 2016, "authors-800-200"))
        found = frames_for(trained, path)
        expected = splits_of(datasets.read(path), 2016, "authors-800-200")
        for name, part in expected.items():
            np.testing.assert_array_equal(found[name].iq, part.iq)
        assert found["test"].split_sha256 != frames_for(model, path)["test"].split_sha256

    def test_frames_in_a_file_are_fitted_alike(self, path, model):
        backwards = replace(model, classes=("QPSK", "CW", "BPSK"))
        few, many = frames_for(backwards, path, STREAMED), frames_for(backwards, path)
        np.testing.assert_array_equal(few["test"].labels, many["test"].labels)

    def test_few_to_train_on_stay_in_the_file_and_are_spread_over_it(self, path, model):
        parts = frames_for(model, path, STREAMED)
        few = at_most(parts, 12)["train"]
        assert stored(few)
        assert len(few) == 12
        places = np.linspace(0, len(parts["train"]) - 1, 12).round().astype(int)
        np.testing.assert_array_equal(few.iq[:], parts["train"].iq[:][places])
        assert at_most(parts, None) is parts

    def test_frames_that_are_spread_are_in_memory_and_the_same(self, path, model):
        few, many = frames_for(model, path, STREAMED)["train"], frames_for(model, path)["train"]
        np.testing.assert_array_equal(spread(few, 20, 1).iq, spread(many, 20, 1).iq)
        assert in_memory(many, 3, 0) is many
        assert len(in_memory(few, 3, 0)) == 3


class TestFindData:
    def test_a_folder_that_is_as_it_was_is_found(self, tmp_path, model):
        folder = tmp_path / "set"
        for name in synthetic.CLASSES:
            (folder / name).mkdir(parents=True)
            samples = np.random.default_rng(len(name)).standard_normal((400, 2)).astype(np.float32)
            samples.tofile(folder / name / "a.cf32")
        sha256 = datasets.read(folder, Reading(32)).sha256
        trained = replace(model, data=DataRef(str(folder), sha256, 1, reading=Reading(32)))
        assert find_data(trained, None) == folder
        (folder / "CW" / "a.cf32").write_bytes(b"\0" * 800)
        with pytest.raises(ConfigError, match="no data were given"):
            find_data(trained, None)

    def test_a_file_is_found_until_it_changes_or_goes(self, path, model):
        trained = replace(model, data=DataRef(str(path), file_sha256(path), 1))
        assert find_data(trained, None) == path
        path.write_bytes(b"other")
        with pytest.raises(ConfigError, match="no data were given"):
            find_data(trained, None)
        path.unlink()
        with pytest.raises(ConfigError, match="no data were given"):
            find_data(trained, None)


def test_a_criterion_is_given_frames_in_memory(path, model, silent):
    chain = synthetic.chain("resnet56-1d", synthetic.LENGTH, len(synthetic.CLASSES))
    subjects = [
        plan.subject(model, chain, frames_for(model, path, way), plan.PlanSettings(), silent)
        for way in (STREAMED, None)
    ]
    few, many = ({frame.numpy().tobytes() for frame in subject.train.iq} for subject in subjects)
    assert few == many  # as the file holds fewer than a criterion is given
