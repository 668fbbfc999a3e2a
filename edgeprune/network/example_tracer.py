"""Tracing of code with examples, where symbolic tracing cannot follow it.

`torch.fx` passes symbols to a module's code, and code that inspects a shape (an assert, a branch on `x.dim()`, a loop
over `x.size(1)`) cannot continue with a symbol. Here every step is also computed, on two batches of different size.
Values on which both agree are plain numbers to the code. The others depend on the number of frames and stay symbols, so
that the graph is correct for any number of frames. Code that needs the number of frames or the data as plain values is
refused.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.fx.proxy import Attribute

from edgeprune.errors import ModelError

Given = Mapping[str, Any]
"""Arguments of a module's call, by the parameter names of its forward, defaults included."""

_MAKERS = ("arange", "empty", "eye", "full", "linspace", "ones", "rand", "randn", "tensor", "zeros")
_PLAIN = (bool, int, float, str, type(None), torch.Size)


class BatchBoundError(ModelError):
    """Code that needs the number of frames as a plain value."""


class ExampleTracer(fx.Tracer):
    """Traces one module's code while computing it on examples.

    Args:
        is_leaf: Whether a submodule is one step.
        given: Arguments of the module in two runs with different numbers of frames.
    """

    def __init__(self, is_leaf: Callable[[nn.Module, str], bool], given: tuple[Given, Given]) -> None:
        super().__init__()
        self.proxy_buffer_attributes = True
        self._is_leaf, self._given = is_leaf, given
        self._values: dict[fx.Node, tuple[Any, Any]] = {}
        self._computing = False

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a submodule is one step."""
        return self._is_leaf(m, module_qualified_name)

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        """Trace the code as a graph.

        Raises:
            ModelError: The code needs the number of frames or the data as plain values.
            Exception: Whatever the code raises.
        """
        with torch.no_grad(), _makers_recorded(self):
            return super().trace(root, concrete_args)

    def proxy(self, node: fx.Node) -> "_Known":
        """Symbol for a step in the code."""
        return _Known(node, self)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *others: Any, **options: Any) -> Any:
        """Record a step and compute it; returns its value if that is plain and does not depend on the frames."""
        made = super().create_proxy(kind, target, args, kwargs, *others, **options)
        values = self._values[made.node] = self._computed(made.node)
        first, second = values
        if type(first) in _PLAIN and type(first) is type(second) and first == second:
            return first
        return made

    def value(self, made: fx.Proxy) -> tuple[Any, Any]:
        """Results of a step in the two runs."""
        return self._values[made.node]

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Record a module as a step, or trace into its code; during the computation of a step, call it."""
        return forward(*args, **kwargs) if self._computing else super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: Any) -> Any:
        """Record a parameter as a step; during the computation of a step, return it."""
        return attr_val if self._computing else super().getattr(attr, attr_val, parameter_proxy_cache)

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """Iterate over a sequence that has the same length in both runs."""
        return iter([obj[place] for place in range(self.length(obj))])  # type: ignore[index]

    def length(self, obj: fx.Proxy) -> int:
        """Number of items, equal in both runs."""
        first, second = map(len, self.value(obj))
        if first != second:
            raise BatchBoundError("its code goes through the frames one by one")
        return first

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Truth value of something that is not a plain value."""
        first, second = self.value(obj)
        if isinstance(first, Tensor):
            raise ModelError("its code branches on the data")
        if bool(first) != bool(second):
            raise BatchBoundError("its code branches on the number of frames")
        return bool(first)

    def _computed(self, node: fx.Node) -> tuple[Any, Any]:
        before, self._computing = self._computing, True
        try:
            first, second = (self._compute(node, run) for run in (0, 1))
        finally:
            self._computing = before
        return first, second

    def _compute(self, node: fx.Node, run: int) -> Any:
        if node.op == "placeholder":
            name = str(node.target)
            if name.startswith("*"):
                return self._given[run].get(name.lstrip("*"), {} if name.startswith("**") else ())
            return self._given[run][name]
        if node.op == "get_attr":
            return _attribute(self.root, str(node.target))
        args: Any = map_arg(node.args, lambda used: self._known(used, run))
        kwargs: Any = map_arg(node.kwargs, lambda used: self._known(used, run))
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        if node.op == "call_module":
            return self.root.get_submodule(str(node.target))(*args, **kwargs)
        return node.target(*args, **kwargs)  # type: ignore[operator]

    def _known(self, node: fx.Node, run: int) -> Any:
        if node not in self._values:  # fx notes a weight that is an argument without asking
            self._values[node] = self._computed(node)
        return self._values[node][run]


class _Known(fx.Proxy):
    """Step of the code whose values are known."""

    tracer: ExampleTracer

    def __getattr__(self, k: str) -> Any:
        first, _ = self.tracer.value(self)
        if not hasattr(first, k):
            raise AttributeError(f"{type(first).__name__!r} object has no attribute {k!r}")
        if callable(getattr(first, k)):
            return Attribute(self, k)
        return self.tracer.create_proxy("call_function", getattr, (self, k), {})

    def __iter__(self) -> Iterator[Any]:
        return self.tracer.iter(self)

    def __len__(self) -> int:
        return self.tracer.length(self)

    def __deepcopy__(self, memo: object) -> Any:
        return self.tracer.create_proxy("call_method", "clone", (self,), {})

    def __index__(self) -> int:
        raise BatchBoundError("its code takes the number of frames as a plain number")

    __int__ = __index__

    def __float__(self) -> float:
        raise ModelError("its code takes the data or the number of frames as a plain number")


def _attribute(root: Any, name: str) -> Any:
    for part in name.split("."):
        root = getattr(root, part)
    return root


@contextlib.contextmanager
def _makers_recorded(tracer: ExampleTracer) -> Iterator[None]:
    """Record torch's functions that make tensors from sizes alone as steps where a size is one."""

    def recorded(make: Callable[..., Any]) -> Callable[..., Any]:
        def made(*args: Any, **kwargs: Any) -> Any:
            if any(isinstance(leaf, fx.Proxy) for leaf in torch.utils._pytree.tree_leaves((args, kwargs))):
                return tracer.create_proxy("call_function", make, args, kwargs)
            return make(*args, **kwargs)

        return made

    with contextlib.ExitStack() as stack:
        for name in _MAKERS:
            stack.enter_context(mock.patch.object(torch, name, recorded(getattr(torch, name))))
        yield
