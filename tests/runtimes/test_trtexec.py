import json
import shutil
from collections import Counter

import by_hand
import numpy as np
import onnxruntime
import pytest

from edgeprune import registry
from edgeprune.errors import ConfigError, DeviceError
from edgeprune.records.device_run import ENGINES, OUT, STEPS, model_file
from edgeprune.runtimes._trtexec.steps import timed_rounds
from edgeprune.runtimes.trtexec import runtime

WORK = by_hand.work()
VERSION = 100300


def plan_for(version, work=WORK):
    return [plan for plan in runtime.plans(work) if plan.since <= version][-1]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A bundle that was measured on a replayed Orin Nano; not to be changed."""
    folder = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        _, board = by_hand.board(folder, patch, "orin-nano-jp62")
    bundle = by_hand.lay_out(folder / "bundle", WORK)
    by_hand.play(board, bundle, plan_for(VERSION))
    return bundle


@pytest.fixture
def bundle(measured, tmp_path):
    """A copy of it, to be damaged."""
    return shutil.copytree(measured, tmp_path / "bundle")


def refused(bundle, work=WORK, version=VERSION):
    with pytest.raises(DeviceError) as caught:
        runtime.read(work, bundle, version)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_is_registered_under_its_name_and_installs_nothing():
    assert registry.get("runtimes", "trtexec") is runtime
    assert runtime.files() == {}
    assert json.loads(json.dumps(runtime.facts())) == runtime.facts()


def test_steps_build_answer_time_and_profile_in_this_order():
    names = [step.name for step in plan_for(VERSION).steps]
    assert len(set(names)) == len(names)
    assert names[:4] == ["build-baseline-1", "build-pruned-1", "build-baseline-2", "build-pruned-2"]
    kinds = [name.split("-")[0] for name in names]
    order = [kind for kind, before in zip(kinds, [None, *kinds], strict=False) if kind != before]
    assert order == ["build", "known", "build", "answer", "time", "profile"]


def test_rounds_are_interleaved_abba_in_all_and_within_each_build():
    timed = [step for step in plan_for(VERSION).steps if step.name.startswith("time-")]
    letters = [step.name.split("-")[-1][0] for step in timed]
    builds = [step.arguments[0].removesuffix(".engine")[-1] for step in timed]
    assert "".join(letters) == "bppbpbbp"
    assert "".join(builds) == "11221122"
    assert all(step.telemetry for step in timed)
    assert not any(step.telemetry for step in plan_for(VERSION).steps if step not in timed)


@pytest.mark.parametrize(("rounds", "builds"), [(6, 1), (12, 2), (7, 2), (9, 3), (16, 2)])
def test_builds_get_as_many_rounds_as_one_another_and_both_models_as_many_of_each(rounds, builds):
    timed = timed_rounds(by_hand.work(rounds=rounds, builds=builds))
    counts = Counter((role, build) for _, role, build in timed)
    assert sum(counts.values()) == 2 * rounds
    assert max(counts.values()) - min(counts.values()) <= 1
    assert all(counts["baseline", build] == counts["pruned", build] for build in range(1, builds + 1))
    assert [number for number, _, _ in timed[::2]] == list(range(1, rounds + 1))


def test_builds_have_a_timing_cache_each_that_both_models_share():
    caches = {
        step.name: next(each for each in step.arguments if each.startswith("--timingCacheFile="))
        for step in plan_for(VERSION).steps
        if step.engine and "answers" not in step.name
    }
    assert caches["build-baseline-1"] == caches["build-pruned-1"] != caches["build-baseline-2"]


def test_without_accuracy_only_the_known_frames_are_answered():
    names = [step.name for step in plan_for(VERSION, by_hand.work(answer_chunks=0)).steps]
    assert not any("answer" in name for name in names)
    assert "known-pruned-2" in names


def test_a_model_alone_is_measured_alone():
    names = [step.name for step in plan_for(VERSION, by_hand.work(roles=("baseline",))).steps]
    assert not any("pruned" in name for name in names)
    assert sum(name.startswith("time-") for name in names) == 4


def test_a_round_that_is_too_long_for_the_clock_of_trtexec_is_refused():
    runtime.plans(by_hand.work(round_ms=3800.0, warmup_ms=200.0))
    with pytest.raises(ConfigError, match="3801 ms after 200 ms of warm-up are too long"):
        runtime.plans(by_hand.work(round_ms=3801.0, warmup_ms=200.0))


def test_the_dla_takes_no_fp32():
    with pytest.raises(ConfigError, match="does not compute in fp32"):
        runtime.plans(by_hand.work(dla_core=0))


def test_answers_are_those_of_the_model_and_the_rest_is_what_the_files_say(measured):
    found = runtime.read(WORK, measured, VERSION)
    for role in WORK.roles:
        session = onnxruntime.InferenceSession(measured / f"models/{role}-answers.onnx")
        expected = np.concatenate([session.run(None, {"iq": by_hand.FRAMES[i : i + 4]})[0] for i in (0, 4)])
        np.testing.assert_allclose(found.answers[role], expected, rtol=1e-5)  # six digits are written
        np.testing.assert_allclose(found.known[role], expected[:1], rtol=1e-5)
    assert [(each.role, each.build) for each in found.rounds] == [
        ("baseline", 1), ("pruned", 1), ("pruned", 2), ("baseline", 2),
        ("pruned", 1), ("baseline", 1), ("baseline", 2), ("pruned", 2),
    ]  # fmt: skip
    rows = json.loads((measured / OUT / "pruned-times-002.json").read_text())
    np.testing.assert_array_equal(found.rounds[2].ms, [row["computeMs"] for row in rows])
    assert found.rounds[2].step == "time-002-pruned"
    assert found.rounds[2].span_ms == pytest.approx(rows[-1]["endComputeMs"] - rows[0]["startComputeMs"])
    listed = {line.split()[2]: line.split()[0] for line in (measured / ENGINES).read_text().splitlines()}
    assert [each.sha256 for each in found.engines] == [
        listed[f"{OUT}/{role}-{build}.engine"] for role in WORK.roles for build in (1, 2)
    ]
    assert all(each.build_s > 2 and each.dla_share is None for each in found.engines)
    assert found.mode == "trtexec, GPU time without copies, one CUDA graph, spin-wait"


def test_an_engine_from_the_cache_has_no_time_of_building(bundle):
    (bundle / STEPS / "build-pruned-2.cached").write_text("key\n")
    engines = {(each.role, each.build): each for each in runtime.read(WORK, bundle, VERSION).engines}
    assert engines["pruned", 2].build_s is None
    assert engines["pruned", 1].build_s is not None


def test_a_step_that_failed_is_told_with_its_reason_and_its_log(bundle):
    (bundle / STEPS / "build-pruned-1.rc").write_text("137\n")
    message = refused(bundle)
    assert "the step build-pruned-1 failed: it was killed, most likely because the device ran out of memory" in message
    assert str(bundle / STEPS / "build-pruned-1.log") in message


@pytest.mark.parametrize("content", [None, "", "soon"])
def test_a_step_that_did_not_end_is_told(bundle, content):
    file = bundle / STEPS / "time-003-pruned.rc"
    file.unlink()
    if content is not None:
        file.write_text(content)
    assert "the step time-003-pruned was not run to its end" in refused(bundle)


@pytest.mark.parametrize("content", [None, b""])
def test_a_file_that_a_step_should_have_made_is_told(bundle, content):
    file = bundle / OUT / "baseline-times-001.json"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert f"left no {OUT}/baseline-times-001.json" in refused(bundle)


@pytest.mark.parametrize(
    "line", ["", "hash many result/out/baseline-1.engine\n", "hash result/out/baseline-1.engine\n"]
)
def test_a_list_of_engines_that_lacks_one_is_refused(bundle, line):
    (bundle / ENGINES).write_text(line)
    assert f"lacks {OUT}/baseline-1.engine" in refused(bundle)


def test_a_version_older_than_any_that_is_known_is_refused(bundle):
    assert "80001 is older than any that is known" in refused(bundle, version=80001)


def test_a_graph_that_was_refused_is_not_called_one(bundle):
    refusal = (
        "[W] The built TensorRT engine contains operations that are not permitted under CUDA graph capture mode.\n"
    )
    for number in (1, 2):
        log = bundle / STEPS / f"time-00{number}-pruned.log"
        log.write_text(log.read_text() + refusal)
    found = runtime.read(WORK, bundle, VERSION)
    assert "launched layer by layer" in found.mode
    expected = "pruned: the engine cannot be a CUDA graph and was launched layer by layer (2 of 4 rounds)"
    assert expected in found.warnings


def test_builds_that_answer_differently_are_told(bundle):
    file = bundle / OUT / "pruned-2-known.json"
    tensors = json.loads(file.read_text())
    tensors[0]["values"][0] += 1e6
    file.write_text(json.dumps(tensors))
    assert any(
        "pruned: outputs of builds of one model differ" in each for each in runtime.read(WORK, bundle, VERSION).warnings
    )


def test_the_warm_up_in_the_files_of_old_versions_is_left_out(tmp_path, monkeypatch):
    """The same board plays both: its times are seeded, its versions differ in the rows that they write."""
    work = by_hand.work(roles=("baseline",), rounds=2, builds=1, answer_chunks=0)
    counted = {}
    for name, version in (("nano-jp46", 80201), ("xavier-nx-jp51", 80502)):
        _, board = by_hand.board(tmp_path / name, monkeypatch, name)
        bundle = by_hand.lay_out(tmp_path / name / "bundle", work)
        by_hand.play(board, bundle, plan_for(version, work))
        rows = json.loads((bundle / OUT / "baseline-times-001.json").read_text())
        warm = sum(row["startComputeMs"] < work.warmup_ms for row in rows)
        found = runtime.read(work, bundle, version).rounds[0].ms
        counted[name] = warm
        assert len(found) == len(rows) - warm
    assert counted["nano-jp46"] > 0
    assert counted["xavier-nx-jp51"] == 0


def test_the_share_on_the_dla_is_of_the_models_operators(tmp_path, monkeypatch):
    work = by_hand.work(precision="fp16", dla_core=0, rounds=2, builds=1, answer_chunks=0)
    _, board = by_hand.board(tmp_path, monkeypatch, "orin-nx-jp62")
    bundle = by_hand.lay_out(tmp_path / "bundle", work)
    by_hand.play(board, bundle, plan_for(VERSION, work))
    found = runtime.read(work, bundle, VERSION)
    # Relu, 6 or 2 convolutions, Flatten, MatMul: of these the board's accelerator takes no Flatten.
    assert [each.dla_share for each in found.engines] == [1 - 1 / 9, 1 - 1 / 5]
    assert found.mode.endswith(", DLA 0")
    assert any("1 of its layers run on the GPU because the DLA cannot" in each for each in found.warnings)
    assert (bundle / model_file("baseline")).exists()
