"""Data flow of a network that cannot be exported, recorded during one run of it.

Every torch function that is called is an operation. Where a module returns a tensor that no such function made, for
example when it leaves torch for a while, the module as a whole is one operation.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import networkx as nx
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from edgeprune.errors import ModelError
from edgeprune.network.running import PROBE_FRAMES, countable, probe
from edgeprune.network.unfold import FinalStates
from edgeprune.prune.units.trace import Node, Piece, cut_into_pieces

_INPUT = "input"
_FROM_OUTSIDE = ("from_numpy", "from_dlpack", "frombuffer", "as_tensor", "tensor")


def watched_pieces(model: nn.Module, channels: int, length: int) -> tuple[Piece, ...]:
    """Cut a network where its whole data flow passes through one tensor in one run; nothing if none does.

    Args:
        model: Network that takes frames (N, channels, length); must be in eval mode.
        channels: Rows of a frame.
        length: Samples of a frame.

    Raises:
        ModelError: It has several outputs.
        Exception: Whatever the network raises.
    """
    frames = probe(channels, length)
    watcher = _Watcher(model, frames)
    with torch.no_grad(), countable(), watcher.counter, _told(model, watcher), watcher:
        output = model(frames)
    if not isinstance(output, Tensor):
        raise ModelError("the network's output is not one tensor, and a chain of layers needs one input and one output")
    sink = watcher.made.get(id(output))
    if sink is None or sink == _INPUT:
        return ()
    return cut_into_pieces(watcher.flow, _INPUT, sink, watcher.nodes, lambda name: name not in watcher.bundles)


class _Watcher(TorchFunctionMode):
    """Records every operation on values derived from the input.

    Attributes:
        counter: Counts multiply-accumulates while the network runs.
        running: Paths of the modules being run, from outer to inner.
        flow: Names of operations, with edges from inputs to their users.
        nodes: The operations by name, in order of execution.
        made: The operation that made a tensor last, by the tensor's id.
        bundles: Operations that make several tensors.
    """

    def __init__(self, model: nn.Module, frames: Tensor) -> None:
        super().__init__()
        self.counter = FlopCounterMode(display=False)
        self.running: list[str] = []
        self.flow = nx.DiGraph()
        self.nodes: dict[str, Node] = {}
        self.made = {id(frames): _INPUT}
        self.bundles: set[str] = set()
        named = model.named_parameters()
        self._weights: dict[int, tuple[tuple[str, int], ...]] = {
            id(value): ((name, value.numel()),) for name, value in named
        }
        self._weights.update((id(value), ()) for value in model.buffers())
        self._alive: list[Tensor] = [frames]  # an id is a tensor's own only while it lives

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a torch function and record what it made."""
        before = self.counter.get_total_flops()
        result = func(*args, **(kwargs or {}))
        name = str(getattr(func, "__name__", func))
        changed = args[0] if name == "__setitem__" else result
        self.note(name, (args, kwargs), changed, self.counter.get_total_flops() - before)
        return result

    def note(self, operation: str, used: Any, result: Any, flops: int) -> None:
        """Record an operation; for one on weights alone, record instead whose weights its result is made of."""
        sources, results = _tensors(used), _tensors(result)
        if not results:
            return
        moving = dict.fromkeys(self.made[id(source)] for source in sources if id(source) in self.made)
        weights = dict.fromkeys(weight for source in sources for weight in self._weights.get(id(source), ()))
        self._alive += results
        if not moving:
            if operation not in _FROM_OUTSIDE and all(map(self.knows, sources)):
                self._weights.update((id(value), tuple(weights)) for value in results)
            return
        name = self._add(operation, tuple(moving), results, tuple(weights), flops)
        if len(results) == 1:
            self.made[id(results[0])] = name
            return
        self.bundles.add(name)
        for value in results:
            self.made[id(value)] = self._add("getitem", (name,), [value], (), 0)

    def knows(self, value: Tensor) -> bool:
        """Whether the origin of a tensor is known."""
        return id(value) in self.made or id(value) in self._weights

    def _add(self, operation: str, sources: tuple[str, ...], results: list[Tensor], weights: Any, flops: int) -> str:
        name = f"{operation}_{len(self.nodes)}"
        shape = tuple(results[0].shape[1:]) if len(results) == 1 else ()
        macs = flops // (2 * PROBE_FRAMES)
        self.nodes[name] = Node(name, operation, tuple(self.running), shape, weights, macs)
        self.flow.add_edges_from((source, name) for source in sources)
        return name


def _tensors(values: Any) -> list[Tensor]:
    leaves = [leaf.layers if isinstance(leaf, FinalStates) else leaf for leaf in tree_leaves(values)]
    return [leaf for leaf in tree_leaves(leaves) if isinstance(leaf, Tensor)]


@contextlib.contextmanager
def _told(model: nn.Module, watcher: _Watcher) -> Iterator[None]:
    """Notify the watcher, inside the `with` block, of the modules that are running."""
    paths = {module: path for path, module in model.named_modules() if path}
    begun: list[int] = []

    def before(module: nn.Module, _: Any) -> None:
        if module in paths:
            watcher.running.append(paths[module])
            begun.append(watcher.counter.get_total_flops())

    def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if module not in paths:
            return
        flops = watcher.counter.get_total_flops() - begun.pop()
        unseen = [value for value in _tensors(output) if not watcher.knows(value)]
        if unseen:
            used = (args, kwargs, list(module.parameters()))
            watcher.note(type(module).__name__.lower(), used, unseen, flops)
        watcher.running.pop()

    # A compiled module allows no hooks of its own.
    with register_module_forward_pre_hook(before), register_module_forward_hook(after, with_kwargs=True):
        yield
