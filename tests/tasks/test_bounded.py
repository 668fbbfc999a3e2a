"""The bisection over the number of units, and accuracy on the validation split."""

import math

import pytest
import synthetic
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.network.normalisation import normalise
from edgeprune.protocols import NullProgress
from edgeprune.tasks.evaluate import fewest, top1


@given(least=st.integers(0, 5), span=st.integers(0, 60), threshold=st.integers(-3, 70))
def test_the_smallest_number_that_holds_is_found_in_few_trials(least, span, threshold):
    most, asked = least + span, []

    def holds(number):
        asked.append(number)
        return number >= threshold

    found = fewest(least, most, holds)
    assert found == next((number for number in range(least, most + 1) if number >= threshold), None)
    assert len(asked) == len(set(asked)) <= math.ceil(math.log2(span + 2))
    assert all(least <= number <= most for number in asked)


def test_where_accuracy_does_not_rise_with_units_the_answer_holds_and_the_one_below_does_not():
    good = {4, 5, 7, 8, 9, 11, 12}
    found = fewest(2, 12, good.__contains__)
    assert found in good
    assert found - 1 not in good


def test_top1_is_the_share_of_frames_named_rightly():
    model = synthetic.checkpoint()
    frames = synthetic.frames_of(synthetic.cells(per_cell=5))
    with torch.no_grad():
        called = model.model(normalise(torch.from_numpy(frames.iq), model.input.normalisation)).argmax(1).numpy()
    assert top1(model, frames, NullProgress()) == pytest.approx((called == frames.labels).mean())
