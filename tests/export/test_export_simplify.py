"""Which simplifier's graph is taken, with simplifiers that crash, hang and lie."""

import sys

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgeprune.errors import ModelError
from edgeprune.export.check import onnx_logits
from edgeprune.export.onnx import export_onnx
from edgeprune.export.simplify import SIMPLIFIERS, Simplifier, simplify

COPY = Simplifier("copy", (sys.executable, "-c", "import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])"))


@pytest.fixture(scope="module")
def exported(build, spec, tmp_path_factory):
    path = tmp_path_factory.mktemp("raw") / "raw.onnx"
    export_onnx(build(2), spec, path, opset=13, batch_size=None, metadata={"classes": '["a", "b"]'})
    return path


@pytest.fixture
def raw(exported, tmp_path):
    path = tmp_path / "raw.onnx"
    path.write_bytes(exported.read_bytes())
    return path


def python(code):
    return Simplifier("broken", (sys.executable, "-c", code))


def giving(path):
    """A simplifier whose answer is always the file at `path`."""
    return Simplifier(
        "broken", (sys.executable, "-c", "import shutil, sys; shutil.copyfile(*sys.argv[1::2])", str(path))
    )


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by signal 11"),
        ("import time; time.sleep(60)", "no answer within 0.5 s"),
        ("raise ValueError('cannot fold\\nthis')", "ended with 1: this"),
        ("raise SystemExit(3)", "ended with 3: it said nothing"),
        ("import no_such_tool", "ended with 1: ModuleNotFoundError: No module named 'no_such_tool'"),
        ("pass", "wrote no file"),
    ],
)
def test_next_one_is_asked_when_one_fails(raw, iq, code, why, tmp_path):
    done = simplify(raw, tmp_path / "out.onnx", iq, time_limit_s=0.5, simplifiers=(python(code), COPY))
    assert done.simplifier == "copy"
    assert done.notes == (f"broken: {why}",)
    np.testing.assert_array_equal(onnx_logits(tmp_path / "out.onnx", iq), onnx_logits(raw, iq))


def test_program_that_is_not_there_is_a_note(raw, iq, tmp_path):
    absent = Simplifier("absent", ("/no/such/program",))
    done = simplify(raw, tmp_path / "out.onnx", iq, simplifiers=(absent,))
    assert (done.simplifier, done.notes) == ("none", ("absent: cannot be started: No such file or directory",))
    assert (tmp_path / "out.onnx").read_bytes() == raw.read_bytes()


def other_numbers(model):
    for tensor in model.graph.initializer:
        if tensor.name.endswith("fc.bias"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[::-1].copy(), tensor.name))


def other_opset(model):
    model.opset_import[0].version = 14


def foreign_operators(model):
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def other_input_name(model):
    for node in model.graph.node:
        node.input[:] = ["x" if name == "iq" else name for name in node.input]
    model.graph.input[0].name = "x"


def fixed_batch(model):
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 40


def missing_operator(model):
    del model.graph.node[0]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (other_numbers, "it gives other logits to 40 of 40 frames"),
        (other_opset, "changed the operator sets {'': 13} to {'': 14}"),
        (foreign_operators, "changed the operator sets {'': 13} to {'': 13, 'com.microsoft': 1}"),
        (other_input_name, "changed the inputs and outputs (('iq', 1, (None, 2, 128)), "),
        (fixed_batch, "changed the inputs and outputs (('iq', 1, (None, 2, 128)), "),
        (missing_operator, "not a valid graph: "),
    ],
)
def test_what_is_not_the_same_network_is_refused(raw, iq, tmp_path, spoil, why):
    spoiled = onnx.load(raw)
    spoil(spoiled)
    onnx.save(spoiled, tmp_path / "spoiled.onnx")
    done = simplify(raw, tmp_path / "out.onnx", iq, simplifiers=(giving(tmp_path / "spoiled.onnx"),))
    assert done.simplifier == "none"
    assert len(done.notes) == 1
    assert done.notes[0].startswith(f"broken: {why}")
    assert (tmp_path / "out.onnx").read_bytes() == raw.read_bytes()


def test_rubbish_is_refused(raw, iq, tmp_path):
    (tmp_path / "rubbish").write_bytes(b"\x00rubbish")
    done = simplify(raw, tmp_path / "out.onnx", iq, simplifiers=(giving(tmp_path / "rubbish"), COPY))
    assert done.simplifier == "copy"
    assert done.notes[0].startswith("broken: not a valid graph: ")


def test_metadata_are_the_sources_whatever_the_simplifier_does_to_them(raw, iq, tmp_path):
    restless = onnx.load(raw)
    del restless.metadata_props[:]
    helper.set_model_props(restless, {"simplifier.seconds": "0.123"})
    onnx.save(restless, tmp_path / "restless.onnx")
    done = simplify(raw, tmp_path / "out.onnx", iq, simplifiers=(giving(tmp_path / "restless.onnx"),))
    assert done.simplifier == "broken"
    found = {entry.key: entry.value for entry in onnx.load(tmp_path / "out.onnx").metadata_props}
    assert found == {"classes": '["a", "b"]', "exporter": "TorchScript at opset 13"}


def test_module_in_the_working_folder_does_not_shadow_what_a_simplifier_imports(raw, iq, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "shutil.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(elsewhere)
    done = simplify(raw, tmp_path / "out.onnx", iq, simplifiers=(COPY,))
    assert (done.simplifier, done.notes) == ("copy", ())


def test_second_of_the_shipped_simplifiers_makes_a_smaller_graph_of_the_same_network(raw, iq, tmp_path):
    out = tmp_path / "out.onnx"
    assert SIMPLIFIERS[0].name == "onnxsim"  # tested with the whole stage
    done = simplify(raw, out, iq, simplifiers=SIMPLIFIERS[1:])
    assert (done.simplifier, done.notes) == ("onnxslim", ())
    before, after = onnx.load(raw), onnx.load(out)
    assert len(after.graph.node) < len(before.graph.node)
    assert after.ir_version == before.ir_version
    assert after.metadata_props == before.metadata_props
    np.testing.assert_allclose(onnx_logits(out, iq[:9]), onnx_logits(raw, iq[:9]), rtol=1e-4, atol=1e-5)


def test_a_source_that_cannot_run_is_an_error(iq, tmp_path, exported):
    broken = onnx.load(exported)
    del broken.graph.node[0]
    onnx.save(broken, tmp_path / "raw.onnx")
    with pytest.raises(ModelError, match=r"ONNX Runtime cannot run raw\.onnx"):
        simplify(tmp_path / "raw.onnx", tmp_path / "out.onnx", iq, simplifiers=())
