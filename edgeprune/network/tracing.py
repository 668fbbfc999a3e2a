"""Code of a module as a graph of its steps, so that some of them can be removed."""

import contextlib
import copy
import inspect
import operator
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from edgeprune.errors import ModelError, reason_of
from edgeprune.network.compute import beside
from edgeprune.network.example_tracer import BatchBoundError, ExampleTracer, Given
from edgeprune.network.running import evaluating, probe
from edgeprune.network.widths import Resizable

_EXAMPLES = (2, 3)  # frames

_DROPOUTS: dict[Any, type[nn.Module]] = {
    nn.functional.dropout: nn.Dropout,
    nn.functional.dropout1d: nn.Dropout1d,
    nn.functional.dropout2d: nn.Dropout2d,
    nn.functional.dropout3d: nn.Dropout3d,
    nn.functional.alpha_dropout: nn.AlphaDropout,
    nn.functional.feature_alpha_dropout: nn.FeatureAlphaDropout,
}


class Code:
    """Code of a network's modules as graphs of their steps, each traced once.

    Where `torch.fx` cannot follow code, it is traced with the network's own inputs to it (`network.example_tracer`).

    Args:
        model: The network; must not change.
        shape: (channels, length) of its frames.
    """

    def __init__(self, model: nn.Module, shape: tuple[int, int]) -> None:
        self.model, self.shape = model, shape
        self._found: dict[tuple[str, bool], fx.GraphModule | ModelError] = {}
        self._given: dict[str, list[Given]] | None = None

    def of(self, path: str, *, whole: bool = False) -> fx.GraphModule:
        """Code of one module: its submodules, and what is computed between them; must not be changed.

        The submodules are the module's own, not copies. A module that is such a graph keeps the names of its steps.

        Args:
            path: Path of the module, '' for the network.
            whole: Trace into the modules in it as well, down to those of PyTorch.

        Raises:
            ModelError: It cannot be traced.
        """
        if (path, whole) not in self._found:
            try:
                module = self.model.get_submodule(path)
                self._found[path, whole] = _finished(module, self._graph(path, whole))
            except ModelError as error:
                self._found[path, whole] = error
        found = self._found[path, whole]
        if isinstance(found, ModelError):
            raise found
        return found

    def bound_to_batch(self) -> BatchBoundError | None:
        """Find code of the network that needs the number of frames as a plain value; None if there is none."""
        try:
            _traced(self.model, ExampleTracer(_KeepsWidths().is_leaf_module, self._given_to("")))
        except BatchBoundError as error:
            return error
        except Exception:  # something else in it cannot be traced
            return None
        return None

    def changeable(self, path: str, module: nn.Module | None = None, *, whole: bool = False) -> fx.GraphModule:
        """Copy of the code that may be changed, with the submodules of a copy of the module if that is given.

        Raises:
            ModelError: It cannot be traced.
        """
        traced = self.of(path, whole=whole)
        root = self.model.get_submodule(path) if module is None else module
        changed = nn.Module() if root is not traced else root
        if root is not traced:
            changed.__dict__.update(vars(root))
            changed._modules = {**traced._modules, **root._modules}
            changed._buffers = {**traced._buffers, **root._buffers}  # tensors that the code makes, noted by fx
        return fx.GraphModule(changed, copy.deepcopy(traced.graph)).train(root.training)

    def _graph(self, path: str, whole: bool) -> fx.Graph:
        module = self.model.get_submodule(path)
        if isinstance(module, fx.GraphModule) and not whole:
            return copy.deepcopy(module.graph)
        tracer: fx.Tracer = _KeepsWidths() if whole else _OneLevel()
        try:
            graph = _traced(module, tracer)
        except Exception as error:  # tracing runs the module's own code
            problem = error
        else:
            if not any(map(_is_optional, graph.nodes)):
                return graph
            problem = ModelError("its code looks at what it may be handed besides")
        try:
            return _traced(module, ExampleTracer(tracer.is_leaf_module, self._given_to(path)))
        except ModelError as error:
            reason = error.message
        except Exception:  # what went wrong first says more
            reason = reason_of(problem)
        where = path or "the network's own code"
        raise ModelError(f"{where} cannot be traced, so no part of it can be cut out: {reason}") from problem

    def _given_to(self, path: str) -> tuple[Given, Given]:
        """Arguments of a module in two runs of the network, with different numbers of frames."""
        if self._given is None:
            self._given = {}
            for frames in _EXAMPLES:
                self._watch(probe(*self.shape)[:frames])
        first, second = self._given[path]
        return first, second

    def _watch(self, frames: Tensor) -> None:
        """Run the network and keep the first arguments of each of its modules that contain modules."""
        given = self._given
        assert given is not None
        seen: dict[str, Given] = {}

        def keep(module: nn.Module, args: Any, kwargs: Any, path: str) -> None:
            bound = inspect.signature(module.forward).bind(*args, **kwargs)
            bound.apply_defaults()
            seen.setdefault(path, bound.arguments)

        with contextlib.ExitStack() as hooks, torch.no_grad():
            hooks.enter_context(evaluating(self.model))
            for path, module in self.model.named_modules(remove_duplicate=False):
                if next(module.children(), None) is not None or not path:
                    hook = module.register_forward_pre_hook(partial(keep, path=path), with_kwargs=True)
                    hooks.enter_context(hook)
            self.model(beside(self.model, frames))
        for path, bound in seen.items():
            given.setdefault(path, []).append(bound)


