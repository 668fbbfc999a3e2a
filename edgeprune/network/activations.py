"""Taps: places in a running network where the input and the output of each unit can be read.

A unit is found in the data flow, and read at its modules by hooks, or at a step of the code it lies in. Every output is
passed on as soon as it appears and then released. Reading thus costs little more than the forward pass, and activations
are never stored.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.utils.hooks import RemovableHandle

from edgeprune.errors import DataError, ModelError
from edgeprune.network.running import PROBE_FRAMES
from edgeprune.network.tracing import Code, overheard
from edgeprune.records.pruning import LayerChain, Unit

R = TypeVar("R")
T = TypeVar("T")


Hear = Callable[[Tensor | None], None]


@dataclass(frozen=True)
class Place:
    """Place where a tensor is read: the input or the output of a module, or the result of a step in its code."""

    module: nn.Module
    side: Literal["input", "output", "step"]
    step: str = ""
    code: fx.GraphModule | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Tap:
    """Place where a unit's output is read, in which pass through it, and its shape for `PROBE_FRAMES` frames."""

    unit: Unit
    place: Place
    turn: int
    probe_shape: torch.Size


@dataclass(frozen=True)
class Passage:
    """Places of a unit's true input, behind any code between it and the unit before, and of its output."""

    entry: Tap
    exit: Tap


def taps_of(model: nn.Module, chain: LayerChain, frames: Tensor) -> list[Tap]:
    """Pick the hook location of each unit: the first of its places that is passed as often as units use it.

    The places are observed in one small pass. The third unit that a shared module makes is thus read in that module's
    third call. A module that is called more often is ambiguous; the single output of a larger module belongs to the
    last unit in it.

    Args:
        model: The network the chain was found in, in eval mode.
        chain: Its units.
        frames: Normalized frames (n, channels, length), of which the first is enough.

    Raises:
        DataError: The frames do not fit the network.
        ModelError: The output of a unit cannot be read.
    """
    places = _places(model, chain, _code_of(model, frames))
    return _exits(chain, places, _watched(model, places, frames))


def passages_of(model: nn.Module, chain: LayerChain, frames: Tensor) -> list[Passage]:
    """Pick for each unit where its input and its output are read.

    The input is that of the modules or steps that are removed with the unit. Where that cannot be read, it is the
    output of the unit before, and for the first unit the frames.

    Args:
        model: The network the chain was found in, in eval mode.
        chain: Its units.
        frames: Normalized frames (n, channels, length), of which the first is enough.

    Raises:
        DataError: The frames do not fit the network.
        ModelError: The output of a unit cannot be read.
    """
    code = _code_of(model, frames)
    places, entries = _places(model, chain, code), _entries(model, chain, code)
    whole = Place(model, "input")
    shapes = _watched(model, [*places, *entries, [whole]], frames)
    exits = _exits(chain, places, shapes)
    found = _chosen(chain, entries, shapes)
    before = [Tap(chain.units[0], whole, 0, frames[:1].repeat(PROBE_FRAMES, 1, 1).shape), *exits]
    return [
        Passage(entry or replace(earlier, unit=exit_.unit), exit_)
        for entry, earlier, exit_ in zip(found, before, exits, strict=False)
    ]


def _watched(
    model: nn.Module, places: Sequence[Sequence[Place]], frames: Tensor
) -> dict[Place, list[torch.Size | None]]:
    """Shape of every tensor that passes each place in one small pass."""
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
    return shapes


def _exits(
    chain: LayerChain, places: Sequence[Sequence[Place]], shapes: Mapping[Place, list[torch.Size | None]]
) -> list[Tap]:
    """Pick where the output of each unit is read."""
    taps = []
    for unit, tap in zip(chain.units, _chosen(chain, places, shapes), strict=True):
        if tap is None:
            raise ModelError(
                f"the output of unit {unit.index} ({unit.path}) cannot be read: none of its modules runs just for it",
                "Give each place of the network a module of its own",
            )
        taps.append(tap)
    return taps


