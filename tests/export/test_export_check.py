"""When two computations of the same logits agree: hand-made logits, and files against other networks."""

import numpy as np
import pytest
import torch

from edgeprune.errors import DataError, ModelError
from edgeprune.export.check import check_against_torch, compare, onnx_logits
from edgeprune.export.onnx import export_onnx


@pytest.fixture(scope="module")
def exported(build, spec, tmp_path_factory):
    path = tmp_path_factory.mktemp("check") / "net.onnx"
    export_onnx(build(), spec, path, opset=17, batch_size=None, metadata={})
    return path


def logits(*rows):
    return np.array(rows, dtype=np.float32)


def test_small_differences_agree_and_are_measured():
    reference = logits([10.0, 1.0], [-4.0, 2.0])
    found = compare(reference, reference + logits([0.0, 0.004], [-0.009, 0.0]))
    assert found.frames == 2
    assert found.max_abs_difference == pytest.approx(0.009, rel=1e-4)
    assert found.tolerance == pytest.approx(0.01)  # a thousandth of the largest logit, 10
    assert found.tied == ()
    assert found.notes == ()


def test_a_logit_beyond_the_tolerance_disagrees_even_if_the_class_is_the_same():
    reference = logits([10.0, 1.0], [5.0, 2.0], [3.0, -1.0])
    with pytest.raises(ModelError) as caught:
        compare(reference, reference + logits([0.0, 0.0], [0.0, 0.011], [0.0, 0.0]))
    assert caught.value.message == (
        "it gives other logits to 1 of 3 frames (1); the largest logit difference is 0.011, 0.01 is allowed"
    )


def test_another_class_disagrees_even_within_the_tolerance_of_the_logits():
    reference = logits([10.0, 1.0], [5.000, 4.995])
    with pytest.raises(ModelError, match=r"another class to 1 of 2 frames \(1\).*difference is 0.006, 0.01 is"):
        compare(reference, logits([10.0, 1.0], [5.000, 5.001]))


def test_another_class_where_the_reference_has_no_preference_is_a_tie_and_is_told():
    reference = logits([10.0, 1.0], [5.00005, 5.0])  # margin 5e-5, allowed for a tie: 1e-5 of 10
    found = compare(reference, logits([10.0, 1.0], [5.0, 5.00005]))
    assert found.tied == (1,)
    (note,) = found.notes
    assert note.startswith("1 of 2 frames (1) get")


def test_margin_of_a_tie_is_between_the_two_classes_that_were_given():
    # The runner-up is tied with the first, but the class that is given is neither.
    with pytest.raises(ModelError, match="another class"):
        compare(logits([1000.0, 999.999, 999.5]), logits([999.6, 999.6, 999.9]))


def test_the_first_frames_are_named_and_the_rest_counted():
    reference = np.tile(logits([1.0, 0.0]), (20, 1))
    other = reference.copy()
    other[3:17] = [0.0, 1.0]
    with pytest.raises(ModelError, match=r"14 of 20 frames \(3, 4, 5, 6, 7, \.\.\.\)"):
        compare(reference, other)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_numbers_never_agree(bad):
    fine, broken = logits([1.0, 0.0], [2.0, 0.0]), logits([1.0, 0.0], [bad, 0.0])
    with pytest.raises(ModelError, match=r"it gives NaN or infinity on 1 of 2 frames \(1\)"):
        compare(fine, broken)
    with pytest.raises(ModelError, match=r"the network itself gives NaN or infinity on 1 of 2 frames \(1\)"):
        compare(broken, broken)


def test_other_number_of_classes_disagrees():
    with pytest.raises(ModelError, match=r"shape \(1, 3\), not \(1, 2\)"):
        compare(logits([1.0, 0.0]), logits([1.0, 0.0, 0.0]))


def test_a_true_export_agrees(build, spec, exported, iq, answer):
    model = build().train()
    found = check_against_torch(model, spec, exported, iq)
    assert found.frames == 40
    assert found.tolerance == pytest.approx(1e-3 * np.abs(answer(model.eval(), iq)).max(), rel=1e-4)
    assert found.max_abs_difference < found.tolerance / 10


def test_checking_leaves_the_model_in_its_mode(build, spec, exported, iq):
    model = build().train()
    means = model.stem[1].running_mean.clone()
    check_against_torch(model, spec, exported, iq)
    assert all(module.training for module in model.modules())
    assert torch.equal(model.stem[1].running_mean, means)


def test_export_of_another_network_is_refused_with_figures(build, spec, exported, iq, answer):
    other = build(seed=7)
    changed = np.flatnonzero(answer(build(), iq).argmax(axis=1) != answer(other, iq).argmax(axis=1))
    worst = np.abs(answer(build(), iq) - answer(other, iq)).max()
    assert len(changed) > 0
    with pytest.raises(ModelError) as caught:
        check_against_torch(other, spec, exported, iq)
    assert caught.value.message.startswith("the exported file does not compute what torch does: ")
    assert f"another class to {len(changed)} of 40 frames ({changed[0]}" in caught.value.message
    assert f"difference is {worst:.3g}" in caught.value.message


@pytest.mark.parametrize("shape", [(0, 2, 128), (4, 2, 64), (4, 1, 128), (2, 128)])
def test_frames_must_fit(build, spec, exported, shape):
    with pytest.raises(DataError, match=r"allowed is \(N, 2, 128\) with N > 0"):
        check_against_torch(build(), spec, exported, np.zeros(shape, np.float32))


def test_static_file_is_run_on_any_number_of_frames(build, spec, iq, answer, tmp_path):
    model, path = build(), tmp_path / "net.onnx"
    export_onnx(model, spec, path, opset=17, batch_size=16, metadata={})
    np.testing.assert_allclose(onnx_logits(path, iq), answer(model, iq), rtol=1e-4, atol=1e-4)


def test_file_that_is_no_model_is_one_line(tmp_path, iq):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"ONNX Runtime cannot run net\.onnx: ") as caught:
        onnx_logits(path, iq)
    assert "\n" not in str(caught.value)
