"""Timing networks for real: what is kept of it, and that it is not done twice."""

import functools
import json
from dataclasses import replace

import pytest
import synthetic

from edgeprune.bench import protocol, samples, stats
from edgeprune.files.store import file_sha256
from edgeprune.network.edits import apply_edits
from edgeprune.protocols import NullProgress
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.pruning import Edit
from edgeprune.targets import Bench, Target
from edgeprune.tasks.latency import timing as stopwatch
from edgeprune.tasks.latency.timing import Stopwatch

TARGET = Target(
    name="quick",
    description="",
    runtime="onnxruntime",
    opset=18,
    precisions=("fp32",),
    bench=Bench(rounds=6, round_ms=1.0, warmup_ms=1.0),
)
KEPT = frozenset({2})


@functools.cache
def small():
    """A network of five units, three of which can be dropped, and its chain."""
    whole = synthetic.checkpoint()
    edits = [Edit(f"blocks.{block}", "identity") for block in range(27) if block not in (0, 9, 18)]
    model = replace(whole, model=apply_edits(whole.model, edits, (2, synthetic.LENGTH)).eval())
    return model, layers_of(model.model, model.input, model.sha256)


@pytest.fixture(scope="module", autouse=True)
def unsimplified():
    """Exports that are not simplified, which takes half of their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopwatch, "export", functools.partial(stopwatch.export, simplifiers=()))
        yield


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "latency"
    return folder, watch(folder)


def watch(folder, kept=KEPT):
    model, chain = small()
    frames = synthetic.frames_of(synthetic.cells(per_cell=2)).iq
    with Stopwatch(model, chain, frames, TARGET, "fp32", 1, folder) as stopwatch:
        return stopwatch.time(kept, NullProgress())


def test_says_what_was_timed_and_keeps_every_time(timed):
    folder, timing = timed
    assert timing.kept == (0, 2, 4)
    assert timing.samples_path.startswith("latency/kept-")
    times, about = samples.read(folder.parent / timing.samples_path)
    assert len(times) == 6
    assert about["model_sha256"] == timing.onnx_sha256
    assert timing.ratio_ci95[0] <= timing.ratio <= timing.ratio_ci95[1]
    assert timing.predicted_ms is None


def test_the_session_in_the_middle_counts_and_the_interval_reaches_over_all(tmp_path, monkeypatch):
    """One load in three lies badly in memory and runs at half the speed."""
    speedups = iter([2.0, 4.0, 2.2])
    told = iter([stats.Speedup(1 / each, (0.9 / each, 1.1 / each)) for each in speedups])
    monkeypatch.setattr(stopwatch, "_ratio", lambda *_: next(told))
    timing = watch(tmp_path / "latency")
    assert timing.ratio == pytest.approx(1 / 2.2)
    assert timing.ratio_ci95 == pytest.approx((0.9 / 4.0, 1.1 / 2.0))
    assert timing.samples_path.split("/")[-2] == "session-3"


def test_leaves_no_network_behind(timed):
    folder, _ = timed
    assert not list(folder.glob("**/*.onnx"))
    assert not list(folder.glob(".*"))


def test_is_not_done_twice(timed, monkeypatch):
    folder, timing = timed
    monkeypatch.setattr(stopwatch, "export", lambda *_, **__: pytest.fail("exported again"))
    assert watch(folder) == timing


def test_is_done_again_when_its_samples_are_gone(timed, tmp_path, monkeypatch):
    folder, timing = timed
    (record,) = folder.glob("kept-*.json")
    elsewhere = tmp_path / "latency"
    elsewhere.mkdir()
    (elsewhere / record.name).write_text(record.read_text())
    asked = []
    real = protocol.measure
    monkeypatch.setattr(protocol, "measure", lambda *a, **k: asked.append(1) or real(*a, **k))
    assert watch(elsewhere).kept == timing.kept
    assert asked == [1] * stopwatch._SESSIONS
    assert json.loads((elsewhere / record.name).read_text())["artifacts"]
    assert file_sha256(tmp_path / timing.samples_path)
