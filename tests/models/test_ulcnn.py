import numpy as np
import pytest
import scipy.linalg
import synthetic
import torch

from edgeprune.models.ulcnn import ChannelAttention, ComplexBatchNorm1d, ComplexConv1d, ShuffledSeparable


def as_complex(x):
    """(N, 2 C, L) with the imaginary channels behind the real ones as complex (N, C, L)."""
    real, imaginary = x.chunk(2, dim=1)
    return torch.complex(real, imaginary)


def test_number_of_parameters_as_published(built, parameters):
    # Keras counts running statistics: mean and variance of six real norms of 32 channels; of the complex norm two means
    # and three covariances of 16 channels. PyTorch also keeps one step counter for each real norm.
    network = built("ulcnn", 128, 11)
    running = sum(values.numel() for name, values in network.named_buffers() if "running" in name)
    assert running == 6 * 2 * 32 + 5 * 16
    assert parameters(network) == 9_287
    assert parameters(network) + running == 9_751


@pytest.mark.parametrize(("length", "classes"), [(512, 12), (1024, 24)])
def test_only_the_head_depends_on_the_data_set(built, parameters, length, classes):
    assert parameters(built("ulcnn", length, classes)) == 9_287 + (classes - 11) * 33


@torch.no_grad()
def test_complex_convolution_against_complex_arithmetic():
    layer = ComplexConv1d(3, 4, 5)
    torch.nn.init.normal_(layer.bias)
    x = synthetic.signals(2, 3 * 7).reshape(2, 6, 7)
    weight, bias = torch.complex(layer.real, layer.imaginary), torch.complex(*layer.bias.chunk(2))
    expected = torch.nn.functional.conv1d(as_complex(x), weight, bias, padding=2)
    torch.testing.assert_close(as_complex(layer(x)), expected)


@torch.no_grad()
@pytest.mark.parametrize("training", [True, False])
def test_complex_batch_norm_against_the_matrix_square_root(training):
    norm = ComplexBatchNorm1d(3).train(training)
    norm.weight.add_(0.2 * torch.randn(3, 3))
    norm.bias.add_(torch.randn(2, 3))
    norm.running_mean.add_(torch.randn(2, 3))
    norm.running_covariance.copy_(torch.tensor([[2.0, 1.0, 0.5], [1.0, 3.0, 0.7], [0.9, -0.8, 0.1]]))
    x = torch.randn(8, 6, 5) * 2 + 1
    kept = (norm.running_mean.numpy().copy(), norm.running_covariance.numpy().copy())
    found = norm(x).double().numpy()
    for channel in range(3):
        parts = x[:, [channel, 3 + channel]].double().numpy().transpose(1, 0, 2).reshape(2, -1)
        mean, covariance = parts.mean(axis=1), np.cov(parts, bias=True)
        if not training:
            mean, (rr, ii, ri) = kept[0][:, channel], kept[1][:, channel]
            covariance = np.array([[rr, ri], [ri, ii]])
        white = np.linalg.inv(scipy.linalg.sqrtm(covariance + 1e-4 * np.eye(2)))
        rr, ii, ri = norm.weight[:, channel].double().numpy()
        expected = np.array([[rr, ri], [ri, ii]]) @ white @ (parts - mean[:, None])
        expected += norm.bias[:, channel].double().numpy()[:, None]
        ours = found[:, [channel, 3 + channel]].transpose(1, 0, 2).reshape(2, -1)
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_complex_batch_norm_moves_its_statistics_towards_the_batch_in_training_only():
    norm = ComplexBatchNorm1d(1, momentum=0.25)
    x = torch.randn(8, 2, 5) * 2 + 1
    parts = x.double().numpy().transpose(1, 0, 2).reshape(2, -1)
    before = (norm.running_mean.clone(), norm.running_covariance.clone())
    norm.eval()(x)
    assert torch.equal(norm.running_mean, before[0])
    assert torch.equal(norm.running_covariance, before[1])
    norm.train()(x)
    (rr, ri), (_, ii) = np.cov(parts, bias=True)
    np.testing.assert_allclose(norm.running_mean[:, 0], 0.25 * parts.mean(axis=1), rtol=1e-5)
    start = np.array([0.5**0.5, 0.5**0.5, 0.0])
    expected = 0.75 * start + 0.25 * np.array([rr, ii, ri])
    np.testing.assert_allclose(norm.running_covariance[:, 0], expected, rtol=1e-5)


def test_complex_batch_norm_computes_bf16_input_in_float32():
    norm = ComplexBatchNorm1d(2).eval()
    x = torch.randn(2, 4, 5).bfloat16()
    assert norm(x).dtype == torch.float32
    torch.testing.assert_close(norm(x), norm(x.float()))
    assert norm.double()(x.double()).dtype == torch.float64


@torch.no_grad()
def test_shuffle_takes_turns_between_the_two_halves_of_the_channels():
    unit = synthetic.shaken(ShuffledSeparable())
    x = torch.randn(2, 32, 9)
    unshuffled = torch.relu(unit.bn(unit.pointwise(unit.depthwise(x))))
    turns = [half * 16 + place for place in range(16) for half in range(2)]
    assert turns[:4] == [0, 16, 1, 17]
    assert unit(x).shape == (2, 32, 5)
    assert torch.equal(unit(x), unshuffled[:, turns])


@torch.no_grad()
def test_attention_by_its_formula():
    attention = ChannelAttention()
    first, _, second = attention.weigh
    x = torch.randn(2, 32, 6)
    logits = 0
    for summary in (x.numpy().mean(axis=2), x.numpy().max(axis=2)):
        hidden = np.maximum(summary @ first.weight.numpy().T + first.bias.numpy(), 0)
        logits = logits + hidden @ second.weight.numpy().T + second.bias.numpy()
    expected = x.numpy() / (1 + np.exp(-logits))[:, :, None]
    torch.testing.assert_close(attention(x), torch.from_numpy(expected))


@torch.no_grad()
def test_the_head_reads_the_sum_of_the_last_three_means(built):
    network = synthetic.shaken(built("ulcnn", 128, 11, "cpu"))
    frames = synthetic.signals(2, 128)
    x = network.stem(frames)
    left = []
    for unit in [*network.early, *network.summed]:
        x = unit(x)
        left.append(x)
    assert [values.shape[2] for values in left] == [64, 32, 16, 8, 4, 2]
    summed = sum(values.sum(dim=2) / values.shape[2] for values in left[3:])
    torch.testing.assert_close(network(frames), summed @ network.fc.weight.T + network.fc.bias)
