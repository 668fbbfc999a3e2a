"""A network that is lent out comes back where and as it was; what cannot be computed is said in one line."""

import re

import pytest
import torch
from simulated_card import SIMULATED, card
from torch import nn

from edgeprune.criteria.linear_probe import probe_accuracy
from edgeprune.errors import DeviceError, ModelError
from edgeprune.network.compute import CPU, Compute, beside, device_of, halved, host_copy


def network():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout(), nn.Conv2d(3, 4, 3))


def frozen_in_part():
    """A network whose modules are in different modes, some weights without gradients, some laid out channels last."""
    model = network().eval()
    model[2].train()
    model[0].weight.requires_grad_(False)
    model[3].weight.data = model[3].weight.data.contiguous(memory_format=torch.channels_last)
    return model


class TestLending:
    @pytest.mark.parametrize("ends", ["well", "badly"])
    def test_a_network_comes_back_as_it_was(self, ends):
        model = frozen_in_part()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        try:
            with CPU.lent(model, None):
                model.train()
                for parameter in model.parameters():
                    parameter.requires_grad_(not parameter.requires_grad)
                for convolution in (model[0], model[3]):
                    convolution.weight.data = convolution.weight.data.contiguous()
                model[0].weight.data = model[0].weight.data.contiguous(memory_format=torch.channels_last)
                if ends == "badly":
                    raise KeyError("a stage")
        except KeyError:
            assert ends == "badly"
        assert [module.training for module in model] == [False, False, True, False]
        assert not model.training
        assert [parameter.requires_grad for parameter in model.parameters()] == [False, *[True] * 5]
        assert model[0].weight.is_contiguous()
        assert model[3].weight.is_contiguous(memory_format=torch.channels_last)
        assert not model[3].weight.is_contiguous()
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def test_it_is_on_the_device_meanwhile(self):
        model = network()
        with Compute(device="meta").lent(model):
            assert {tensor.device.type for tensor in model.state_dict().values()} == {"meta"}
            assert beside(model, torch.zeros(2)).is_meta
            model.to_empty(device="cpu")  # what went to 'meta' has no values that could come back
        assert {tensor.device.type for tensor in model.state_dict().values()} == {"cpu"}

    @pytest.mark.parametrize("wrapped", [False, True])
    def test_too_little_memory_is_one_line_that_names_the_card(self, wrapped):
        def work():
            try:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has 1 GiB")
            except torch.OutOfMemoryError as error:
                if wrapped:
                    raise ValueError("a stage failed") from error
                raise

        with pytest.raises(DeviceError) as caught, Compute(name="NVIDIA Small").lent(network()):
            work()
        assert "NVIDIA Small has not enough memory" in caught.value.message
        assert "`compute='cpu'`" in caught.value.hint

    def test_any_other_error_stays_what_it_is(self):
        with pytest.raises(ZeroDivisionError), CPU.lent(network()):
            raise ZeroDivisionError


class TestPlaces:
    def test_a_network_without_tensors_is_on_the_cpu(self):
        assert device_of(nn.ReLU()) == torch.device("cpu")

    def test_a_network_of_buffers_alone_is_where_they_are(self):
        assert device_of(nn.BatchNorm1d(3, affine=False).to("meta")) == torch.device("meta")

    def test_what_is_there_already_is_not_copied(self):
        tensor = torch.zeros(3)
        assert beside(network(), tensor) is tensor

    def test_a_copy_on_the_host_shares_nothing(self):
        model = network()
        copy = host_copy(model)
        with torch.no_grad():
            copy[0].weight.zero_()
        assert model[0].weight.any()


class Holds:
    """A network that a card holds with so many frames at a time, and not with more."""

    def __init__(self, most):
        self.most, self.given = most, []

    def __call__(self, frames):
        self.given.append(len(frames))
        if len(frames) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 2 * frames


class TestMemory:
    @pytest.mark.parametrize(("most", "fitting"), [(100, 8), (8, 8), (7, 4), (3, 2), (1, 1)])
    def test_batches_are_halved_until_they_fit(self, most, fitting):
        frames = torch.arange(20.0)[:, None]
        answers, size = halved(Holds(most), frames, 8)
        assert torch.equal(answers, 2 * frames)
        assert size == fitting

    def test_a_few_frames_are_halved_from_their_number_on(self):
        work = Holds(2)
        _, size = halved(work, torch.zeros(4, 1), 1024)
        assert (size, work.given) == (2, [4, 2, 2])

    def test_one_frame_that_does_not_fit_is_an_error(self):
        with pytest.raises(torch.OutOfMemoryError):
            halved(Holds(0), torch.zeros(4, 1), 8)


class KeepsATensor(nn.Module):
    def __init__(self, kept):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.kept = kept

    def forward(self, x):
        window = self.kept[0] if isinstance(self.kept, list) else self.kept
        return self.layer(x) * window


class MakesATensor(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        return self.layer(x) + torch.zeros(2)


class TestNetworksThatStayBehind:
    @pytest.mark.parametrize("kept", [torch.ones(2), [torch.ones(2)]], ids=["tensor", "list"])
    def test_a_tensor_that_a_module_keeps_is_named(self, kept):
        model = nn.Sequential(nn.ReLU(), KeepsATensor(kept))
        with card(), pytest.raises(ModelError) as caught, SIMULATED.lent(model):
            model(beside(model, torch.zeros(3, 2)))
        assert caught.value.message == "1 keeps the tensor kept on cpu, and the network runs on cuda:0"
        assert "register_buffer" in caught.value.hint
        assert device_of(model) == torch.device("cpu")

    def test_the_line_that_makes_a_tensor_is_named(self):
        model = nn.Sequential(MakesATensor())
        with card(), pytest.raises(ModelError) as caught, SIMULATED.lent(model):
            model(beside(model, torch.zeros(3, 2)))
        assert "elsewhere than on cuda:0, in " in caught.value.message
        assert re.search(r"test_computing.py:\d+ \(return self.layer\(x\) \+ torch.zeros\(2\)\)", caught.value.message)

    def test_a_buffer_is_no_such_tensor(self):
        model = nn.Sequential(nn.BatchNorm1d(2))
        with card(), SIMULATED.lent(model):
            assert model.eval()(beside(model, torch.zeros(3, 2))).device == torch.device("cuda:0")

    def test_a_mistake_of_a_stage_is_not_blamed_on_the_network(self):
        labels = torch.tensor([0, 1, 0, 1])
        with card(), pytest.raises(RuntimeError, match="same device"), SIMULATED.lent(network()):
            probe_accuracy(torch.eye(4).to("cuda:0"), labels, torch.eye(4), labels)