def _chosen(
    chain: LayerChain, places: Sequence[Sequence[Place]], shapes: Mapping[Place, list[torch.Size | None]]
) -> list[Tap | None]:
    """Pick for each unit the first of its places where a tensor passes for it alone."""
    users: dict[Place, list[int]] = {}
    for index, options in enumerate(places):
        for place in dict.fromkeys(options):
            users.setdefault(place, []).append(index)
    taps = []
    for index, (unit, options) in enumerate(zip(chain.units, places, strict=True)):
        turns = {place: _turn(place, users[place], index, len(shapes[place])) for place in options}
        found = [(place, turn, shapes[place][turn]) for place, turn in turns.items() if turn is not None]
        taps.append(next((Tap(unit, place, turn, shape) for place, turn, shape in found if shape is not None), None))
    return taps


def _turn(place: Place, users: list[int], unit: int, passes: int) -> int | None:
    """Index of the pass through a place in which a unit's output passes, or None."""
    if passes == len(users):
        return users.index(unit)
    edge = users[-1] if place.side == "output" else users[0]
    return 0 if passes == 1 and unit == edge else None


def read(model: nn.Module, taps: list[Tap], batch: Tensor, reduce: Callable[[Tensor], T]) -> list[T]:
    """Run a batch and reduce the output of every unit as it appears.

    Args:
        model: The network of the taps, in eval mode.
        taps: Taps of all units.
        batch: Normalized frames (n, channels, length).
        reduce: Called with each unit's output (n, ...).

    Returns:
        The results of `reduce`, in the order of the taps.

    Raises:
        ModelError: An output has no axis for the frames.
    """
    reduced: dict[int, T] = {}
    _hear(model, taps, batch, reduce, reduced.__setitem__)
    return [reduced[position] for position in range(len(taps))]


def read_passing(
    model: nn.Module,
    passages: list[Passage],
    batch: Tensor,
    reduce: Callable[[Tensor], R],
    compare: Callable[[R, R], T],
) -> list[T]:
    """Run a batch and compare the input of every unit with its output.

    Args:
        model: The network of the passages, in eval mode.
        passages: Passages of all units.
        batch: Normalized frames (n, channels, length).
        reduce: Called with each unit's input and output (n, ...). It must copy what it keeps, since later layers may
            work in place.
        compare: Called with the reduced input and the reduced output of a unit.

    Returns:
        The results of `compare`, in the order of the passages.

    Raises:
        ModelError: An input or output has no axis for the frames.
    """
    waiting: dict[int, R] = {}
    compared: dict[int, T] = {}

    def keep(position: int, reduced: R) -> None:
        unit, leaving = divmod(position, 2)
        if leaving:
            compared[unit] = compare(waiting.pop(unit), reduced)
        else:
            waiting[unit] = reduced

    taps = [tap for passage in passages for tap in (passage.entry, passage.exit)]
    _hear(model, taps, batch, reduce, keep)
    return [compared[unit] for unit in range(len(passages))]


def _hear(
    model: nn.Module,
    taps: Sequence[Tap],
    batch: Tensor,
    reduce: Callable[[Tensor], R],
    keep: Callable[[int, R], None],
) -> None:
    """Run a batch and reduce each tap's tensor as soon as it appears; `keep` gets the tap's position and the result.

    A tensor that passes several taps one after the other is reduced once.
    """
    frames = len(batch)
    if frames == PROBE_FRAMES:  # the axis of the frames is told by its length
        batch = torch.cat([batch, batch[:1]])
    last: list[tuple[Tensor | None, int, R]] = []

    def hear(tensor: Tensor | None, waiting: Iterator[list[int]]) -> None:
        for position in next(waiting, []):
            version = -1 if tensor is None else tensor._version  # an operation in place counts it up
            if not (last and last[0][0] is tensor and last[0][1] == version):
                reduced = reduce(_as_real(_frames_first(taps[position], tensor, len(batch))[:frames]))
                last[:] = [(tensor, version, reduced)]
            keep(position, last[0][2])

    turns: dict[Place, dict[int, list[int]]] = {}
    for position, tap in enumerate(taps):
        turns.setdefault(tap.place, {}).setdefault(tap.turn, []).append(position)
    waiting = {place: iter([due.get(turn, []) for turn in range(max(due) + 1)]) for place, due in turns.items()}
    with _listening({place: partial(hear, waiting=due) for place, due in waiting.items()}):
        model(batch)


