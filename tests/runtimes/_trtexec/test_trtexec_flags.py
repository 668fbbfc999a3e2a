import by_hand
import pytest

from edgeprune.device.replay.boards._options import parse
from edgeprune.runtimes._trtexec.flags import FLAGS, flags_of
from edgeprune.runtimes.trtexec import runtime

VERSIONS = (80201, 80401, 80502, 80601, 80602, 100300, 101303, 101602, 110100, 110401)


def steps(version, **changes):
    plans = [plan for plan in runtime.plans(by_hand.work(**changes)) if plan.since <= version]
    return {step.name: step.arguments for step in plans[-1].steps}


def test_plans_are_one_for_each_set_of_options_lowest_first():
    plans = runtime.plans(by_hand.work())
    assert [plan.since for plan in plans] == [80200, 80400, 80600, 100000, 110000]
    assert len({plan.steps for plan in plans}) == len(plans)
    assert {plan.tool for plan in plans} == {"trtexec"}


def test_a_version_has_the_options_of_the_newest_row_that_is_not_newer():
    assert flags_of(80103) is None
    assert flags_of(80201) is FLAGS[0]
    assert flags_of(80502) is FLAGS[1]
    assert flags_of(101602) is FLAGS[3]
    assert flags_of(120000) is FLAGS[-1]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("mode", [True, False])
def test_no_version_is_given_an_option_that_it_lacks(version, precision, mode):
    switches = {"transfers": mode, "cuda_graph": mode, "spin_wait": mode}
    for arguments in steps(version, precision=precision, **switches).values():
        assert parse(arguments, version).unknown == ()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode", [True, False])
def test_a_mode_is_the_same_on_every_version_though_their_defaults_differ(version, mode):
    switches = {"transfers": mode, "cuda_graph": mode, "spin_wait": mode}
    understood = parse(steps(version, **switches)["time-001-baseline"], version)
    assert (understood.transfers, understood.cuda_graph, understood.spin_wait) == (mode, mode, mode)


@pytest.mark.parametrize(
    ("version", "precision", "options"),
    [
        (80201, "fp32", ("--noTF32",)),
        (80502, "fp16", ("--fp16", "--noTF32")),
        (80602, "int8", ("--int8", "--noTF32")),
        (100300, "fp32", ("--stronglyTyped", "--noTF32")),
        (101602, "fp16", ("--stronglyTyped", "--noTF32")),
        (110401, "fp16", ("--noTF32",)),
        (110401, "int8", ("--noTF32",)),
    ],
)
def test_the_precision_is_said_as_each_version_wants_it(version, precision, options):
    about = {"--fp16", "--int8", "--stronglyTyped", "--noTF32"}
    assert tuple(each for each in steps(version, precision=precision)["build-baseline-1"] if each in about) == options


@pytest.mark.parametrize(
    ("version", "workspace", "only"),
    [
        (80201, "--workspace=256", "--buildOnly"),
        (80401, "--memPoolSize=workspace:256", "--buildOnly"),
        (80601, "--memPoolSize=workspace:256", "--skipInference"),
        (110401, "--memPoolSize=workspace:256", "--skipInference"),
    ],
)
def test_memory_and_the_end_after_building_are_said_as_each_version_wants_it(version, workspace, only):
    assert {workspace, only} <= set(steps(version)["build-pruned-2"])


def test_on_the_dla_engines_fall_back_to_the_gpu_and_are_loaded_there():
    on_dla = steps(100300, precision="fp16", dla_core=1)
    assert {"--useDLACore=1", "--allowGPUFallback", "--fp16"} <= set(on_dla["build-baseline-1"])
    assert "--stronglyTyped" not in on_dla["build-baseline-1"]
    for name in ("known-baseline-1", "time-001-pruned", "answer-pruned-0000"):
        assert "--useDLACore=1" in on_dla[name]
