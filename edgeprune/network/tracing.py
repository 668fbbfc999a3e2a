"""The code of a module as a graph of its steps, so that some of them can be left out."""

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import fx, nn

from edgeprune.errors import ModelError, reason_of
from edgeprune.network.running import evaluating

_DROPOUTS: dict[Any, type[nn.Module]] = {
    nn.functional.dropout: nn.Dropout,
    nn.functional.dropout1d: nn.Dropout1d,
    nn.functional.dropout2d: nn.Dropout2d,
    nn.functional.dropout3d: nn.Dropout3d,
    nn.functional.alpha_dropout: nn.AlphaDropout,
    nn.functional.feature_alpha_dropout: nn.FeatureAlphaDropout,
}


class _OneLevel(fx.Tracer):
    """Traces the code of one module and enters none of its submodules."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002 (fx's signature)
        return True


def traced_code(module: nn.Module, path: str) -> fx.GraphModule:
    """The code of one module as a graph whose steps are its submodules and what is computed between them.

    The submodules are the module's own, not copies. A module that is such a graph already keeps the names of its steps.

    Raises:
        ModelError: It cannot be traced.
    """
    if isinstance(module, fx.GraphModule):
        return fx.GraphModule(module, copy.deepcopy(module.graph))
    try:
        return graph_of(module, _OneLevel())
    except Exception as error:  # tracing runs the module's own code
        where = path or "the network's own code"
        raise ModelError(f"{where} cannot be traced, so no part of it can be cut out: {reason_of(error)}") from error


def graph_of(module: nn.Module, tracer: fx.Tracer) -> fx.GraphModule:
    """A module as what its code does in evaluation mode; dropout written as a function becomes a module, and stays.

    Raises:
        ModelError: The code changes a tensor in place without using the result, which a graph does not show.
        Exception: Whatever the code raises.
    """
    with evaluating(module):
        graph = tracer.trace(module)
    traced = fx.GraphModule(module, graph)
    for node in graph.nodes:
        if _in_place(traced, node) and not node.users:
            raise ModelError(f"{node.name} changes a tensor in place")
        if node.op == "call_function" and node.target in _DROPOUTS:
            _as_module(traced, node, _DROPOUTS[node.target])
    traced.recompile()
    traced.train(module.training)
    return traced


def _in_place(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a step overwrites what it is given, by the conventions of torch."""
    if node.op == "call_module":
        return bool(getattr(traced.get_submodule(str(node.target)), "inplace", False))
    name = str(getattr(node.target, "__name__", node.target))
    return node.kwargs.get("inplace") is True or (name.endswith("_") and not name.endswith("__"))


def _as_module(traced: fx.GraphModule, node: fx.Node, kind: type[nn.Module]) -> None:
    source = node.args[0] if node.args else node.kwargs["input"]
    share = node.kwargs.get("p", node.args[1] if len(node.args) > 1 else 0.5)
    traced.add_submodule(node.name, kind(share))
    node.op, node.target, node.args, node.kwargs = "call_module", node.name, (source,), {}


@contextlib.contextmanager
def overheard(module: nn.Module, hear: Mapping[str, Callable[[Any], None]]) -> Iterator[None]:
    """Within it, functions are handed what steps in a module's code give, each time the module runs.

    A module whose code cannot be traced is not overheard. It must be in evaluation mode.

    Args:
        module: Its steps are named as in `traced_code`.
        hear: Functions by the name of the step.
    """
    try:
        steps = _Overheard(traced_code(module, ""), hear)
    except ModelError:
        yield
        return
    signature = inspect.signature(module.forward)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return steps.run(*signature.bind(*args, **kwargs).args)

    own = vars(module).get("forward")
    object.__setattr__(module, "forward", forward)
    try:
        yield
    finally:
        object.__delattr__(module, "forward")
        if own is not None:
            object.__setattr__(module, "forward", own)


class _Overheard(fx.Interpreter):
    """Runs a graph and tells of some of its steps."""

    def __init__(self, traced: fx.GraphModule, hear: Mapping[str, Callable[[Any], None]]) -> None:
        super().__init__(traced)
        self.hear = hear

    def run_node(self, n: fx.Node) -> Any:
        """Take a step, and tell what came of it."""
        result = super().run_node(n)
        if n.name in self.hear:
            self.hear[n.name](result)
        return result
