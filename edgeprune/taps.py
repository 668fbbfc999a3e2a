"""Taps: where in a running network the output of each unit can be read.

A unit is found in the data flow, and read at its modules by hooks, or at a step of the code it lies in. Every output
is handed over the moment it appears and then let go, so that reading costs little more than the forward pass and
activations are never kept.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from edgeprune.errors import DataError, ModelError
from edgeprune.probe import PROBE_FRAMES
from edgeprune.records import LayerChain, Unit
from edgeprune.tracing import overheard

T = TypeVar("T")


Hear = Callable[[Tensor | None], None]


@dataclass(frozen=True)
class Place:
    """Where a tensor is read: what goes into a module, what comes out of it, or what a step in its code gives."""

    module: nn.Module
    side: Literal["input", "output", "step"]
    step: str = ""


@dataclass(frozen=True)
class Tap:
    """Where a unit's output is read, in which pass through that place, and its shape for `PROBE_FRAMES` frames."""

    unit: Unit
    place: Place
    turn: int
    probe_shape: torch.Size


def taps_of(model: nn.Module, chain: LayerChain, frames: Tensor) -> list[Tap]:
    """Choose for each unit the first of its places that is passed as often as units use it, by watching one small pass.

    So the third unit that is made by a shared module is read in that module's third call. A module that is called more
    often cannot tell which unit it works for; what a larger module puts out once is the last unit's in it.

    Args:
        model: The network the chain was found in, in eval mode.
        chain: Its units.
        frames: Normalised frames (n, channels, length), of which the first is enough.

    Raises:
        DataError: The frames do not fit the network.
        ModelError: The output of a unit cannot be read.
    """
    places = _places(model, chain)
    shapes: dict[Place, list[torch.Size | None]] = {place: [] for options in places for place in options}

    def note(tensor: Tensor | None, seen: list[torch.Size | None]) -> None:
        seen.append(None if tensor is None else tensor.shape)

    with _listening({place: partial(note, seen=seen) for place, seen in shapes.items()}):
        try:
            model(frames[:1].repeat(PROBE_FRAMES, 1, 1))
        except (RuntimeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            shape = tuple(frames.shape[1:])
            raise DataError(f"the network fails on frames of shape {shape}: {reason}") from error
    users: dict[Place, list[int]] = {place: [] for place in shapes}
    for index, options in enumerate(places):
        for place in dict.fromkeys(options):
            users[place].append(index)
    taps = []
    for index, (unit, options) in enumerate(zip(chain.units, places, strict=True)):
        turns = {place: _turn(place, users[place], index, len(shapes[place])) for place in options}
        found = [(place, turn, shapes[place][turn]) for place, turn in turns.items() if turn is not None]
        readable = [Tap(unit, place, turn, shape) for place, turn, shape in found if shape is not None]
        if not readable:
            raise ModelError(
                f"the output of unit {unit.index} ({unit.path}) cannot be read: none of its modules runs just for it",
                "Give each place of the network a module of its own",
            )
        taps.append(readable[0])
    return taps


def _turn(place: Place, users: list[int], unit: int, passes: int) -> int | None:
    """In which of several passes through a place a unit's output passes, or None."""
    if passes == len(users):
        return users.index(unit)
    edge = users[-1] if place.side == "output" else users[0]
    return 0 if passes == 1 and unit == edge else None


def read(model: nn.Module, taps: list[Tap], batch: Tensor, reduce: Callable[[Tensor], T]) -> list[T]:
    """Run a batch and reduce the output of every unit as it appears.

    Args:
        model: The network of the taps, in eval mode.
        taps: Of all units.
        batch: Normalised frames (n, channels, length).
        reduce: Is handed each unit's output (n, ...).

    Returns:
        What `reduce` made of them, in the order of the taps.

    Raises:
        ModelError: An output has no axis for the frames.
    """
    reduced: dict[int, T] = {}
    frames = len(batch)
    if frames == PROBE_FRAMES:  # the axis of the frames is told by its length
        batch = torch.cat([batch, batch[:1]])

    def keep(tensor: Tensor | None, waiting: Iterator[Tap | None]) -> None:
        tap = next(waiting, None)
        if tap is not None:
            reduced[tap.unit.index] = reduce(_frames_first(tap, tensor, len(batch))[:frames])

    turns: dict[Place, dict[int, Tap]] = {}
    for tap in taps:
        turns.setdefault(tap.place, {})[tap.turn] = tap
    waiting = {place: iter([due.get(turn) for turn in range(max(due) + 1)]) for place, due in turns.items()}
    with _listening({place: partial(keep, waiting=due) for place, due in waiting.items()}):
        model(batch)
    return [reduced[tap.unit.index] for tap in taps]


def _places(model: nn.Module, chain: LayerChain) -> list[list[Place]]:
    """Where the output of each unit might be read, best first.

    The output of the last of its modules, else of an earlier one. A unit that is code, if only in part, is read at its
    last step there; where nobody knows that step, where the next unit takes it in or the whole network puts it out.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    own = [[modules[path] for path in unit.path.split("+") if path in modules] for unit in chain.units]
    following = [[Place(paths[0], "input")] if paths else [] for paths in own[1:]]
    places = []
    for unit, paths, after in zip(chain.units, own, [*following, [Place(model, "output")]], strict=True):
        outputs = [Place(module, "output") for module in reversed(paths)]
        if unit.step is None:
            places.append(outputs + after)
        else:
            holder, step = unit.step
            places.append([Place(modules[holder], "step", step), *after, *outputs])
    return places


@contextlib.contextmanager
def _listening(places: Mapping[Place, Hear]) -> Iterator[None]:
    """Within it, functions are called with every tensor that passes their place."""
    steps: dict[nn.Module, dict[str, Callable[[Any], None]]] = {}
    with contextlib.ExitStack() as stack:
        for place, hear in places.items():
            if place.side == "step":
                steps.setdefault(place.module, {})[place.step] = partial(_pass_on, hear=hear)
            else:
                stack.enter_context(_listen(place, hear))
        for module, heard in steps.items():
            stack.enter_context(overheard(module, heard))
        yield


def _pass_on(result: Any, hear: Hear) -> None:
    hear(_tensor(result))


def _listen(place: Place, hear: Hear) -> RemovableHandle:
    """Call `hear` with every tensor that goes into a module or comes out of it, until the handle is closed."""

    def before(_: nn.Module, arguments: Any) -> None:
        hear(_tensor(arguments))

    def after(_: nn.Module, __: Any, output: Any) -> None:
        hear(_tensor(output))

    if place.side == "input":
        return place.module.register_forward_pre_hook(before)
    return place.module.register_forward_hook(after)


def _frames_first(tap: Tap, output: Tensor | None, frames: int) -> Tensor:
    """The output as (frames, ...): the axis of the frames is the one that is longer than in the small pass."""
    if output is not None and len(output.shape) == len(tap.probe_shape):
        for axis, (length, probe_length) in enumerate(zip(output.shape, tap.probe_shape, strict=True)):
            if length != probe_length and length % frames == 0:
                first = output.movedim(axis, 0)
                return first if length == frames else first.reshape(frames, length // frames, *first.shape[1:])
    raise ModelError(
        f"the output of unit {tap.unit.index} ({tap.unit.path}) has no axis for the frames: {PROBE_FRAMES} give shape "
        f"{tuple(tap.probe_shape)}, {frames} give {None if output is None else tuple(output.shape)}",
        "Keep the frames apart along one axis of every layer's output",
    )


def _tensor(output: Any) -> Tensor | None:
    """What a module hands on: its tensor, or the first of several as recurrent and attention layers return them."""
    if isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None
