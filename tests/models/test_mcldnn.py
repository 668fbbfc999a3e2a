import numpy as np
import pytest
import synthetic
import torch
from scipy.signal import correlate, correlate2d
from torch import nn

from edgeprune.errors import ModelError
from edgeprune.models.mcldnn import family


def test_number_of_parameters_as_published(built, parameters):
    # Conv (2,8)x1x50, two of 8x1x50, (1,8)x50x50 and (2,5)x100x100; CuDNN's LSTM has two biases, as PyTorch's.
    convolutions = (16 * 50 + 50) + 2 * (8 * 50 + 50) + (8 * 50 * 50 + 50) + (10 * 100 * 100 + 100)
    recurrent = 4 * 128 * (100 + 128 + 2) + 4 * 128 * (128 + 128 + 2)
    linear = 2 * (128 * 128 + 128) + (128 * 11 + 11)
    assert parameters(built("mcldnn", 128, 11)) == 406_199
    assert convolutions + recurrent + linear == 406_199


@pytest.mark.parametrize(("length", "classes"), [(512, 12), (1024, 24)])
def test_only_the_head_depends_on_the_data_set(built, parameters, length, classes):
    assert parameters(built("mcldnn", length, classes)) == 406_199 + (classes - 11) * 129


def test_frames_shorter_than_the_unpadded_kernel():
    with pytest.raises(ModelError, match="takes frames of 5 samples or more, not 4"):
        family.build("mcldnn", channels=2, length=4, classes=3)


@torch.no_grad()
def test_branches_pad_as_keras_does(built):
    network = built("mcldnn", 20, 3, "cpu")
    frames = synthetic.signals(2, 20)
    rows = frames[1].double().numpy()

    def response(values, bias):
        return torch.from_numpy(np.maximum(values + bias.item(), 0)).float()

    for branch, row in ((network.in_phase, 0), (network.quadrature, 1)):
        conv = branch[1]
        causal = np.concatenate([np.zeros(7), rows[row]])
        expected = response(correlate(causal, conv.weight[9, 0].double().numpy(), "valid"), conv.bias[9])
        torch.testing.assert_close(branch(frames[:, row : row + 1])[1, 9], expected)
    # `same`: 7 columns too few, so 3 in front and 4 behind; 1 row too few, so none above and one below.
    conv = network.both[1]
    padded = np.pad(rows, ((0, 1), (3, 4)))
    expected = response(correlate2d(padded, conv.weight[9, 0].double().numpy(), "valid"), conv.bias[9])
    torch.testing.assert_close(network.both(frames[:, None])[1, 9], expected)


@torch.no_grad()
def test_what_each_part_reads(built):
    network = built("mcldnn", 20, 3, "cpu")
    read = {}
    for name in ("in_phase", "quadrature", "both", "separate", "joint", "lstm", "hidden1"):
        network.get_submodule(name).register_forward_hook(
            lambda _module, inputs, output, name=name: read.update({name: (inputs[0], output)})
        )
    frames = synthetic.signals(2, 20)
    network(frames)
    assert torch.equal(read["in_phase"][0], frames[:, :1])
    assert torch.equal(read["quadrature"][0], frames[:, 1:])
    assert torch.equal(read["both"][0][:, 0], frames)
    rows = [read["separate"][0][:, :, row] for row in range(2)]
    assert torch.equal(rows[0], read["in_phase"][1])
    assert torch.equal(rows[1], read["quadrature"][1])
    assert torch.equal(read["joint"][0], torch.cat([read["both"][1], read["separate"][1]], dim=1))
    assert read["joint"][1].shape == (2, 100, 1, 16)
    assert torch.equal(read["lstm"][0], read["joint"][1][:, :, 0].permute(0, 2, 1))
    assert torch.equal(read["hidden1"][0], read["lstm"][1][0][:, -1])


@torch.no_grad()
def test_the_two_lstm_layers_are_the_published_ones(built):
    network = built("mcldnn", 20, 3, "cpu")
    first, second = nn.LSTM(100, 128, batch_first=True), nn.LSTM(128, 128, batch_first=True)
    for place, layer in enumerate((first, second)):
        layer.load_state_dict({key: network.lstm.state_dict()[f"{key[:-1]}{place}"] for key in layer.state_dict()})
    steps = torch.randn(2, 16, 100)
    torch.testing.assert_close(network.lstm(steps)[0], second(first(steps)[0])[0])


@torch.no_grad()
def test_hidden_layers_end_in_selu(built):
    # Klambauer et al. 2017: scale · x above zero, scale · alpha · (exp x - 1) below.
    hidden = built("mcldnn", 20, 3, "cpu").hidden1
    x = torch.randn(2, 128)
    linear = x @ hidden[0].weight.T + hidden[0].bias
    expected = 1.0507009873554805 * torch.where(linear > 0, linear, 1.6732632423543772 * (linear.exp() - 1))
    torch.testing.assert_close(hidden(x), expected)