def _is_optional(node: fx.Node) -> bool:
    """Whether it is an optional input: to a symbol, `if mask is not None` is always true."""
    return node.op == "placeholder" and node.args == (None,) and bool(node.users)


class _OneLevel(fx.Tracer):
    """Traces the code of one module without entering its submodules."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002 (fx's signature)
        return True


class _KeepsWidths(fx.Tracer):
    """Traces into modules, except those that know their widths: written into the code, these could not change."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Resizable) or super().is_leaf_module(m, module_qualified_name)


def _traced(module: nn.Module, tracer: fx.Tracer) -> fx.Graph:
    """Trace the code of a module as a graph that is faithful to it.

    Raises:
        ModelError: The code changes a tensor in place without using the result, which a graph does not show.
        Exception: Whatever the code raises.
    """
    with evaluating(module):
        graph = tracer.trace(module)
    graph.lint()  # a copy of a symbol belongs to another graph
    for node in graph.nodes:
        if _in_place(module, node) and not node.users:
            raise ModelError(f"{node.name} changes a tensor in place")
    return graph


def _finished(module: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    traced = fx.GraphModule(module, graph)
    for node in traced.graph.nodes:
        if node.op == "call_function" and node.target in _DROPOUTS:
            _as_module(traced, node, _DROPOUTS[node.target])
    traced.recompile()
    traced.train(module.training)
    return traced


def _in_place(module: nn.Module, node: fx.Node) -> bool:
    """Whether a step overwrites its input, by the conventions of torch."""
    if node.op == "call_module":
        return bool(getattr(module.get_submodule(str(node.target)), "inplace", False))
    name = str(getattr(node.target, "__name__", node.target))
    return node.kwargs.get("inplace") is True or (name.endswith("_") and not name.endswith("__"))


def _as_module(traced: fx.GraphModule, node: fx.Node, kind: type[nn.Module]) -> None:
    source = node.args[0] if node.args else node.kwargs["input"]
    share = node.kwargs.get("p", node.args[1] if len(node.args) > 1 else 0.5)
    traced.add_submodule(node.name, kind(share))
    node.op, node.target, node.args, node.kwargs = "call_module", node.name, (source,), {}


@contextlib.contextmanager
def overheard(module: nn.Module, traced: fx.GraphModule, hear: Mapping[str, Callable[[Any], None]]) -> Iterator[None]:
    """Call functions, inside the `with` block, with the results of steps in a module's code, whenever the module runs.

    Args:
        module: The module, in evaluation mode.
        traced: Its code, from `Code.of`.
        hear: Functions by the name of the step.
    """
    steps = _Overheard(traced, module, hear)
    signature = inspect.signature(module.forward)
    inputs = [str(node.target).lstrip("*") for node in traced.graph.nodes if node.op == "placeholder"]

    def forward(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return steps.run(*(bound.arguments[name] for name in inputs))

    own = vars(module).get("forward")
    object.__setattr__(module, "forward", forward)
    try:
        yield
    finally:
        object.__delattr__(module, "forward")
        if own is not None:
            object.__setattr__(module, "forward", own)


class _Overheard(fx.Interpreter):
    """Runs a graph and reports the results of some steps."""

    def __init__(self, traced: fx.GraphModule, module: nn.Module, hear: Mapping[str, Callable[[Any], None]]) -> None:
        super().__init__(traced)
        self.hear, self.own = hear, module

    def placeholder(self, target: Any, args: Any, kwargs: Any) -> Any:  # noqa: ARG002 (fx's signature)
        """The next argument; `*args` and `**kwargs` are one each."""
        return next(self.args_iter)

    def fetch_attr(self, target: str) -> Any:
        """Current weight or module: the network may have been moved since it was traced."""
        try:
            return operator.attrgetter(target)(self.own)
        except AttributeError:
            return super().fetch_attr(target)

    def run_node(self, n: fx.Node) -> Any:
        """Run a step, and report its result."""
        result = super().run_node(n)
        if n.name in self.hear:
            self.hear[n.name](result)
        return result
