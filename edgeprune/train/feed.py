"""Frames for the trainer: tensors, or a file that is read in blocks during training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgeprune.files.prefetch import ahead
from edgeprune.network.compute import free_bytes
from edgeprune.network.normalisation import normalise
from edgeprune.records.names import Normalisation

INFERENCE_BATCH = 1024
BLOCK_BYTES = 1 << 18
WINDOW_BYTES = 1 << 26
_LARGEST_SHARE = 0.5
"""Share of a GPU's free memory that frames may take; the rest is for activations and a teacher's outputs."""

Batch = tuple[Tensor, Tensor, Tensor]
"""Indices (n,) int64 among the training frames, the normalized frames (n, C, L), and their labels (n,)."""


class Feed(Protocol):
    """Source of training and validation frames; the trainer takes the same steps for any source."""

    @property
    def frames(self) -> int:
        """Number of training frames."""
        ...

    @property
    def resident(self) -> Tensor | None:
        """All training frames, normalized, if they are in the device's memory; otherwise None."""
        ...

    def on(self, device: torch.device) -> "Feed":
        """Move the source to a device: its batches are then on it."""
        ...

    def order(self, size: int, generator: torch.Generator) -> Tensor:
        """Indices of all training frames in a random order, int64 (N,) on the CPU, for batches of `size`."""
        ...

    def batches(self, places: Sequence[Tensor]) -> Iterator[Batch]:
        """Frames of each batch, given their indices on the CPU."""
        ...

    def validation(self, part: int = 0, parts: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalized validation frames and labels, in batches: every one of `parts`, beginning with `part`."""
        ...


Read = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class TrainingData:
    """Normalized frames (N, C, L) float32 and their labels (N,) int64, in memory."""

    train_iq: Tensor
    train_labels: Tensor
    validation_iq: Tensor
    validation_labels: Tensor
    device: torch.device = field(default=torch.device("cpu"))
    streamed: bool = False
    """Whether the frames stay in main memory, and are brought to the device a batch at a time."""

    @property
    def frames(self) -> int:
        """Number of training frames."""
        return len(self.train_labels)

    @property
    def resident(self) -> Tensor | None:
        """All training frames, unless they do not fit on the device."""
        return None if self.streamed else self.train_iq

    def on(self, device: torch.device) -> "TrainingData":
        """Move the frames to a device; if they would fill a GPU's memory, they are moved one batch at a time."""
        frames, free = [self.train_iq, self.validation_iq], free_bytes(device)
        fills = free is not None and sum(iq.nbytes for iq in frames) > _LARGEST_SHARE * free
        streamed = self.streamed or fills
        if not streamed:
            frames = [iq.to(device) for iq in frames]
        labels = [each.to(device) for each in (self.train_labels, self.validation_labels)]
        return TrainingData(frames[0], labels[0], frames[1], labels[1], device, streamed)

    def order(self, size: int, generator: torch.Generator) -> Tensor:  # noqa: ARG002 (of any batch)
        """Draw a random permutation."""
        return torch.randperm(self.frames, generator=generator)

    def batches(self, places: Sequence[Tensor]) -> Iterator[Batch]:
        """Frames of each batch."""
        if self.streamed:
            reads = (partial(_pinned, self.train_iq.__getitem__, chosen, self.device) for chosen in places)
            for chosen, iq in zip(_brought(places, self.device), ahead(reads), strict=True):
                yield chosen, iq.to(self.device, non_blocking=True), self.train_labels[chosen]
        else:
            for chosen in _brought(places, self.device):
                yield chosen, self.train_iq[chosen], self.train_labels[chosen]

    def validation(self, part: int = 0, parts: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Validation frames, in order."""
        pairs = (torch.split(each, INFERENCE_BATCH) for each in (self.validation_iq, self.validation_labels))
        for iq, labels in list(zip(*pairs, strict=True))[part::parts]:
            yield iq.to(self.device), labels


@dataclass(frozen=True)
class Stored:
    """Frames in a file.

    Attributes:
        read: Reads raw frames (n, C, L) by their indices, in the order of the indices.
        labels: Label of each frame, int64 (N,).
        frame_bytes: Size of one frame.
    """

    read: Read
    labels: Tensor
    frame_bytes: int

    def raw(self, places: Tensor) -> Tensor:
        """Read raw frames (n, C, L) by their indices (n,) on the CPU."""
        return torch.from_numpy(self.read(places.numpy()))


@dataclass(frozen=True)
class StreamedData:
    """Frames that are read during training, so that memory holds only a few of them at a time.

    They are shuffled in blocks. The file's blocks are put in a random order and cut into windows; within each window
    all frames are shuffled. A thread reads the next window during training on the current one.

    Attributes:
        train: Training frames.
        to_validate: Validation frames.
        normalisation: Normalization of each frame.
        device: Device of the batches.
        block_bytes: Size of the frames of a block, which lie together.
        window_bytes: Size of the frames of a window; two of them are in memory.
    """

    train: Stored
    to_validate: Stored
    normalisation: Normalisation
    device: torch.device = field(default=torch.device("cpu"))
    block_bytes: int = BLOCK_BYTES
    window_bytes: int = WINDOW_BYTES

    @property
    def frames(self) -> int:
        """Number of training frames."""
        return len(self.train.labels)

    @property
    def resident(self) -> None:
        """None, since the frames are not in memory."""
        return

    def on(self, device: torch.device) -> "StreamedData":
        """Move the source to a device: its batches, and the labels, are then on it."""
        train, to_validate = (replace(each, labels=each.labels.to(device)) for each in (self.train, self.to_validate))
        return replace(self, train=train, to_validate=to_validate, device=device)

    def order(self, size: int, generator: torch.Generator) -> Tensor:
        """Shuffle the blocks, and the frames within windows of them."""
        rows = max(1, self.block_bytes // self.train.frame_bytes)
        blocks = torch.split(torch.arange(self.frames), rows)
        order = torch.cat([blocks[number] for number in torch.randperm(len(blocks), generator=generator)])
        for window in torch.split(order, self._batches(size) * size):
            window.copy_(window[torch.randperm(len(window), generator=generator)])
        return order

    def batches(self, places: Sequence[Tensor]) -> Iterator[Batch]:
        """Frames of each batch, read ahead window by window."""
        count = self._batches(max(map(len, places), default=1))
        windows = [places[first : first + count] for first in range(0, len(places), count)]
        reads = (partial(_pinned, self.train.raw, torch.cat(tuple(window)), self.device) for window in windows)
        moved = _brought(places, self.device)
        for window, raw in zip(windows, ahead(reads), strict=True):
            for iq in torch.split(raw, [len(chosen) for chosen in window]):
                chosen = next(moved)
                frames = normalise(iq.to(self.device, non_blocking=True), self.normalisation)
                yield chosen, frames, self.train.labels[chosen]

    def validation(self, part: int = 0, parts: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Validation frames, in the order of the file."""
        labels = torch.split(self.to_validate.labels, INFERENCE_BATCH)[part::parts]
        places = torch.split(torch.arange(len(self.to_validate.labels)), INFERENCE_BATCH)[part::parts]
        reads = (partial(_pinned, self.to_validate.raw, some, self.device) for some in places)
        for raw, expected in zip(ahead(reads), labels, strict=True):
            yield normalise(raw.to(self.device, non_blocking=True), self.normalisation), expected

    def _batches(self, size: int) -> int:
        """Number of batches in a window."""
        return max(1, self.window_bytes // (self.train.frame_bytes * size))


def _pinned(read: Callable[[Tensor], Tensor], places: Tensor, device: torch.device) -> Tensor:
    """Frames in main memory; in pinned memory if they go to a GPU, which copies them during training."""
    frames = read(places)
    return frames.pin_memory() if device.type == "cuda" else frames


def _brought(places: Sequence[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Indices of each batch, all moved to a device at once."""
    return iter(torch.split(torch.cat(tuple(places)).to(device), [len(chosen) for chosen in places]))
