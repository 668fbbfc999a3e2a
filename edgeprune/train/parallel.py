"""Processes that train one network together, each on its share of every batch.

The first process runs the command. The others wait until it trains, receive the network and its frames, take the same
steps on their shares, and wait again. Everything but training is thus done, written and printed once.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from edgeprune.errors import DeviceError, ModelError, reason_of

_LONGEST_WAIT = timedelta(days=7)  # while the first process does what is done once


@dataclass(frozen=True)
class Processes:
    """Rank of this process, and the number of processes."""

    rank: int = 0
    count: int = 1

    def add(self, tensor: Tensor) -> None:
        """Sum a tensor over all processes, in place."""
        if self.count > 1:
            distributed.all_reduce(tensor)

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum gradients over all processes, in one message."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        together = torch.cat([gradient.flatten() for gradient in gradients])
        self.add(together)
        parts = torch.split(together, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def gathered(self, tensor: Tensor) -> Tensor:
        """Stack the tensors of all processes, which have one shape, in the order of the processes."""
        parts = [torch.empty_like(tensor) for _ in range(self.count)]
        distributed.all_gather(parts, tensor)
        return torch.stack(parts)

    def told(self, what: Any = None) -> Any:
        """Broadcast a value from the first process to every process."""
        if self.count == 1:
            return what
        box = [what]
        distributed.broadcast_object_list(box)
        return box[0]

    def agree(self, fine: bool) -> bool:
        """Whether all is well in every process."""
        failures = torch.tensor(0 if fine else 1)
        self.add(failures)
        return not failures.item()


ALONE = Processes()


def here() -> Processes:
    """Processes that this one trains with."""
    if distributed.is_available() and distributed.is_initialized():
        return Processes(distributed.get_rank(), distributed.get_world_size())
    return ALONE


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that a launcher started with this one; at the end the first dismisses the others.

    Raises:
        DeviceError: The processes do not find each other.
    """
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        distributed.init_process_group(backend, timeout=_LONGEST_WAIT)
    except (RuntimeError, ValueError) as error:
        raise DeviceError(
            f"the processes of this training do not find each other: {reason_of(error)}",
            "Start them with: accelerate launch --num_processes N -m edgeprune ...",
        ) from error
    processes = here()
    try:
        yield processes
    finally:
        if processes.rank == 0 and distributed.is_initialized():
            processes.told(None)
        leave()


def leave() -> None:
    """Continue alone; processes that wait for this one end."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def together(processes: Processes) -> Iterator[None]:
    """Train together; after an error each process continues alone, since the others may wait forever.

    Raises:
        DeviceError: Another process ended.
    """
    try:
        yield
    except BaseException as error:
        if processes.count == 1:
            raise
        leave()
        if _gone(error):
            raise DeviceError(
                f"another process of this training ended: {reason_of(error)}",
                "The same command continues after the last finished epoch",
            ) from error
        raise


def follow(processes: Processes, learn: Callable[[Any, Processes], None]) -> int:
    """Take part whenever the first process trains, until it dismisses the others.

    Args:
        processes: This one and the others.
        learn: Takes the steps of a training that was received.

    Returns:
        The exit code.
    """
    while True:
        try:
            task = processes.told()
        except Exception as error:
            if _gone(error):
                return 0
            processes.agree(False)  # what was sent cannot be read here
            continue
        if task is None:
            return 0
        if processes.agree(True):
            try:
                learn(task, processes)
            except ModelError:  # that the loss diverged, which the first process says
                return 0
            except DeviceError as error:
                if not _gone(error.__cause__):
                    raise
                return 0


def _gone(error: BaseException | None) -> bool:
    """Whether an error means that another process ended."""
    return isinstance(error, RuntimeError) and ("gloo" in str(error) or isinstance(error, distributed.DistError))


def send(task: Any, processes: Processes) -> str | None:
    """Send a training to the other processes; returns None, or the reason why they cannot take part."""
    try:
        processes.told(task)
    except Exception as error:  # whatever a network holds that cannot be sent; nothing has been sent then
        return reason_of(error)
    return None if processes.agree(True) else "another process cannot read it"
