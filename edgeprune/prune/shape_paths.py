"""Routes: the input of each unit, and its amount of computation, for every choice of the units before it.

If all droppable units keep the shape, a unit costs the same whatever else is dropped. Dropping a unit that changes the
shape changes the input of the layers after it: they are rebuilt narrower, or work on a larger map. A unit and a shape
of its input are a stop; dropping or keeping the unit leads on to another stop.

The computation of a unit is its multiply-accumulates except those on padding, which runtimes skip: on a map of one row
that is two thirds of a 3x3 convolution.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edgeprune.errors import ModelError
from edgeprune.network.compute import host_copy, shapes_copy
from edgeprune.network.edits import apply_edits
from edgeprune.network.running import evaluating
from edgeprune.network.unfold import unfolded
from edgeprune.records.pruning import InputSpec, LayerChain, Unit

END = -1
_MOST_TRIALS = 2000


@dataclass(frozen=True)
class PathNode:
    """Droppable unit with one possible shape of its input.

    Attributes:
        unit: Index of the unit.
        load: Its computation there, as a share of its computation in the unpruned network.
        kept: Next stop when it is kept, or `END`.
        dropped: Next stop when it is dropped, or `END`; None if the network cannot run without it.
    """

    unit: int
    load: float
    kept: int
    dropped: int | None


@dataclass(frozen=True)
class Routes:
    """All stops in the order of the network, at least one; every route begins at the first."""

    stops: tuple[PathNode, ...]

    def loads(self, kept: Iterable[int]) -> Mapping[int, float] | None:
        """Computation of each droppable unit that is kept, as a share of before; None if the network cannot run so."""
        staying, found = frozenset(kept), {}
        place: int | None = 0
        while place != END:
            if place is None:
                return None
            stop = self.stops[place]
            if stop.unit in staying:
                found[stop.unit] = stop.load
            place = stop.kept if stop.unit in staying else stop.dropped
        return found

    @cached_property
    def fewest(self) -> frozenset[int]:
        """A smallest set of droppable units that the network can run with; the first found of equally small ones."""
        best: dict[int, tuple[int, tuple[int, ...]]] = {END: (0, ())}
        for place in reversed(range(len(self.stops))):
            stop = self.stops[place]
            count, units = best[stop.kept]
            options = [(count + 1, (stop.unit, *units))]
            if stop.dropped is not None:
                options.append(best[stop.dropped])
            best[place] = min(options)
        return frozenset(best[0][1])


@dataclass(frozen=True)
class _Seen:
    """Input and computation of one unit in a trial; None where its code cannot be observed."""

    arriving: tuple[int, ...] | None
    macs: int | None


_Trial = tuple[_Seen, ...]


def routes_of(model: nn.Module, chain: LayerChain, shape: InputSpec) -> Routes:
    """Find all routes through a network by running it on shapes alone, without computation.

    Args:
        model: The network the chain was found in; left unchanged.
        chain: Its units.
        shape: Shape of its frames.

    Raises:
        ModelError: Units that change the shape can be combined in too many ways to explore.
    """
    droppable = [chain.units[index] for index in chain.droppable]
    if all(unit.drop != "adapter" for unit in droppable):
        last = len(droppable) - 1
        ahead = [place + 1 if place < last else END for place in range(len(droppable))]
        return Routes(tuple(PathNode(unit.index, 1.0, to, to) for unit, to in zip(droppable, ahead, strict=True)))
    return Routes(tuple(_explored(_Trials(model, chain, shape), droppable)))


def _explored(trials: "_Trials", droppable: list[Unit]) -> list[PathNode]:
    """Find the stops of each unit in turn, from those of the one before it."""
    nothing: frozenset[int] = frozenset()
    unpruned = trials.run(nothing)
    assert unpruned is not None
    stops: list[PathNode] = []
    here: dict[_Trial, tuple[int, frozenset[int]]] = {unpruned[droppable[0].index :]: (0, nothing)}
    for unit, following in zip(droppable, [*droppable[1:], None], strict=True):
        ahead: dict[_Trial, tuple[int, frozenset[int]]] = {}
        first = len(stops) + len(here)

        def onward(trial: _Trial, dropped: frozenset[int], to: Unit | None = following) -> int:
            """Index of the stop that this leads to, a new one if nothing led there yet."""
            if to is None:
                return END
            place, _ = ahead.setdefault(trial[to.index :], (first + len(ahead), dropped))  # noqa: B023 (called here)
            return place

        for _, dropped in here.values():
            trial = trials.run(dropped)
            assert trial is not None
            kept = onward(trial, dropped)
            seen, usual = trial[unit.index], unpruned[unit.index]
            gone: int | None = None
            if unit.drop != "adapter" and seen.arriving == usual.arriving:
                gone = onward(trial, dropped)  # what it hands on when it goes is what it was given, or its shortcut's
            else:
                without = trials.run(dropped | {unit.index})
                gone = None if without is None else onward(without, dropped | {unit.index})
            stops.append(PathNode(unit.index, _load(seen, usual), kept, gone))
        here = ahead
    return stops


def _load(seen: _Seen, usual: _Seen) -> float:
    return seen.macs / usual.macs if seen.macs is not None and usual.macs else 1.0


class _Trials:
    """Runs a network without some of its units, on the shapes of its tensors alone if its code allows that."""

    def __init__(self, model: nn.Module, chain: LayerChain, shape: InputSpec) -> None:
        self.chain, self.shape = chain, (shape.channels, shape.length)
        self.made: dict[frozenset[int], _Trial | None] = {}
        self.device = torch.device("meta")
        self.model = unfolded(shapes_copy(model))
        if self.run(frozenset()) is None:  # code that makes tensors of numbers needs numbers
            self.made.clear()
            self.device = torch.device("cpu")
            self.model = unfolded(host_copy(model))

    def run(self, dropped: frozenset[int]) -> _Trial | None:
        """Input and computation of every unit; None if the network does not run or its output has another shape."""
        if dropped not in self.made:
            if len(self.made) >= _MOST_TRIALS:
                raise ModelError(
                    f"dropping units that change the shape leads to more than {_MOST_TRIALS} different networks",
                    "Choose by `keep` or `keep_ratio`",
                )
            self.made[dropped] = self._run(dropped)
        return self.made[dropped]

    def _run(self, dropped: frozenset[int]) -> _Trial | None:
        edits = [unit.edit for unit in self.chain.units if unit.index in dropped and unit.edit is not None]
        arriving: dict[int, tuple[int, ...]] = {}
        padding: dict[str, int] = {}
        try:
            with torch.no_grad(), torch.device(self.device):
                network = apply_edits(self.model, edits, self.shape)
                self._watch(network, arriving)
                _watch_padding(network, padding)
                with evaluating(network), FlopCounterMode(display=False) as counter:
                    answer = network(torch.zeros(1, *self.shape))
        except Exception:  # the network's own code, on shapes it was not written for
            return None
        if not isinstance(answer, Tensor) or answer.shape[1:] != self.chain.units[-1].out_shape:
            return None
        counts = counter.get_flop_counts().items()
        macs = {name.partition(".")[2]: sum(by_operation.values()) // 2 for name, by_operation in counts}
        modules = dict(network.named_modules())
        return tuple(_Seen(arriving.get(unit.index), _macs(unit, macs, padding, modules)) for unit in self.chain.units)

    def _watch(self, network: nn.Module, arriving: dict[int, tuple[int, ...]]) -> None:
        modules = dict(network.named_modules())
        for unit in self.chain.units:
            module = next((modules[path] for path in unit.path.split("+") if path in modules), None)
            if module is not None:

                def note(_: nn.Module, inputs: tuple[Tensor, ...], index: int = unit.index) -> None:
                    arriving.setdefault(index, tuple(inputs[0].shape))

                module.register_forward_pre_hook(note)


def _macs(
    unit: Unit, macs: Mapping[str, int], padding: Mapping[str, int], modules: Mapping[str, nn.Module]
) -> int | None:
    """Multiply-accumulates of a unit's modules except those on padding; None if it has no modules of its own."""
    own = [path for path in unit.path.split("+") if path in modules]
    if not own:
        return None
    inside = [path for path in padding if any(path == each or path.startswith(f"{each}.") for each in own)]
    return sum(macs.get(path, 0) for path in own) - sum(padding[path] for path in inside)


