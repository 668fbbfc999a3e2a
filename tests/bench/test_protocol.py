import contextlib
import gc
import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest
from onnx import parser, save

from edgeprune.bench import samples
from edgeprune.bench.protocol import BenchSettings, measure, measure_rounds
from edgeprune.errors import ConfigError, DataError, DeviceError
from edgeprune.files.store import from_plain, to_plain
from edgeprune.records.results import BenchReport
from edgeprune.runtimes.onnxruntime import runtime as onnxruntime

SETTINGS = BenchSettings(precision="fp32", batch=2, threads=1, rounds=6, round_ms=20.0, warmup_ms=10.0)
FRAMES = np.random.default_rng(0).standard_normal((5, 2, 8), dtype=np.float32)


class FakeSession:
    def __init__(self, calls, name, time_ms):
        self.calls, self.name, self.time_ms = calls, name, time_ms
        self.rng = np.random.default_rng(len(name))

    def time(self, iq, count):
        self.calls.append((self.name, count, iq, gc.isenabled()))
        return self.rng.normal(self.time_ms, self.time_ms / 50, count)


class FakeRuntime:
    """Times as told by the name of the file: `two-0.5.onnx` takes half a millisecond."""

    name = "fake"
    mode = "made up"

    def __init__(self):
        self.calls = []
        self.open_models = []

    @contextlib.contextmanager
    def open(self, model, threads):
        assert threads == 1
        self.open_models.append(model.stem)
        yield FakeSession(self.calls, model.stem.split("-")[0], float(model.stem.split("-")[1]))
        self.open_models.remove(model.stem)

    def facts(self):
        return {"name": "fake", "version": "1"}


class Log:
    def __init__(self):
        self.lines = []

    def stage(self, title, reused=False):
        pass

    def note(self, text):
        pass

    @contextlib.contextmanager
    def track(self, label, total):
        self.total = total
        yield lambda steps, text: self.lines.append((steps, text))


@pytest.fixture
def models(tmp_path):
    paths = tmp_path / "slow-2.0.onnx", tmp_path / "fast-0.5.onnx"
    for path in paths:
        path.write_bytes(path.stem.encode())
    return paths


def measured(models, tmp_path, settings=SETTINGS, runtime=None, frames=FRAMES):
    runtime = runtime or FakeRuntime()
    return measure(*models, frames, runtime, settings, tmp_path / "out", Log())


def timed_rounds(calls):
    """The calls that filled a round: from the end, every second one (each has a settling call before it)."""
    return calls[-24:][1::2]


def test_rounds_are_interleaved_abba(models, tmp_path):
    runtime = FakeRuntime()
    measured(models, tmp_path, runtime=runtime)
    names = [name for name, *_ in timed_rounds(runtime.calls)]
    assert names == ["slow", "fast", "fast", "slow"] * 3


def test_both_models_are_warmed_up_before_the_first_round_and_closed_after(models, tmp_path):
    runtime = FakeRuntime()
    measured(models, tmp_path, runtime=runtime)
    warm_up = [(name, count) for name, count, *_ in runtime.calls[:-24]]
    # bursts of 2 ms reach 10 ms with 1 + 2 + 4; bursts of 0.5 ms with 1 + 2 + 4 + 8 + 16
    assert warm_up == [("slow", 1), ("slow", 2), ("slow", 4)] + [("fast", 2**power) for power in range(5)]
    assert not runtime.open_models


def test_rounds_have_a_fixed_count_that_fills_them_and_settle_first(models, tmp_path):
    runtime = FakeRuntime()
    measured(models, tmp_path, replace(SETTINGS, round_ms=400.0), runtime)
    counts = {
        name: {count for called, count, *_ in timed_rounds(runtime.calls) if called == name}
        for name in ("slow", "fast")
    }
    assert all(len(of_model) == 1 for of_model in counts.values())
    assert counts["slow"].pop() == pytest.approx(200, rel=0.05)
    assert counts["fast"].pop() == pytest.approx(800, rel=0.05)
    for settling, timed in zip(runtime.calls[-24::2], timed_rounds(runtime.calls), strict=True):
        assert settling[0] == timed[0]
        assert settling[1] == math.ceil(timed[1] / 10)