def _code_of(model: nn.Module, frames: Tensor) -> Code:
    channels, length = frames.shape[1:]
    return Code(model, (channels, length))


def _step(code: Code, path: str, step: str) -> list[Place]:
    """A step of a module's code as a place; none where the code cannot be traced."""
    try:
        return [Place(code.model.get_submodule(path), "step", step, code.of(path))]
    except ModelError:
        return []


def _places(model: nn.Module, chain: LayerChain, code: Code) -> list[list[Place]]:
    """Possible places of each unit's output, best first.

    The output of the last of its modules comes first, then those of earlier ones. A unit that is at least partly code
    is read at its last step there. If that step is unknown, it is read at the input of the next unit or the network's
    output.
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
            places.append([*_step(code, *unit.step), *after, *outputs])
    return places


def _entries(model: nn.Module, chain: LayerChain, code: Code) -> list[list[Place]]:
    """Possible places of each unit's input: those that are removed with the unit, otherwise its modules."""
    modules = dict(model.named_modules(remove_duplicate=False))
    places: list[list[Place]] = []
    for unit in chain.units:
        if unit.edit is not None and unit.edit.span is not None:
            places.append(_step(code, unit.edit.path, unit.edit.span[0]))
        else:
            paths = (unit.path if unit.edit is None else unit.edit.path).split("+")
            places.append([Place(modules[path], "input") for path in paths if path in modules][:1])
    return places


@contextlib.contextmanager
def _listening(places: Mapping[Place, Hear]) -> Iterator[None]:
    """Call functions, inside the `with` block, with every tensor that passes their place."""
    steps: dict[nn.Module, dict[str, Callable[[Any], None]]] = {}
    codes: dict[nn.Module, fx.GraphModule] = {}
    with contextlib.ExitStack() as stack:
        for place, hear in places.items():
            if place.code is not None:
                codes[place.module] = place.code
                steps.setdefault(place.module, {})[place.step] = partial(_pass_on, hear=hear)
            else:
                stack.enter_context(_listen(place, hear))
        for module, heard in steps.items():
            stack.enter_context(overheard(module, codes[module], heard))
        yield


def _pass_on(result: Any, hear: Hear) -> None:
    hear(_tensor(result))


def _listen(place: Place, hear: Hear) -> RemovableHandle:
    """Call `hear` with every input or output of a module, until the handle is closed."""

    def before(_: nn.Module, arguments: Any) -> None:
        hear(_tensor(arguments))

    def after(_: nn.Module, __: Any, output: Any) -> None:
        hear(_tensor(output))

    if place.side == "input":
        return place.module.register_forward_pre_hook(before)
    return place.module.register_forward_hook(after)


def _frames_first(tap: Tap, output: Tensor | None, frames: int) -> Tensor:
    """Arrange the output as (frames, ...): the axis of the frames is the one that is longer than in the small pass."""
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


def _as_real(values: Tensor) -> Tensor:
    """Convert values to floats; complex ones become two parts along a new last axis, which keeps their geometry."""
    if values.is_complex():
        return torch.view_as_real(values.resolve_conj())
    return values if values.is_floating_point() else values.float()


def _tensor(output: Any) -> Tensor | None:
    """Tensor that a module returns, or the first of several, as recurrent and attention layers return them."""
    if isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None