def _watch_padding(network: nn.Module, padding: dict[str, int]) -> None:
    """Count the multiply-accumulates of every convolution that are on its zero padding."""
    for path, module in network.named_modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):

            def note(conv: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, path: str = path) -> None:
                padding[path] = padding.get(path, 0) + _on_padding(conv, inputs[0].shape, output.shape)  # type: ignore[arg-type]

            module.register_forward_hook(note)


def _on_padding(conv: nn.Conv1d | nn.Conv2d | nn.Conv3d, given: torch.Size, made: torch.Size) -> int:
    """Multiply-accumulates for one frame whose input lies outside the map."""
    nominal = inside = made[1] * conv.in_channels // conv.groups
    for axis in range(len(conv.kernel_size)):
        before = _padded_before(conv, axis)
        taps = [
            0 <= place * conv.stride[axis] + tap * conv.dilation[axis] - before < given[2 + axis]
            for place in range(made[2 + axis])
            for tap in range(conv.kernel_size[axis])
        ]
        nominal, inside = nominal * len(taps), inside * sum(taps)
    return nominal - inside


def _padded_before(conv: nn.Conv1d | nn.Conv2d | nn.Conv3d, axis: int) -> int:
    if isinstance(conv.padding, str):
        return conv.dilation[axis] * (conv.kernel_size[axis] - 1) // 2 if conv.padding == "same" else 0
    return int(conv.padding[axis])
