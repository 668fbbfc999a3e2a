"""SynFlow against a closed form, and against a second implementation that does not share its steps."""

import pytest
import synthetic
import torch
from judged import chain_of, subject_of
from torch import nn
from torch.func import functional_call

from edgeprune.criteria._subject import lost_names
from edgeprune.criteria.synflow import criterion
from edgeprune.errors import ModelError
from edgeprune.models.resnet import ResNet
from edgeprune.network.tracing import Code
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.pruning import InputSpec


def scores(model, length, chain=None):
    return criterion.scores(subject_of(model, chain, length))


def test_two_layers_in_closed_form():
    # R = Σ_o (Σ_h |V_oh| (Σ_i |W_hi| + |b_h|) + |c_o|) for an input of ones, since nothing is negative before the ReLU.
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    w, b, v, c = (parameter.detach().double().abs() for parameter in model.parameters())
    through = v.sum(0)
    first = (through * w.sum(1)).sum() + (through * b).sum()
    second = (v * (w.sum(1) + b)).sum() + c.sum()
    found = scores(model, 3, chain_of("1", "3"))
    assert found == {0: pytest.approx(float(first), rel=1e-12), 1: pytest.approx(float(second), rel=1e-12)}


def by_autograd(model, length, body_of):
    """Σ |dR/dw · w| over the parameters of each body, with the network as a function of its positive parameters."""
    state = {
        name: value.detach().double().abs() if value.is_floating_point() else value.clone()
        for name, value in model.state_dict().items()
    }
    names = [name for name, _ in model.named_parameters()]
    weights = [state[name].requires_grad_() for name in names]
    ones = torch.ones(1, 2, length, dtype=torch.float64)
    flow = functional_call(model, state, (ones,)).sum()
    gradients = dict(zip(names, torch.autograd.grad(flow, weights), strict=True))
    return {
        index: sum(
            float((gradient * state[name].detach()).abs().sum())
            for name, gradient in gradients.items()
            if name.startswith(tuple(f"{path}.{part}" for part in ("conv", "bn")))
        )
        for index, path in body_of.items()
    }


@pytest.mark.parametrize("dims", [1, 2])
def test_residual_network_against_plain_autograd(dims):
    model = synthetic.shaken(ResNet(dims, 2, 3))
    found = scores(model, 16)
    expected = by_autograd(model, 16, {index: f"blocks.{index - 1}" for index in range(1, 7)})
    assert found == {index: pytest.approx(score, rel=1e-9) for index, score in expected.items()}
    assert all(score > 0 for score in found.values())


def test_the_score_is_how_fast_the_flow_grows_with_the_body():
    # With no negative gradient Σ |dR/dw · w| is the derivative of R when all weights of the body grow together.
    model = synthetic.shaken(ResNet(1, 1, 3)).double()
    found = scores(model.float(), 8)

    @torch.no_grad()
    def flow(path, scale):
        state = {name: value.double().abs() for name, value in model.state_dict().items()}
        for part in ("conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight", "bn2.weight", "bn2.bias"):
            state[f"{path}.{part}"] *= scale
        double = {name: value for name, value in state.items() if "num_batches" not in name}
        return float(functional_call(model, double, (torch.ones(1, 2, 8, dtype=torch.float64),)).sum())

    step = 1e-6
    for index in (1, 2, 3):
        path = f"blocks.{index - 1}"
        assert found[index] == pytest.approx((flow(path, 1 + step) - flow(path, 1 - step)) / (2 * step), rel=1e-6)


def test_a_unit_is_judged_without_the_shortcut_that_stays():
    model = ResNet(1, 1, 3)
    chain = layers_of(model, InputSpec(2, 16), "sha")
    assert set(lost_names(Code(model, (2, 16)), chain.units[2])) == {
        f"blocks.1.{part}.{kind}" for part in ("bn1", "bn2") for kind in ("weight", "bias")
    } | {"blocks.1.conv1.weight", "blocks.1.conv2.weight"}


def test_the_model_is_left_as_it_is():
    subject = subject_of(ResNet(1, 1, 3))
    model = subject.model.train()
    model.stem[0].weight.requires_grad_(False)
    before = synthetic.frozen(model)
    criterion.scores(subject)
    assert synthetic.unchanged(model, before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_frozen_parameters_count_like_all_others():
    model = synthetic.shaken(ResNet(1, 1, 3))
    free = scores(model, 16)
    assert scores(model.requires_grad_(False), 16) == free


def test_only_droppable_units_are_scored():
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 4))
    assert scores(model, 3, chain_of("1", "2", "3", fixed=(0, 2))).keys() == {1}


def test_a_unit_beside_the_flow_counts_nothing():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x):
            return self.used(x.flatten(1))

    found = scores(Unused(), 3, chain_of("used", "unused"))
    assert found[0] > 0
    assert found[1] == 0.0


def test_a_deep_network_is_within_double_precision_and_beyond_single():
    model = synthetic.network("resnet110", 128, 11)
    chain = chain_of("stem", *(f"blocks.{index}" for index in range(54)), "fc", fixed=(0, 55))
    found = scores(model, 128, chain)
    assert found.keys() == set(chain.droppable)
    assert all(0 < score < float("inf") for score in found.values())
    assert max(found.values()) > torch.finfo(torch.float32).max


def test_a_flow_beyond_double_precision_is_a_model_error():
    model = nn.Sequential(nn.Flatten(), *(nn.Linear(6, 6) for _ in range(12)))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 1e30)
    with pytest.raises(ModelError, match="beyond double precision") as caught:
        scores(model, 3, chain_of("1"))
    assert "`criterion`" in caught.value.hint
