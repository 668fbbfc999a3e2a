"""A small transformer over the I/Q samples, in the form of ViT (Dosovitskiy et al. 2021) without a class token.

Patches of eight samples are embedded by a convolution; four blocks of attention and feed-forward layers, normalized in
front (Xiong et al. 2020), read them; their mean is classified. Each half of a block is a module that adds to its input.
"""

import torch
from torch import Tensor, nn

from edgeprune.models._frames import require_iq

PATCH = 8
WIDTH = 48
HEADS = 4
BLOCKS = 4
FEED_FORWARD = 2 * WIDTH


class PatchEmbedding(nn.Module):
    """A convolution over patches that do not overlap, plus a learned vector for each place.

    Args:
        length: Samples in a frame; what is left over after the last whole patch is not read.
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.patches = nn.Conv1d(2, WIDTH, PATCH, stride=PATCH)
        self.positions = nn.Parameter(torch.empty(length // PATCH, WIDTH))
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Map frames (N, 2, L) to tokens (N, L/8, 48)."""
        tokens: Tensor = self.patches(x).transpose(1, 2) + self.positions
        return tokens


class SelfAttention(nn.Module):
    """Scaled dot-product attention with four heads (Vaswani et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (N, T, 48) to the same shape."""
        query, key, value = self.qkv(x).unflatten(2, (3, HEADS, -1)).transpose(1, 3).unbind(2)
        attended = nn.functional.scaled_dot_product_attention(query, key, value)
        mixed: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return mixed


class Residual(nn.Module):
    """A layer on the normalized input, added to the input."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (N, T, 48) to the same shape."""
        changed: Tensor = x + self.body(self.norm(x))
        return changed


class IQTransformer(nn.Module):
    """Patch embedding, four blocks of two residual modules each, normalization, mean over tokens, one linear layer.

    Args:
        length: Samples in a frame, 8 or more.
        classes: Number of outputs.
    """

    def __init__(self, length: int, classes: int) -> None:
        super().__init__()
        self.embedding = PatchEmbedding(length)
        layers: list[nn.Module] = []
        for _ in range(BLOCKS):
            layers.append(Residual(SelfAttention()))
            feed_forward = nn.Sequential(nn.Linear(WIDTH, FEED_FORWARD), nn.GELU(), nn.Linear(FEED_FORWARD, WIDTH))
            layers.append(Residual(feed_forward))
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(WIDTH)
        self.fc = nn.Linear(WIDTH, classes)
        self._initialise()

    def _initialise(self) -> None:
        """Glorot initialization of the linear layers, without biases."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Classify frames (N, 2, L) into logits (N, classes)."""
        tokens = self.norm(self.blocks(self.embedding(x)))
        logits: Tensor = self.fc(tokens.mean(dim=1))
        return logits


class TransformerFamily:
    """Builds the one transformer."""

    names = ("iq-transformer",)

    def build(self, name: str, channels: int, length: int, classes: int) -> nn.Module:
        """Build it for frames (N, 2, length); the network reads only that length.

        Raises:
            ModelError: The frames do not have the two channels I and Q, or are shorter than a patch.
        """
        require_iq(name, channels, length, PATCH)
        return IQTransformer(length, classes)


family = TransformerFamily()
