"""A network that is lent out comes back where and as it was; what cannot be computed is said in one line."""

import pytest
import torch
from torch import nn

from edgeprune.errors import DeviceError
from edgeprune.network.compute import CPU, Compute, beside, device_of, host_copy


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
        assert "--compute cpu" in caught.value.hint

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
