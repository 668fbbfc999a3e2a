"""`eval` without --data reads what the model was trained on, and reads it once."""

from dataclasses import replace

import numpy as np
import onnx.helper
import onnx.parser
import pytest
import synthetic

from edgeprune import datasets
from edgeprune.datasets import _source, arrays
from edgeprune.errors import ConfigError, DataError, ModelError
from edgeprune.files.store import file_sha256
from edgeprune.records.frames import DataRef, Reading
from edgeprune.tasks import evaluate
from edgeprune.tasks.data import frames as inputs
from edgeprune.tasks.data.convert import convert
from edgeprune.tasks.data.reading import ReadOverrides
from edgeprune.tasks.evaluate import evaluate_checkpoint


@pytest.fixture
def npz(tmp_path):
    frames = synthetic.frames_of(synthetic.cells())
    path = tmp_path / "frames.npz"
    np.savez(path, iq=frames.iq, labels=frames.labels, classes=np.array(frames.classes), snrs=frames.snrs)
    return path


@pytest.fixture
def h5(npz, tmp_path, silent):
    path = tmp_path / "frames.h5"
    convert(npz, path, Reading(), False, silent)
    return path


@pytest.fixture
def hashed(monkeypatch):
    """The files that were hashed."""
    found = []

    def counted(path):
        found.append(path)
        return file_sha256(path)

    for module in (_source, arrays, datasets):
        monkeypatch.setattr(module, "file_sha256", counted)
    return found


def trained_on(path, sha256=None, reading=None):
    reference = DataRef(str(path), sha256 or file_sha256(path), 2016, reading=reading)
    return replace(synthetic.checkpoint(), classes=synthetic.CLASSES, data=reference)


@pytest.mark.parametrize("which", ["npz", "h5"])
def test_the_file_is_hashed_once(which, request, hashed, silent):
    path = request.getfixturevalue(which)
    model = trained_on(path)
    hashed.clear()
    found, used = evaluate_checkpoint(model, None, ReadOverrides(), "test", silent)
    assert hashed == [path]
    given, _ = evaluate_checkpoint(model, path, ReadOverrides(), "test", silent)
    assert found == given
    assert (used.source, used.sha256) == (str(path), file_sha256(path))


def test_a_file_that_changed_is_not_taken(npz, silent):
    with pytest.raises(ConfigError, match="no data were given"):
        evaluate_checkpoint(trained_on(npz, sha256="0" * 64), None, ReadOverrides(), "test", silent)
    model = trained_on(npz)
    npz.write_bytes(b"other")
    with pytest.raises(ConfigError, match="no data were given"):
        evaluate_checkpoint(model, None, ReadOverrides(), "test", silent)


def test_what_cannot_be_read_as_asked_is_said_and_not_replaced(tmp_path, silent):
    for name in synthetic.CLASSES:
        (tmp_path / "set" / name).mkdir(parents=True)
        np.ones((64, 2), np.float32).tofile(tmp_path / "set" / name / "a.cf32")
    sha256 = datasets.read(tmp_path / "set", Reading(32)).sha256
    model = trained_on(tmp_path / "set", sha256=sha256, reading=Reading(32))
    with pytest.raises(DataError, match="none of 3 stretches is as long as a frame of 65"):
        evaluate_checkpoint(model, None, ReadOverrides(reading={"length": 65}), "test", silent)


def test_a_model_that_names_no_data_takes_a_shipped_set(silent, monkeypatch, npz):
    monkeypatch.setattr(inputs, "_shipped_for", lambda _model: npz)
    model = replace(trained_on(npz), data=None)
    _, used = evaluate.evaluate_checkpoint(model, None, ReadOverrides(), "test", silent)
    assert used.source == str(npz)


GRAPH = """<ir_version: 8, opset_import: ["" : 16]>
g (float[N,2,32] iq) => (float[N,64] logits) { logits = Flatten(iq) }"""
ABOUT = {"classes": '["BPSK", "CW", "QPSK"]', "split_seed": "7"}


@pytest.mark.parametrize(
    ("about", "kind", "words"),
    [
        ({"classes": "BPSK, CW"}, ModelError, "line 1, column 1"),
        ({"classes": "[" * 5000}, ModelError, "nested"),
        ({"classes": "3"}, ConfigError, "classes"),
        ({"classes": '["BPSK", 4]'}, ConfigError, "classes.1"),
        ({"classes": f'["{"A" * 300}"]'}, DataError, "of 300 letters"),
        ({"split_seed": "seven"}, ModelError, "line 1"),
        ({"split_seed": str(10**30)}, ModelError, "64 bits"),
        ({"split": "by hand"}, ConfigError, "no split is named 'by hand'"),
        ({"reading": "{"}, ModelError, "line 1"),
        ({"reading": '{"length": "long"}'}, ConfigError, "reading.length"),
        ({}, ModelError, "names 3 classes and has outputs of shape (64,)"),
    ],
)
def test_what_an_onnx_file_says_of_itself_is_checked(about, kind, words, npz, tmp_path, silent):
    model = onnx.parser.parse_model(GRAPH)
    onnx.helper.set_model_props(model, {**ABOUT, **about})
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(kind) as caught:
        evaluate.evaluate_onnx(tmp_path / "a.onnx", npz, ReadOverrides(), "test", silent)
    assert words in str(caught.value)
