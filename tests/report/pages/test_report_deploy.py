"""The section on deployment: what is said for each runtime. tests/cli/test_demo.py runs its program."""

import dataclasses
import shlex

import click
import pytest
from fake_run import bench, evidence, origin

from edgeprune.cli import app
from edgeprune.records.pruning import InputSpec
from edgeprune.report.document import build
from edgeprune.report.pages.deploy import deployment
from edgeprune.report.schema.json import parse


def deployed(spec=InputSpec(2, 128), **changes):  # noqa: B008 (frozen)
    measured = dataclasses.replace(bench(), **changes) if changes.get("runtime") else None
    return deployment(parse(build(evidence(bench=measured), origin(input=spec)), "test"))


def test_the_program_takes_one_frame_or_fills_a_batch():
    one, four = deployed(runtime="onnxruntime"), deployed(runtime="onnxruntime", batch=4)
    assert 'session.run(["logits"], {"iq": frame[None]})' in one.script
    assert 'session.run(["logits"], {"iq": np.repeat(frame[None], 4, axis=0)})' in four.script
    assert "float32 of shape [1, 2, 128]: the samples of one frame" in one.text
    assert "float32 of shape [4, 2, 128]: the samples of 4 frames" in four.text
    for found in (one, four):
        compile(found.script, "classify.py", "exec")


@pytest.mark.parametrize(("runtime", "device"), [("trtexec", True), ("tensorrt", False), ("tensorrt-rtx", False)])
def test_an_engine_is_built_by_a_command_that_can_be_typed(runtime, device):
    found = deployed(runtime=runtime)
    assert found.script == ""
    program, name, *words = shlex.split(found.text.partition("with ")[2].removesuffix("."))
    assert (program, name) == ("edgeprune", "build")
    command = app.get_command(click.Context(app), name)
    assert (command.make_context(name, words).params["device"] is not None) is device


def test_before_a_measurement_nothing_is_said_of_a_runtime():
    found = deployed()
    assert found.script == ""
    assert "TensorRT" not in found.text
    assert "Copy pruned.onnx" in found.text


def test_a_report_of_an_earlier_version_has_no_such_section():
    assert deployed(spec=None, runtime="onnxruntime") is None
