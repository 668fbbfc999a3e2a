"""Where the trainer's frames come from: tensors, or a file that is read in blocks while the network learns."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgeprune.normalisation import normalise
from edgeprune.prefetch import ahead

INFERENCE_BATCH = 1024
BLOCK_BYTES = 1 << 18
WINDOW_BYTES = 1 << 26

Batch = tuple[Tensor, Tensor, Tensor]
"""Places (n,) int64 of frames among those for training, the normalised frames (n, C, L), and their labels (n,)."""


class Feed(Protocol):
    """What a network learns from and is chosen by; the trainer takes the same steps whatever it is."""

    @property
    def frames(self) -> int:
        """How many there are for training."""
        ...

    @property
    def resident(self) -> Tensor | None:
        """All of them, normalised, where they are in memory; else None."""
        ...

    def on(self, device: torch.device) -> "Feed":
        """The same, its batches on a device."""
        ...

    def order(self, size: int, generator: torch.Generator) -> Tensor:
        """The places of all frames for training in a random order, int64 (N,), for batches of `size`."""
        ...

    def batches(self, order: Tensor, size: int) -> Iterator[Batch]:
        """The frames in that order, `size` at a time."""
        ...

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised frames and labels to choose by, in batches."""
        ...


@dataclass(frozen=True)
class TrainingData:
    """Normalised frames (N, C, L) float32 and their labels (N,) int64, in memory."""

    train_iq: Tensor
    train_labels: Tensor
    validation_iq: Tensor
    validation_labels: Tensor
    device: torch.device = field(default=torch.device("cpu"))

    @property
    def frames(self) -> int:
        """How many there are for training."""
        return len(self.train_labels)

    @property
    def resident(self) -> Tensor:
        """All of them."""
        return self.train_iq

    def on(self, device: torch.device) -> "TrainingData":
        """The frames for training moved there, those for validation when they are used."""
        return replace(
            self, train_iq=self.train_iq.to(device), train_labels=self.train_labels.to(device), device=device
        )

    def order(self, size: int, generator: torch.Generator) -> Tensor:  # noqa: ARG002 (of any batch)
        """A random permutation."""
        return torch.randperm(self.frames, generator=generator).to(self.device)

    def batches(self, order: Tensor, size: int) -> Iterator[Batch]:
        """The frames in that order, `size` at a time."""
        for chosen in torch.split(order, size):
            yield chosen, self.train_iq[chosen], self.train_labels[chosen]

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The frames to choose by, in order."""
        pairs = (torch.split(each, INFERENCE_BATCH) for each in (self.validation_iq, self.validation_labels))
        for iq, labels in zip(*pairs, strict=True):
            yield iq.to(self.device), labels.to(self.device)


Read = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Stored:
    """Frames in a file.

    Attributes:
        read: Raw frames (n, C, L) of places among these, in the order of the places.
        labels: Of each, int64 (N,).
        frame_bytes: Size of one.
    """

    read: Read
    labels: Tensor
    frame_bytes: int


@dataclass(frozen=True)
class StreamedData:
    """Frames that are read while the network learns, so that memory holds a few of them at a time.

    They are shuffled in blocks: the file's blocks of frames in a random order, cut into windows, and in each window all
    frames in a random order. One window is learnt from while a thread reads the next.

    Attributes:
        train: For training.
        to_validate: To choose by.
        normalisation: Of each frame.
        device: For the batches.
        block_bytes: Of the frames of a block, which lie together.
        window_bytes: Of the frames of a window; two of them are in memory.
    """

    train: Stored
    to_validate: Stored
    normalisation: Literal["rms", "none"]
    device: torch.device = field(default=torch.device("cpu"))
    block_bytes: int = BLOCK_BYTES
    window_bytes: int = WINDOW_BYTES

    @property
    def frames(self) -> int:
        """How many there are for training."""
        return len(self.train.labels)

    @property
    def resident(self) -> None:
        """They are not in memory."""
        return

    def on(self, device: torch.device) -> "StreamedData":
        """The same, its batches on a device."""
        return replace(self, device=device)

    def order(self, size: int, generator: torch.Generator) -> Tensor:
        """Shuffled blocks, and frames shuffled in windows of them."""
        rows = max(1, self.block_bytes // self.train.frame_bytes)
        blocks = torch.split(torch.arange(self.frames), rows)
        order = torch.cat([blocks[number] for number in torch.randperm(len(blocks), generator=generator)])
        for window in torch.split(order, self._window(size)):
            window.copy_(window[torch.randperm(len(window), generator=generator)])
        return order

    def batches(self, order: Tensor, size: int) -> Iterator[Batch]:
        """The frames in that order, `size` at a time, read window by window ahead of their use."""
        windows = torch.split(order, self._window(size))
        reads = (partial(self.train.read, window.numpy()) for window in windows)
        for window, raw in zip(windows, ahead(reads), strict=True):
            for chosen, iq in zip(torch.split(window, size), torch.split(torch.from_numpy(raw), size), strict=True):
                frames = normalise(iq.to(self.device), self.normalisation)
                yield chosen.to(self.device), frames, self.train.labels[chosen].to(self.device)

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The frames to choose by, in the order of the file."""
        labels = torch.split(self.to_validate.labels, INFERENCE_BATCH)
        places = torch.split(torch.arange(len(self.to_validate.labels)), INFERENCE_BATCH)
        reads = (partial(self.to_validate.read, some.numpy()) for some in places)
        for raw, expected in zip(ahead(reads), labels, strict=True):
            iq = torch.from_numpy(raw).to(self.device)
            yield normalise(iq, self.normalisation), expected.to(self.device)

    def _window(self, size: int) -> int:
        """Frames of a window: whole batches."""
        return max(1, self.window_bytes // (self.train.frame_bytes * size)) * size
