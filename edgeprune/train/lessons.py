"""All random numbers of an epoch, drawn before its first step, so that no step waits for the device."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeprune.train.augment import QUARTERS, draw_mixing
from edgeprune.train.feed import Feed
from edgeprune.train.parallel import ALONE, Processes


@dataclass(frozen=True)
class Lesson:
    """Share of one process in one step.

    Attributes:
        places: Indices of the training frames to read, int64 (r,) on the CPU; the first `own` are trained on.
        own: Number of frames to train on.
        share: Share of the step's frames over all processes, 0 to 1.
        level: Level of each of `own` in its mixture, float32 (own,); None where nothing is mixed.
        other: Index, among the frames read, of the frame mixed into each, int64 (own,).
    """

    places: Tensor
    own: int
    share: float = 1.0
    level: Tensor | None = None
    other: Tensor | None = None


@dataclass(frozen=True)
class Lessons:
    """Steps of an epoch, and the quarter turns of every frame, int64 (N,), on the device."""

    steps: tuple[Lesson, ...]
    turns: Tensor


def steps_of(frames: int, batch_size: int, processes: int = 1) -> int:
    """Number of steps in an epoch, without a last batch too small for batch norm or for one frame a process."""
    return frames // batch_size + (frames % batch_size >= max(2, processes))


def draw(
    data: Feed,
    batch_size: int,
    seed: int,
    *,
    rotate: bool,
    mixed: float,
    device: torch.device,
    processes: Processes = ALONE,
) -> Lessons:
    """Draw an epoch; every process draws the same numbers and takes its share.

    Args:
        data: The frames.
        batch_size: Number of frames in a step, over all processes.
        seed: Seed of the epoch.
        rotate: Turn every frame by a random quarter turn.
        mixed: Fraction of each batch that is mixed with another frame.
        device: Device of the network.
        processes: Processes that share a step.
    """
    generator = torch.Generator().manual_seed(seed)
    order = data.order(batch_size, generator)
    turns = torch.randint(0, QUARTERS if rotate else 1, (data.frames,), generator=generator)
    batches = torch.split(order, batch_size)[: steps_of(data.frames, batch_size, processes.count)]
    mixings = [draw_mixing(len(batch), mixed, generator) if mixed else None for batch in batches]
    lessons = [
        _shared(batch, mixing, processes) if processes.count > 1 else _whole(batch, mixing)
        for batch, mixing in zip(batches, mixings, strict=True)
    ]
    return Lessons(tuple(_on(lessons, device)), turns.to(device))


def _whole(batch: Tensor, mixing: tuple[Tensor, Tensor] | None) -> Lesson:
    level, other = mixing or (None, None)
    return Lesson(batch, len(batch), level=level, other=other)


def _shared(batch: Tensor, mixing: tuple[Tensor, Tensor] | None, processes: Processes) -> Lesson:
    """Take the share of one process of a batch; it also reads the frames to mix in, whoever trains on those."""
    mine = torch.arange(len(batch)).tensor_split(processes.count)[processes.rank]
    own, share = len(mine), len(mine) / len(batch)
    if mixing is None:
        return Lesson(batch[mine], own, share)
    level, other = (drawn[mine] for drawn in mixing)
    return Lesson(torch.cat((batch[mine], batch[other])), own, share, level, torch.arange(own, 2 * own))


def _on(lessons: Sequence[Lesson], device: torch.device) -> Iterator[Lesson]:
    """Move the mixing of all lessons to a device at once."""
    sizes = [lesson.own for lesson in lessons]
    levels = [lesson.level for lesson in lessons if lesson.level is not None]
    others = [lesson.other for lesson in lessons if lesson.other is not None]
    if not levels:
        yield from lessons
        return
    moved = (torch.split(torch.cat(drawn).to(device), sizes) for drawn in (levels, others))
    for lesson, level, other in zip(lessons, *moved, strict=True):
        yield Lesson(lesson.places, lesson.own, lesson.share, level, other)
