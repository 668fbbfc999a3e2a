import pytest
import synthetic
import torch
from torch import nn

from edgeprune.errors import ModelError
from edgeprune.models.transformer import PatchEmbedding, Residual, SelfAttention, family


@pytest.mark.parametrize(("length", "classes"), [(128, 11), (512, 12), (1024, 24)])
def test_number_of_parameters_by_hand(built, parameters, length, classes):
    norm = 2 * 48
    attention = norm + 48 * 144 + 144 + 48 * 48 + 48
    feed_forward = norm + 48 * 96 + 96 + 96 * 48 + 48
    embedding = 2 * 8 * 48 + 48 + length // 8 * 48
    count = parameters(built("iq-transformer", length, classes))
    assert count == embedding + 4 * (attention + feed_forward) + norm + 48 * classes + classes
    assert count < 100_000


@torch.no_grad()
def test_attention_against_the_layer_of_pytorch():
    ours, theirs = SelfAttention(), nn.MultiheadAttention(48, 4, batch_first=True)
    theirs.in_proj_weight.copy_(ours.qkv.weight)
    theirs.in_proj_bias.copy_(ours.qkv.bias)
    theirs.out_proj.weight.copy_(ours.out.weight)
    theirs.out_proj.bias.copy_(ours.out.bias)
    x = torch.randn(3, 7, 48)
    expected, _ = theirs(x, x, x)
    torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_residual_by_its_formula():
    residual = Residual(nn.Linear(48, 48))
    nn.init.normal_(residual.norm.weight)
    x = torch.randn(2, 3, 48)
    centred = x - x.mean(dim=2, keepdim=True)
    normed = centred / (centred.square().mean(dim=2, keepdim=True) + 1e-5).sqrt() * residual.norm.weight
    expected = x + normed @ residual.body.weight.T + residual.body.bias
    torch.testing.assert_close(residual(x), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_token_is_eight_samples_and_its_place():
    embedding = PatchEmbedding(20)
    frames = synthetic.signals(2, 20)
    tokens = embedding(frames)
    assert tokens.shape == (2, 2, 48)
    kernel, bias = embedding.patches.weight.flatten(1), embedding.patches.bias
    for place in range(2):
        patch = frames[:, :, 8 * place : 8 * place + 8].flatten(1)
        torch.testing.assert_close(tokens[:, place], patch @ kernel.T + bias + embedding.positions[place])


@torch.no_grad()
def test_the_head_reads_the_mean_token(built):
    network = built("iq-transformer", 32, 3, "cpu")
    frames = synthetic.signals(2, 32)
    tokens = network.norm(network.blocks(network.embedding(frames)))
    expected = tokens.sum(dim=1) / 4 @ network.fc.weight.T + network.fc.bias
    torch.testing.assert_close(network(frames), expected)


def test_frames_shorter_than_a_patch():
    with pytest.raises(ModelError, match="takes frames of 8 samples or more, not 7"):
        family.build("iq-transformer", channels=2, length=7, classes=3)