def test_a_round_is_stretched_for_a_p99_but_no_more_than_four_times(models, tmp_path):
    runtime = FakeRuntime()
    report = measured(models, tmp_path, replace(SETTINGS, round_ms=60.0), runtime)
    # 662 / 6 rounds = 111 inferences: 222 ms of the slow model are within 4 x 60 ms
    assert {count for name, count, *_ in timed_rounds(runtime.calls) if name == "slow"} == {111}
    assert report.baseline.p99_ms is not None
    short = measured(models, tmp_path, replace(SETTINGS, round_ms=30.0))
    assert short.baseline.samples == pytest.approx(6 * 60, rel=0.05)
    assert short.baseline.p99_ms is None
    assert short.baseline.p90_ms is not None
    assert any("baseline's p99 is not claimed" in warning for warning in short.warnings)


def test_every_inference_sees_the_same_batch_without_garbage_collection(models, tmp_path):
    runtime = FakeRuntime()
    assert gc.isenabled()
    measured(models, tmp_path, runtime=runtime)
    assert all(np.array_equal(iq, FRAMES[:2]) for _, _, iq, _ in runtime.calls)
    assert not any(collecting for *_, collecting in runtime.calls[-24:])
    assert gc.isenabled()


def test_numbers_follow_from_the_raw_samples(models, tmp_path):
    report = measured(models, tmp_path)
    medians = {}
    for role, summary in (("baseline", report.baseline), ("pruned", report.pruned)):
        with np.load(tmp_path / "out" / summary.samples_path) as arrays:
            ms, number = arrays["ms"], arrays["round"]
        assert summary.median_ms == np.median(ms)
        assert summary.mean_ms == pytest.approx(ms.sum() / len(ms))
        assert summary.p90_ms == np.quantile(ms, 0.9)
        assert summary.samples == len(ms)
        medians[role] = np.array([np.median(ms[number == index]) for index in range(6)])
        assert summary.round_medians_ms == tuple(medians[role])
    logs = np.log(medians["baseline"] / medians["pruned"])
    groups = [logs[:2], *logs[2:, None]]  # six rounds of one process as five runs of neighbours
    assert np.log(report.speedup) == pytest.approx(np.mean([np.median(group) for group in groups]))
    assert report.speedup_ci95[0] < report.speedup < report.speedup_ci95[1]
    assert (report.processes, report.process_of_round) == (1, (1,) * 6)
    assert report.speedup == pytest.approx(4, rel=0.05)


def test_report_and_samples_name_what_was_measured_on_what(models, tmp_path):
    report = measured(models, tmp_path)
    assert (report.runtime, report.mode, report.precision) == ("fake", "made up", "fp32")
    assert (report.batch, report.threads, report.rounds) == (2, 1, 6)
    assert report.device["runtime"] == {"name": "fake", "version": "1"}
    _, description = samples.read(tmp_path / "out" / report.pruned.samples_path)
    assert description["model_sha256"] == hashlib.sha256(b"fast-0.5").hexdigest()
    assert description["device"] == report.device
    assert description["mode"] == report.mode


@pytest.mark.parametrize("both", [True, False])
def test_report_survives_json(models, tmp_path, both):
    report = measured(models if both else (models[0], None), tmp_path)
    assert from_plain(BenchReport, to_plain(report), "here") == report


def test_one_model_alone_claims_no_speedup(models, tmp_path):
    report = measured((models[0], None), tmp_path, replace(SETTINGS, rounds=2))
    assert report.pruned is report.speedup is report.speedup_ci95 is None
    assert report.baseline.samples == sum(map(len, samples.read(tmp_path / "out" / "samples-baseline.npz")[0]))
    assert not {"pruned", "speedup", "speedup_ci95"} & to_plain(report).keys()


