"""What int8 is calibrated on and what a device is sent, of frames in memory and of frames in a file."""

import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic

from edgeprune import targets
from edgeprune.datasets import StoredSamples
from edgeprune.errors import DataError
from edgeprune.network import checkpoint as checkpoints
from edgeprune.records.device_run import frames_file
from edgeprune.records.frames import Reading
from edgeprune.tasks import precision
from edgeprune.tasks.data.convert import convert
from edgeprune.tasks.data.frames import frames_for
from edgeprune.tasks.data.reading import ReadOptions
from edgeprune.tasks.device import pack
from edgeprune.tasks.device.pack import HOST, DeviceOptions, ModelFiles, assign
from edgeprune.tasks.export import export_checked
from edgeprune.tasks.precision import PrecisionOptions, calibration


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lowering")
    frames = synthetic.frames_of(synthetic.cells())
    np.savez(folder / "frames.npz", iq=frames.iq, labels=frames.labels, classes=np.array(frames.classes))
    convert(folder / "frames.npz", folder / "frames.h5", Reading(), False, synthetic.Silent())
    return folder / "frames.h5"


@pytest.fixture(scope="module")
def model():
    return replace(synthetic.checkpoint("ulcnn"), classes=synthetic.CLASSES)


@pytest.fixture
def parts(path, model):
    """The frames in memory and the same in their file."""
    return [frames_for(model, path, ReadOptions(stream=stream)) for stream in (False, True)]


@pytest.fixture(scope="module")
def files(path, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    saved = checkpoints.save(folder / "model.pt", model)
    onnx, target = folder / "model.onnx", targets.get("arm64-linux")
    export_checked(saved, frames_for(saved, path), target, onnx, PrecisionOptions(), 1, synthetic.Silent())
    return {role: ModelFiles(onnx, onnx) for role in ("baseline", "pruned")}


class TestCalibration:
    def test_frames_in_a_file_are_chosen_as_those_in_memory(self, parts, model, monkeypatch):
        monkeypatch.setattr(precision, "CALIBRATION_FRAMES", 24)
        here, there = (calibration(PrecisionOptions("int8"), model, each) for each in parts)
        assert isinstance(there.iq, np.ndarray)
        np.testing.assert_array_equal(here.iq, there.iq)
        assert here.sha256 == there.sha256
        assert len(here.iq) == 24

    def test_frames_of_the_test_split_in_a_file_do_not_calibrate(self, parts, model, tmp_path):
        test = parts[1]["test"]
        np.savez(tmp_path / "own.npz", iq=test.iq[:], labels=test.labels, classes=np.array(test.classes))
        with pytest.raises(DataError, match=f"holds {len(test)} frames of the test split, the first is frame 0"):
            calibration(PrecisionOptions("int8", calibration=tmp_path / "own.npz"), model, parts[1])


class TestBundle:
    """A device answers to all test frames in memory, and to some of those in a file."""

    def sent(self, frames, files, folder: Path):
        """Frames in the bundle as they are sent, and the labels kept for them."""
        packed = assign(targets.get("arm64-linux"), "fp32", files, frames, DeviceOptions(), folder, synthetic.Silent())
        with tarfile.open(folder / "bundle.tar") as tar:
            chunk = tar.extractfile(f"{packed.folder}/{frames_file(0)}").read()
        with np.load(folder / HOST) as host:
            labels, answers = host["labels"], host["answers_pruned"]
        assert len(answers) == len(labels)
        return np.frombuffer(chunk, np.float32).reshape(-1, 2, synthetic.LENGTH)[: len(labels)], labels

    def test_of_frames_in_a_file_some_are_sent(self, parts, files, tmp_path, monkeypatch):
        monkeypatch.setattr(pack, "STORED_FRAMES", 12)
        read = []
        original = StoredSamples.__getitem__

        def counted(self, rows):
            found = original(self, rows)
            read.append(len(found) if isinstance(found, np.ndarray) else 0)
            return found

        monkeypatch.setattr(StoredSamples, "__getitem__", counted)
        iq, labels = self.sent(parts[1]["test"], files, tmp_path)
        assert sum(read) == len(labels) == 12
        monkeypatch.undo()
        whole = parts[0]["test"]
        places = [int(np.flatnonzero((whole.iq == frame).all(axis=(1, 2)))[0]) for frame in iq]
        assert sorted(places) == list(np.linspace(0, len(whole) - 1, 12).round().astype(int))
        np.testing.assert_array_equal(whole.labels[places], labels)

    def test_all_in_memory_are_sent(self, parts, files, tmp_path, monkeypatch):
        monkeypatch.setattr(pack, "STORED_FRAMES", 12)
        iq, labels = self.sent(parts[0]["test"], files, tmp_path)
        np.testing.assert_array_equal(iq, parts[0]["test"].iq)
        np.testing.assert_array_equal(labels, parts[0]["test"].labels)
