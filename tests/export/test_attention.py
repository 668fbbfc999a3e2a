"""Attention by its formula: against PyTorch's own, and in files of opset 13."""

from collections import Counter

import onnx
import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from edgeprune.export.attention import attention, decomposed_attention
from edgeprune.export.onnx import export_onnx
from edgeprune.records.pruning import InputSpec


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": 0.3},
        {"is_causal": True},
        {"attn_mask": torch.arange(35).reshape(5, 7) % 3 > 0},
        {"attn_mask": torch.linspace(-2, 2, 35).reshape(5, 7)},
        {"enable_gqa": True},
    ],
    ids=["plain", "scale", "causal", "mask", "bias", "shared heads"],
)
def test_it_is_what_pytorch_computes(options):
    generator = torch.Generator().manual_seed(0)
    heads = 1 if "enable_gqa" in options else 2
    query = torch.randn(3, 2, 5, 4, generator=generator)
    key, value = (torch.randn(3, heads, 7, 4, generator=generator) for _ in range(2))
    torch.testing.assert_close(
        attention(query, key, value, **options), scaled_dot_product_attention(query, key, value, **options)
    )


class Held(nn.Module):
    """Attention by the function that this file holds."""

    def forward(self, x):
        return scaled_dot_product_attention(x, x, x)


def encoder():
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)


@pytest.mark.parametrize("inside", [Held, encoder])
def test_a_network_with_attention_is_exported_at_opset_13_and_answers_the_same(inside, tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(2, 8, 4, 4), nn.Flatten(2), nn.Linear(4, 8), inside(), nn.Flatten(), nn.Linear(64, 3)
    )
    path = tmp_path / "network.onnx"
    route = export_onnx(
        model.eval(), InputSpec(2, 16), path, opset=13, batch_size=1, metadata={}
    )  # compares the logits
    assert route == "TorchScript at opset 13"
    operators = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert operators["Softmax"] == 1


def test_afterwards_all_is_as_before():
    fast = torch.backends.mha.get_fastpath_enabled()
    with decomposed_attention():
        assert nn.functional.scaled_dot_product_attention is attention
    assert nn.functional.scaled_dot_product_attention is scaled_dot_product_attention
    assert torch.backends.mha.get_fastpath_enabled() == fast
