from types import SimpleNamespace

import numpy as np
import pytest
import synthetic
import torch
from torch import nn

from edgeprune.records.pruning import InputSpec
from edgeprune.train.evaluate import predict


def weighted_sums():
    """A network of one linear layer without bias, easy to repeat in numpy."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3, bias=False))


@pytest.mark.parametrize("count", [1, 1024, 1500])
@pytest.mark.parametrize("normalisation", ["rms", "none"])
def test_logits_are_those_of_every_single_frame(silent, count, normalisation):
    model = weighted_sums()
    iq = np.random.default_rng(0).normal(scale=5, size=(count, 2, 8)).astype(np.float32)
    found = predict(model, iq, InputSpec(2, 8, normalisation), silent, "asking")
    power = (iq[:, :1] ** 2 + iq[:, 1:] ** 2).mean(2, keepdims=True)
    frames = iq / np.sqrt(power) if normalisation == "rms" else iq
    expected = frames.reshape(count, 16) @ model[1].weight.detach().numpy().T
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert silent.totals == {"asking": count}
    assert sum(steps for steps, _ in silent.said) == count


def test_batch_norm_answers_from_its_running_statistics(silent):
    model = synthetic.shaken(nn.Sequential(nn.BatchNorm1d(2), nn.Flatten(), nn.Linear(16, 3))).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    iq = synthetic.signals(6, 8).numpy()
    together = predict(model, iq, InputSpec(2, 8, "none"), silent, "")
    alone = np.concatenate([predict(model, iq[i : i + 1], InputSpec(2, 8, "none"), silent, "") for i in range(6)])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_frames_are_left_as_they_are(silent):
    iq = synthetic.signals(3, 8).numpy()
    before = iq.copy()
    predict(weighted_sums(), iq, InputSpec(2, 8), silent, "")
    np.testing.assert_array_equal(iq, before)


def test_where_a_card_has_not_the_memory_it_asks_fewer_at_a_time_and_says_so_once():
    notes = []
    progress = SimpleNamespace(note=notes.append, track=synthetic.Silent().track)

    class Small(torch.nn.Module):
        """Answers at most 300 frames at a time."""

        def forward(self, x):
            if len(x) > 300:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return x.flatten(1)[:, :3]

    iq = np.random.default_rng(0).standard_normal((2500, 2, 8)).astype(np.float32)
    found = predict(Small(), iq, InputSpec(2, 8, "none"), progress, "")
    assert np.array_equal(found, iq.reshape(2500, -1)[:, :3])
    assert notes == ["1024 frames at once do not fit in GPU memory; continuing with 256 at a time"]
