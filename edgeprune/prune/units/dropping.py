"""Ways to drop each unit of a network, and the reason if a unit cannot be dropped.

What the data flow does not prove is verified on a copy: a unit is droppable if the network runs without it and still
gives outputs of the same shape.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from edgeprune.errors import ModelError, reason_of
from edgeprune.network.edits import apply_edits, shortcut_of, skip_is_begin, skip_is_input
from edgeprune.network.running import PROBE_FRAMES, probe, quiet_torch
from edgeprune.network.tracing import Code
from edgeprune.network.unfold import PAIRS, returned_by, stand_in
from edgeprune.prune.units.core import Core
from edgeprune.prune.units.spans import Places
from edgeprune.records.names import Drop
from edgeprune.records.pruning import Edit


@dataclass(frozen=True)
class DropVerdict:
    """Effect of dropping a unit, or None if it cannot be dropped; and the reason in words."""

    edit: Edit | None
    reason: str


@dataclass(frozen=True)
class _Proposal:
    """Ways to drop a unit, the best first, each with its reason in words, or the reason why it cannot be dropped.

    Attributes:
        ways: Possible edits.
        problem: Why there is no way, or the message if none works, followed by what went wrong.
        keeps_shape: Whether the layers after it keep their input shape, so that it can be tried with others.
    """

    ways: tuple[tuple[Edit, str], ...]
    problem: str = ""
    keeps_shape: bool = True


class Dropper:
    """Decides for the units of one network."""

    def __init__(self, code: Code) -> None:
        self.code, self.model, self.shape = code, code.model, code.shape
        self.places = Places(code)
        self.returns: dict[str, str] = {}
        with _noting_bundles(self.model, self.returns):
            self.outputs = self._run(self.model)

    def verdicts(self, cores: Sequence[Core]) -> list[DropVerdict]:
        """Decide how each unit can be dropped.

        Units that keep the shape for the layers after them are tried together, every other one of them at a time, so
        that each is followed by a unit that stays. Only where that fails are those that cannot go searched for.
        """
        proposals = [self._proposal(core) for core in cores]
        firsts = [
            (index, proposal.ways[0][0])
            for index, proposal in enumerate(proposals)
            if proposal.ways and proposal.keeps_shape
        ]
        sound = {index for half in (firsts[::2], firsts[1::2]) for index in self._sound(half)}
        return [
            DropVerdict(*proposal.ways[0]) if index in sound else self._tried(proposal)
            for index, proposal in enumerate(proposals)
        ]

    def last_step(self, core: Core) -> tuple[str, str] | None:
        """Position of the output of a unit that is code: the module whose code it is, and a step there."""
        if core.covered or core.shared_with is not None:
            return None
        try:
            holder, (_, end) = self.places.of(core)
        except ModelError:
            return None
        return holder, end

    def _proposal(self, core: Core) -> _Proposal:
        if core.shared_with is not None:
            return _Proposal((), f"shares its weights with {core.shared_with}: neither can be dropped alone")
        if core.residual and core.covered and len(core.paths) == 1:
            return self._residual(core)
        if core.residual:
            return self._residual_in_code(core)
        return self._without(core) if core.in_shape == core.out_shape else self._adapter(core)

    def _residual(self, core: Core) -> _Proposal:
        path, same = core.paths[0], core.in_shape == core.out_shape
        change = f"{_text(core.in_shape)} to {_text(core.out_shape)}"
        try:
            passes_on = skip_is_input(self.code, path)
            if same and passes_on:
                edit = (self._whole([path], "identity"), "identity shortcut: removable")
                return _Proposal((edit,))
            left = _made(shortcut_of(self.code, path, None), core.in_shape)
        except ModelError as error:
            if same:
                return self._without(core)
            return self._adapter(core, f"changes the shape from {change}: {error.message}")
        if left == core.out_shape:
            what = "computes something" if same else f"changes the shape from {change}"
            return _Proposal(((Edit(path, "shortcut"), f"its shortcut stays and {what}"),))
        reason = f"its shortcut {_text(left)} stays, broadcast to {_text(core.out_shape)}"
        return _Proposal(((Edit(path, "shortcut", _broadcast(left, core.out_shape)), reason),))

    def _residual_in_code(self, core: Core) -> _Proposal:
        """Propose the removal of a body that is added to a skip branch in the code of a larger module."""
        try:
            holder, span = self.places.of(core)
            passes_on = skip_is_begin(self.code, holder, span)
        except ModelError as error:
            problem = f"{core.holders[0] or 'the network'} adds it in its own code: {error.message}"
            modules = core.covered and core.in_shape == core.out_shape
            return self._without(core) if modules else _Proposal((), problem)
        where = f"its body is cut out of the code of {holder or 'the network'}"
        if passes_on and core.in_shape == core.out_shape:
            return _Proposal(((Edit(holder, "identity", None, span), f"identity shortcut; {where}"),))
        shapes = (None, (-1, *core.out_shape[1:]), core.out_shape)
        whole, same_width, spread = (Edit(holder, "shortcut", expand, span) for expand in shapes)
        if self._alike(whole, spread):
            return _Proposal(((whole, f"its shortcut stays; {where}"),))
        spread = same_width if self._alike(same_width, spread) else spread
        return _Proposal(((spread, f"its shortcut stays, broadcast to {_text(core.out_shape)}; {where}"),))

    def _alike(self, one: Edit, other: Edit) -> bool:
        """Whether two edits work and give the same outputs."""
        try:
            first, second = (self._run(self._edited([edit])) for edit in (one, other))
        except ModelError:
            return False
        return torch.equal(first, second) and first.shape == self.outputs.shape

    def _without(self, core: Core) -> _Proposal:
        """Propose the removal of a unit with the same shape in and out."""
        same = "same shape in and out"
        modules = self._whole(core.paths, "identity")
        ways = [(modules, f"{same}: removable")] if core.covered else []
        problem = ""
        try:
            holder, span = self.places.of(core)
            where = f"cut out of the code of {holder or 'the network'}"
            ways.append((Edit(holder, "identity", None, span), f"{same}: {where}"))
        except ModelError as error:
            problem = error.message
        if not core.covered and core.paths and not core.branched:
            ways.append((modules, f"{same}: its modules are removed, the code around them stays"))
        return _Proposal(tuple(ways), "" if ways else problem)

    def _adapter(self, core: Core, otherwise: str = "") -> _Proposal:
        """Propose the removal of a unit that changes the shape: the layers after it are rebuilt."""
        change = f"changes the shape from {_text(core.in_shape)} to {_text(core.out_shape)}"
        if core.position == "first":
            return _Proposal((), otherwise or f"{change} and has no shortcut; it reads the network input")
        if core.position == "last":
            return _Proposal((), otherwise or f"{change} and has no shortcut; it gives the network output")
        edits = []
        if core.paths and (not core.branched or (core.covered and len(core.paths) == 1)):
            edits.append(self._whole(core.paths, "adapter"))
        try:
            holder, span = self.places.of(core)
            edits.append(Edit(holder, "adapter", None, span))
        except ModelError as error:
            if not edits:
                return _Proposal((), otherwise or f"{change} in code: {error.message}")
        reason = f"{change}: the layers after it are rebuilt for {_text(core.in_shape)}"
        return _Proposal(tuple((edit, reason) for edit in edits), f"{change}, and ", keeps_shape=False)

    def _whole(self, paths: Sequence[str], drop: Drop) -> Edit:
        """Edit that drops whole modules."""
        returns = tuple(self.returns.get(path, "") for path in paths)
        return Edit("+".join(paths), drop, returns=returns if any(returns) else None)

    def _tried(self, proposal: _Proposal) -> DropVerdict:
        """Try the ways in turn; the verdict is the first that works, or what is wrong with the first."""
        problems = []
        for edit, reason in proposal.ways:
            problem = self._problem([edit])
            if problem is None:
                return DropVerdict(edit, reason)
            problems.append(problem)
        return DropVerdict(None, proposal.problem + (problems[0] if problems else ""))

    def _sound(self, edits: list[tuple[int, Edit]]) -> set[int]:
        """Find which of some units can be dropped, by bisection; one alone is left to be tried in all its ways."""
        if len(edits) < 2:
            return set()
        if self._problem([edit for _, edit in edits]) is None:
            return {index for index, _ in edits}
        middle = len(edits) // 2
        return self._sound(edits[:middle]) | self._sound(edits[middle:])

    def _problem(self, edits: list[Edit]) -> str | None:
        """Describe what goes wrong without some units, or None."""
        try:
            if all(edit.drop == "identity" and edit.span is None for edit in edits):
                paths = [path for edit in edits for path in edit.path.split("+")]
                with _left_out(self.model, {path: self.returns.get(path, "") for path in paths}):
                    outputs = self._run(self.model)
            else:
                outputs = self._run(self._edited(edits))
        except ModelError as error:
            return error.message
        if outputs.shape != self.outputs.shape:
            return f"without it the network returns {tuple(outputs.shape)}, not {tuple(self.outputs.shape)}"
        return None

    def _edited(self, edits: list[Edit]) -> nn.Module:
        return apply_edits(self.model, edits, self.shape, self.code)

    @torch.no_grad()
    def _run(self, model: nn.Module) -> torch.Tensor:
        frames = probe(*self.shape)
        try:
            with quiet_torch():
                outputs = model(frames)
        except Exception as error:  # the network's own code
            raise ModelError(f"the network cannot run without it: {reason_of(error)}") from error
        if not isinstance(outputs, torch.Tensor):
            raise ModelError(f"the network returns a {type(outputs).__name__}, not a tensor")
        return outputs


@contextlib.contextmanager
def _noting_bundles(model: nn.Module, returns: dict[str, str]) -> Iterator[None]:
    """Record, inside the `with` block, modules that return something other than one tensor, by their paths."""

    def note(_: nn.Module, args: Any, kwargs: Any, output: Any, path: str) -> None:
        if not isinstance(output, torch.Tensor):
            with contextlib.suppress(ModelError):  # it is cut out of the code around it, or stays
                returns.setdefault(path, returned_by(args, kwargs, output, PROBE_FRAMES))

    with contextlib.ExitStack() as hooks:
        for path, module in model.named_modules(remove_duplicate=False):
            if not isinstance(module, (torch.jit.ScriptModule, *PAIRS)):
                hooks.enter_context(module.register_forward_hook(partial(note, path=path), with_kwargs=True))
        yield


@contextlib.contextmanager
def _left_out(model: nn.Module, returns: Mapping[str, str]) -> Iterator[None]:
    """Take modules out of the network inside the `with` block, which is faster than copying it."""
    modules = {path: model.get_submodule(path) for path in returns}
    try:
        for path, module in modules.items():
            model.set_submodule(path, stand_in(module, returns[path]))
        yield
    finally:
        for path, module in modules.items():
            model.set_submodule(path, module)


def _broadcast(left: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Shape after expansion; -1 leaves an axis unchanged, so that its width can still change."""
    if len(left) != len(wanted):
        return wanted
    return tuple(-1 if had == wants else wants for had, wants in zip(left, wanted, strict=True))


@torch.no_grad()
def _made(module: nn.Module, in_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a module's output for one frame of zeros, of the first if it returns several tensors.

    Raises:
        ModelError: It returns none, or fails.
    """
    try:
        made = tree_leaves(module(torch.zeros(1, *in_shape)))
        return tuple(next(leaf for leaf in made if isinstance(leaf, torch.Tensor)).shape[1:])
    except Exception as error:  # the network's own code
        raise ModelError(f"what is left of it cannot run: {reason_of(error)}") from error


def _text(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
