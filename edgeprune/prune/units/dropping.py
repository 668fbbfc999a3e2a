"""How each unit of a network can be dropped, and why not where it cannot.

What is not certain from the data flow alone is tried on a copy: a unit is droppable when the network runs without it
and still gives answers of the same shape.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from edgeprune.errors import ModelError, reason_of
from edgeprune.network.edits import apply_edits, shortcut_of, skip_is_begin, skip_is_input
from edgeprune.network.running import probe, quiet_torch
from edgeprune.network.unfold import stand_in
from edgeprune.prune.units.core import Core
from edgeprune.prune.units.spans import place_of
from edgeprune.records.pruning import Edit, InputSpec


@dataclass(frozen=True)
class Verdict:
    """What dropping a unit does to the network, or None; and the reason in words."""

    edit: Edit | None
    reason: str


class Dropper:
    """Decides for the units of one network."""

    def __init__(self, model: nn.Module, shape: InputSpec) -> None:
        self.model = model
        self.shape = (shape.channels, shape.length)
        self.answers = self._run(model)

    def verdict(self, core: Core) -> Verdict:
        """How a unit can be dropped."""
        if core.shared_with is not None:
            return Verdict(None, f"shares its weights with {core.shared_with}: one cannot go without the other")
        if core.residual and core.covered and len(core.paths) == 1:
            return self._residual(core)
        if core.residual:
            return self._residual_in_code(core)
        return self._without(core) if core.in_shape == core.out_shape else self._adapter(core)

    def last_step(self, core: Core) -> tuple[str, str] | None:
        """Where the output of a unit that is code can be read: the module whose code it is, and a step there."""
        if core.covered or core.shared_with is not None:
            return None
        try:
            holder, (_, end) = place_of(self.model, core)
        except ModelError:
            return None
        return holder, end

    def _residual(self, core: Core) -> Verdict:
        path, same = core.paths[0], core.in_shape == core.out_shape
        change = f"{_text(core.in_shape)} to {_text(core.out_shape)}"
        module = self.model.get_submodule(path)
        try:
            left = _made(shortcut_of(module, path, None), core.in_shape)
            passes_on = skip_is_input(module, path)
        except ModelError as error:
            if same:
                return self._without(core)
            return self._adapter(core, f"changes the shape from {change}: {error.message}")
        if same and passes_on:
            return self._tried((Edit(path, "identity"), "its shortcut is its input: nothing takes its place"))
        if left == core.out_shape:
            what = "computes something" if same else f"changes the shape from {change}"
            return self._tried((Edit(path, "shortcut"), f"its shortcut stays and {what}"))
        reason = f"its shortcut {_text(left)} stays, broadcast to {_text(core.out_shape)}"
        return self._tried((Edit(path, "shortcut", _broadcast(left, core.out_shape)), reason))

    def _residual_in_code(self, core: Core) -> Verdict:
        """A body added to a skip branch in the code of a larger module."""
        try:
            holder, span = place_of(self.model, core)
            passes_on = skip_is_begin(self.model.get_submodule(holder), holder, span)
        except ModelError as error:
            return Verdict(None, f"{core.holders[0] or 'the network'} adds it in its own code: {error.message}")
        where = f"its body is cut out of the code of {holder or 'the network'}"
        if passes_on and core.in_shape == core.out_shape:
            return self._tried((Edit(holder, "identity", None, span), f"its shortcut is its input; {where}"))
        shapes = (None, (-1, *core.out_shape[1:]), core.out_shape)
        whole, same_width, spread = (Edit(holder, "shortcut", expand, span) for expand in shapes)
        if self._alike(whole, spread):
            return Verdict(whole, f"its shortcut stays; {where}")
        spread = same_width if self._alike(same_width, spread) else spread
        return self._tried((spread, f"its shortcut stays, broadcast to {_text(core.out_shape)}; {where}"))

    def _alike(self, one: Edit, other: Edit) -> bool:
        """Whether two edits work and lead to the same answers."""
        try:
            first, second = (self._run(apply_edits(self.model, [edit], self.shape)) for edit in (one, other))
        except ModelError:
            return False
        return torch.equal(first, second) and first.shape == self.answers.shape

    def _without(self, core: Core) -> Verdict:
        """Something of the same shape in and out."""
        same = "same shape in and out"
        modules = Edit("+".join(core.paths), "identity")
        candidates = [(modules, f"{same}: nothing takes its place")] if core.covered else []
        try:
            holder, span = place_of(self.model, core)
            where = f"cut out of the code of {holder or 'the network'}"
            candidates.append((Edit(holder, "identity", None, span), f"{same}: {where}"))
        except ModelError as error:
            problem = error.message
        if not core.covered and core.paths and not core.branched:
            candidates.append((modules, f"{same}: its modules go, the code around them stays"))
        return self._tried(*candidates) if candidates else Verdict(None, problem)

    def _adapter(self, core: Core, otherwise: str = "") -> Verdict:
        """Something that changes the shape: the layers after it are rebuilt."""
        change = f"changes the shape from {_text(core.in_shape)} to {_text(core.out_shape)}"
        if core.position == "first":
            return Verdict(None, otherwise or f"{change} and has no shortcut; it takes the signal in")
        if core.position == "last":
            return Verdict(None, otherwise or f"{change} and has no shortcut; it gives the answer")
        edits = []
        if core.paths and (not core.branched or (core.covered and len(core.paths) == 1)):
            edits.append(Edit("+".join(core.paths), "adapter"))
        try:
            holder, span = place_of(self.model, core)
            edits.append(Edit(holder, "adapter", None, span))
        except ModelError as error:
            if not edits:
                return Verdict(None, otherwise or f"{change} in code: {error.message}")
        reason = f"{change}: the layers after it are rebuilt for {_text(core.in_shape)}"
        tried = self._tried(*((edit, reason) for edit in edits))
        return tried if tried.edit else Verdict(None, f"{change}, and {tried.reason}")

    def _tried(self, *candidates: tuple[Edit, str]) -> Verdict:
        """The first of these ways that works, or what is wrong with the first."""
        problems = []
        for edit, reason in candidates:
            problem = self._problem(edit)
            if problem is None:
                return Verdict(edit, reason)
            problems.append(problem)
        return Verdict(None, problems[0])

    def _problem(self, edit: Edit) -> str | None:
        """What goes wrong without the unit, or None."""
        try:
            if edit.drop == "identity" and edit.span is None:
                with _left_out(self.model, edit.path.split("+")):
                    answers = self._run(self.model)
            else:
                answers = self._run(apply_edits(self.model, [edit], self.shape))
        except ModelError as error:
            return error.message
        if answers.shape != self.answers.shape:
            return f"without it the network answers {tuple(answers.shape)}, not {tuple(self.answers.shape)}"
        return None

    @torch.no_grad()
    def _run(self, model: nn.Module) -> torch.Tensor:
        frames = probe(*self.shape)
        try:
            with quiet_torch():
                answers = model(frames)
        except Exception as error:  # the network's own code
            raise ModelError(f"the network cannot run without it: {reason_of(error)}") from error
        if not isinstance(answers, torch.Tensor):
            raise ModelError(f"the network answers with a {type(answers).__name__}, not a tensor")
        return answers


@contextlib.contextmanager
def _left_out(model: nn.Module, paths: Sequence[str]) -> Iterator[None]:
    """The network without some modules for a while, which is faster than a copy of it."""
    modules = {path: model.get_submodule(path) for path in paths}
    try:
        for path, module in modules.items():
            model.set_submodule(path, stand_in(module))
        yield
    finally:
        for path, module in modules.items():
            model.set_submodule(path, module)


def _broadcast(left: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """What a shape is expanded to; -1 leaves an axis as it is, so that its width can still change."""
    if len(left) != len(wanted):
        return wanted
    return tuple(-1 if had == wants else wants for had, wants in zip(left, wanted, strict=True))


@torch.no_grad()
def _made(module: nn.Module, in_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of what a module makes of one frame of zeros.

    Raises:
        ModelError: Not a tensor, or it fails.
    """
    try:
        return tuple(module(torch.zeros(1, *in_shape)).shape[1:])
    except Exception as error:  # the network's own code
        raise ModelError(f"what is left of it cannot run: {reason_of(error)}") from error


def _text(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