def test_several_processes_share_the_rounds_and_keep_the_order_of_turns(models, tmp_path):
    settings, runtime, asked = replace(SETTINGS, rounds=7, processes=3), FakeRuntime(), []

    def elsewhere(paths, batch, given, numbers):
        asked.append(numbers)
        assert given == settings
        return measure_rounds(paths, batch, runtime, given, numbers, Log())

    report = measure(*models, FRAMES, runtime, settings, tmp_path / "out", Log(), elsewhere)
    assert asked == [range(3), range(3, 5), range(5, 7)]
    assert (report.processes, report.process_of_round) == (3, (1, 1, 1, 2, 2, 3, 3))
    timed = [name for name, count, *_ in runtime.calls if count >= 10]  # neither warm-up nor settling
    opened = [name for name, count, *_ in runtime.calls if count == 1]
    assert opened == ["slow", "fast"] * 3  # both models anew in each
    assert len(timed) >= 14
    assert len(report.baseline.round_medians_ms) == 7


def test_more_processes_than_rounds_have_one_each():
    assert [len(share) for share in replace(SETTINGS, rounds=6, processes=9).of_processes()] == [1] * 6


def test_the_same_model_twice_is_not_called_faster(models, tmp_path):
    report = measured((models[0], models[0]), tmp_path)
    assert report.speedup_ci95[0] <= 1 <= report.speedup_ci95[1]
    assert any("no speed-up was shown" in warning for warning in report.warnings)


def test_progress_is_told_after_every_round(models, tmp_path):
    log = Log()
    measure(*models, FRAMES, FakeRuntime(), SETTINGS, tmp_path, log)
    assert len(log.lines) == log.total == 12
    assert {steps for steps, _ in log.lines} == {1}
    assert log.lines[0][1].startswith("baseline ")


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        (replace(SETTINGS, rounds=5), ConfigError, "rounds is 5; comparing two models takes at least 6"),
        (replace(SETTINGS, batch=6), DataError, "5 frames cannot fill a batch of 6"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(models, tmp_path, settings, error, words):
    runtime = FakeRuntime()
    with pytest.raises(error, match=words):
        measured(models, tmp_path, settings, runtime)
    assert not runtime.calls
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("time_ms", ["nan", "inf", "0.0"])
def test_a_clock_that_tells_no_time_is_an_error_and_leaves_nothing(models, tmp_path, time_ms):
    broken = tmp_path / f"broken-{time_ms}.onnx"
    broken.write_bytes(b"")
    with pytest.raises(DeviceError, match="allowed are positive numbers"):
        measured((models[0], broken), tmp_path)
    assert not (tmp_path / "out").exists()


def test_real_models_are_measured_with_onnx_runtime(tmp_path):
    paths = tmp_path / "big.onnx", tmp_path / "small.onnx"
    for path, layers in zip(paths, (60, 1), strict=True):
        steps = "".join(f"x{i + 1} = Sin(x{i}) " for i in range(layers))
        graph = f"g (float[N, 2, 8] iq) => (float[N, 16] logits) {{ x0 = Exp(iq) {steps} logits = Flatten(x{layers}) }}"
        save(parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {graph}'), path)
    report = measured(paths, tmp_path, replace(SETTINGS, round_ms=5.0, warmup_ms=5.0), onnxruntime)
    for summary in (report.baseline, report.pruned):
        rounds, _ = samples.read(tmp_path / "out" / summary.samples_path)
        assert len(rounds) == 6
        assert summary.median_ms == np.median(np.concatenate(rounds)) > 0
    assert report.speedup_ci95[0] <= report.speedup <= report.speedup_ci95[1]
    assert report.mode == "sync, session.run, host memory"
    assert report.device["runtime"]["version"]
