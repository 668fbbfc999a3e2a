"""The [data] of a grid: frames are read and split as `edgeprune train` reads and splits them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import synthetic

from edgeprune import datasets
from edgeprune.compare.cell.settings import changed_reading, frame_limits, overrides_of
from edgeprune.compare.cell.work import CellWork
from edgeprune.compare.grid.grid import Training
from edgeprune.compare.grid.read import parse
from edgeprune.compare.run import compare
from edgeprune.compare.workers import Workers
from edgeprune.compare.worklist import worklist_of
from edgeprune.errors import ConfigError, DataError
from edgeprune.network.model_file import ModelOptions
from edgeprune.records.frames import Reading
from edgeprune.tasks.data.convert import convert
from edgeprune.tasks.data.frames import splits_of, stored


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """A folder of a recording of each class at each of two SNRs, 40 frames of 32 samples, and one that is broken."""
    folder = tmp_path_factory.mktemp("compared") / "recordings"
    for place, name in enumerate(synthetic.CLASSES):
        (folder / name).mkdir(parents=True)
        for snr in synthetic.SNRS:
            samples = np.random.default_rng([place, snr + 100]).standard_normal((40 * 32, 2)).astype(np.float32)
            samples.tofile(folder / name / f"{snr}dB.cf32")
    (folder / "CW" / "10dB_broken.cf32").write_bytes(b"odd")
    return folder


@pytest.fixture(scope="session")
def frames_h5(place, tmp_path_factory):
    path = tmp_path_factory.mktemp("compared") / "frames.h5"
    convert(place / "frames.npz", path, Reading(), False, synthetic.Silent())
    return path


def grid_of(place, *, models=(), data=None, **more):
    plain = {
        **({"models": [str(each) for each in models], "methods": ["train-on"]} if models else {"networks": ["ulcnn"]}),
        "training": {"epochs": 1, "batch_size": 16},
        "bench": {"target": str(place / "quick-cpu.toml"), "rounds": 6, "round_ms": 1.0},
        **({} if data is None else {"data": data}),
        **more,
    }
    return parse(plain, "grid.toml", place)


def work_of(grid, out: Path):
    return [CellWork(job, synthetic.Silent()) for job in worklist_of(grid, out, ModelOptions()).jobs]


def test_recordings_are_cut_and_split_as_the_grid_says(recordings, place, tmp_path):
    cut = {"path": [str(recordings)], "length": 32, "hop": 16, "skip_bad_files": True, "split_seed": 7}
    (shop,) = work_of(grid_of(place, data=cut | {"split": "spans"}), tmp_path)
    expected = splits_of(datasets.read(recordings, Reading(32, 16, skip_bad_files=True)), 7, "spans")
    for name, part in expected.items():
        np.testing.assert_array_equal(shop.parts[name].iq, part.iq)
        np.testing.assert_array_equal(shop.parts[name].labels, part.labels)
    assert shop.parts["test"].split_sha256 == expected["test"].split_sha256


def test_a_broken_recording_is_refused_unless_it_may_be_left_out(recordings, place, tmp_path):
    with pytest.raises(DataError, match="10dB_broken"):
        work_of(grid_of(place, data={"path": [str(recordings)], "length": 32}), tmp_path)


def test_frames_may_stay_in_their_file(frames_h5, place, tmp_path):
    grids = [
        grid_of(place, models=[place / "net.pt"], data={"path": [str(frames_h5)], "stream": stream})
        for stream in (True, False)
    ]
    (there,), (here,) = (work_of(grid, tmp_path) for grid in grids)
    assert stored(there.parts["train"])
    assert not stored(here.parts["train"])
    for name, part in here.parts.items():
        np.testing.assert_array_equal(there.parts[name].iq[:], part.iq)
    assert there.job.checked == here.parts["test"].split_sha256


def test_a_split_that_is_asked_for_holds_for_models_too(place, tmp_path):
    data = {"path": [str(place / "frames.npz")], "split": "authors-800-200"}
    (shop,) = work_of(grid_of(place, models=[place / "net.pt"], data=data), tmp_path)
    expected = splits_of(datasets.read(place / "frames.npz"), 2016, "authors-800-200")
    assert shop.parts["test"].split_sha256 == expected["test"].split_sha256


@pytest.mark.usefixtures("exported_as_placeholders")
def test_a_streamed_comparison_runs_through(frames_h5, place, tmp_path):
    grid = grid_of(place, data={"path": [str(frames_h5)], "stream": True})
    found = compare(grid, tmp_path, ModelOptions(), Workers(workers=0), "edgeprune compare", synthetic.Silent())
    assert [each.id for each in found.cells] == ["ulcnn--frames--trained--s0"]
    assert found.failed == ()
    assert found.grid["data"] == {"path": ["frames.h5"], "stream": True}
    assert {each.frames for each in found.cells} == {30}


def test_what_is_not_asked_for_leaves_finished_cells_as_they_are(place):
    """Cells are found again by a hash of what they were made from."""

    def job(**data):
        return SimpleNamespace(
            overrides=overrides_of(grid_of(place, data=data).data), test_frames=data.get("test_frames")
        )

    assert changed_reading(job(stream=True)) == []
    assert changed_reading(job(hop=16)) == [None, {"hop": 16}]
    assert changed_reading(job(test_frames=5)) == [{"test": 5}]
    assert frame_limits(Training(frames=9)) == 9
    assert frame_limits(Training(frames=9, validation_frames=3)) == [9, 3]


def test_a_split_that_does_not_exist_is_named_with_those_known(place):
    with pytest.raises(ConfigError, match="no split is named 'startified'") as caught:
        grid_of(place, data={"split": "startified"})
    assert "Did you mean 'stratified'?" in caught.value.hint
