"""Plug-ins of the running program."""

import numpy as np
import pytest
import torch

import edgeprune as ep
from edgeprune import datasets, registry
from edgeprune.tasks.bench.process import elsewhere

DEEPEST = """
class Deepest:
    def scores(self, subject):
        return {index: float(index) for index in subject.chain.droppable}

criterion = Deepest()
"""


class Dot:
    """Similarity as the inner product of flattened, scaled mean activations."""

    def summarise(self, activations):
        return torch.nn.functional.normalize(activations.flatten(1).mean(0), dim=0)[:8]

    def products(self, summaries):
        stacked = torch.stack([torch.nn.functional.pad(each, (0, 8 - len(each))) for each in summaries]).double()
        return stacked @ stacked.T

    def finish(self, products):
        scale = products.diagonal().sqrt()
        return products / scale.outer(scale)


class Halves:
    """Frames of a file of its own: eight bytes of numbers a sample."""

    suffixes = (".halves",)

    def read(self, path):
        iq = np.fromfile(path, np.float32).reshape(-1, 2, 16)
        return ep.wrap_frames(iq, np.arange(len(iq)) % 2, classes=["a", "b"], name=path.name)


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    """Leave no plug-in of a test behind."""
    monkeypatch.setattr(registry, "_registered", {kind: {} for kind in registry._SHAPES})
    monkeypatch.setattr(registry, "_files_of", {})


def test_a_criterion_from_a_file_chooses(model, frames, tmp_path):
    file = tmp_path / "deepest_first.py"
    file.write_text(DEEPEST)
    assert ep.register(file) == "deepest-first"
    assert "deepest-first" in registry.names("criteria")
    plan = ep.plan(model, frames, keep=len(ep.units(model)) - 1, segments=1, criterion="deepest-first")
    assert plan.dropped == (min(plan.chain.droppable),)
    assert plan.plan.criterion == "deepest-first"


def test_a_metric_from_a_notebook_compares(model, frames):
    ep.register(Dot(), "dot")
    plan = ep.plan(model, frames, keep_ratio=0.5, metric="dot")
    matrix = np.array(plan.similarity.matrix)
    assert plan.similarity.metric == "dot"
    assert np.allclose(matrix, matrix.T)
    assert np.allclose(np.diag(matrix), 1)


def test_a_data_format_is_found_by_its_suffix(tmp_path):
    iq = np.random.default_rng(0).standard_normal((4, 2, 16)).astype(np.float32)
    iq.tofile(tmp_path / "x.halves")
    with pytest.raises(ep.DataError, match="no data set format is known"):
        ep.read_frames(tmp_path / "x.halves")
    ep.register(Halves(), "halves")
    assert np.array_equal(ep.read_frames(tmp_path / "x.halves").iq, iq)


def test_ones_own_format_comes_before_those_that_share_its_suffix(tmp_path):
    own = Halves()
    own.suffixes = (".npy",)
    ep.register(own, "mine")
    (tmp_path / "x.npy").write_bytes(np.zeros((1, 2, 16), np.float32).tobytes())
    assert datasets.format_of(tmp_path / "x.npy") == "mine"


def test_a_cell_may_be_run_again_but_no_name_is_taken_from_others():
    ep.register(Dot(), "dot")
    second = Dot()
    ep.register(second, "dot")
    assert registry.get("similarity", "dot") is second
    with pytest.raises(ep.ConfigError, match="there is a similarity metric named 'cosine' already"):
        ep.register(Dot(), "cosine")


@pytest.mark.parametrize(
    ("plugin", "name", "said"),
    [
        (object(), "x", "a object is no plug-in"),
        (Dot, "dot", "Dot is a class, not a plug-in. Register an object: Dot()"),
        (Dot(), None, "None cannot name a similarity metric"),
        (Dot(), "Dot product", "'Dot product' cannot name a similarity metric"),
        ("nowhere.py", None, "no such file"),
    ],
)
def test_what_is_no_plugin_is_refused(plugin, name, said):
    with pytest.raises(ep.ConfigError) as caught:
        ep.register(plugin, name)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise ValueError('no')", "cannot be run: no"),
        ("x = 1", "holds 0 plug-ins"),
        (DEEPEST + "\nmetric = criterion", "holds 2 plug-ins"),
    ],
)
def test_a_file_that_holds_no_plugin_is_refused(tmp_path, text, said):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ep.ConfigError) as caught:
        ep.register(tmp_path / "mine.py")
    assert said in str(caught.value)


RUNTIME = """
from contextlib import contextmanager
import numpy as np

class Sleepless:
    name = "sleepless"
    mode = "nothing"
    def facts(self):
        return {"runtime": "sleepless"}
    @contextmanager
    def open(self, model, threads):
        yield self
    frame_shape = (2, 16)
    metadata = {}
    def time(self, iq, count):
        return np.full(count, 0.25)

runtime = Sleepless()
"""


def test_a_runtime_from_a_file_measures_in_other_processes(tmp_path):
    from edgeprune.bench.protocol import BenchSettings

    (tmp_path / "sleepless.py").write_text(RUNTIME)
    ep.register(tmp_path / "sleepless.py")
    assert not registry.in_this_process_only("runtimes", "sleepless")
    (tmp_path / "a.onnx").write_bytes(b"")
    settings = BenchSettings("fp32", 1, 1, 6, 1.0, 0.0, 2)
    batch = np.zeros((1, 2, 16), np.float32)
    found = elsewhere("sleepless")({"baseline": tmp_path / "a.onnx"}, batch, settings, range(3))
    assert len(found.rounds["baseline"]) == 3
    assert {float(ms) for times in found.rounds["baseline"] for ms in times} == {0.25}


def test_a_runtime_that_is_an_object_is_known_to_this_process_alone(tmp_path):
    space = {}
    exec(RUNTIME, space)
    assert ep.register(space["runtime"]) == "sleepless"
    assert registry.in_this_process_only("runtimes", "sleepless")
