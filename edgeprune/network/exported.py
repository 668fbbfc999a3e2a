"""Conversion of an exported program's operations to modules, so that it can be trained and its layers replaced."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

_aten = torch.ops.aten
_MOST_ARGUMENTS = 10


def with_modules(flat: fx.GraphModule) -> fx.GraphModule:
    """Convert the program's weighted and mode-dependent operations to modules at the paths they were exported from."""
    root = nn.Module()
    for named in (flat.named_parameters, flat.named_buffers):
        for name, value in named(remove_duplicate=False):
            _put(root, name, value)
    for name, value in vars(flat).items():
        if isinstance(value, torch.Tensor):
            _put(root, name, value)
    graph = fx.Graph()
    copies: dict[fx.Node, Any] = {}
    for node in flat.graph.nodes:
        if node.op == "output":
            results = [copies[result] for result in node.all_input_nodes]
            graph.output(results[0] if len(results) == 1 else tuple(results))
            continue
        made = _module_of(node, flat)
        if node.op == "call_module" or (node.op == "call_function" and "_guard" in str(node.target)):
            continue
        if made is None:
            copies[node] = graph.node_copy(node, copies.__getitem__)
            continue
        path, module, source = made
        path = _place(root, path, module, node.name)
        copies[node] = graph.call_module(path, (copies[source],))
        copies[node].meta = dict(node.meta)
    network = fx.GraphModule(root, graph)
    network.graph.eliminate_dead_code()
    network.delete_all_unused_submodules()
    network.recompile()
    return network.train(False)


def _module_of(node: fx.Node, flat: fx.GraphModule) -> tuple[str, nn.Module, fx.Node] | None:
    """Module equivalent to an operation, with its path and its input; None for plain operations.

    An operation on computed weights is a plain one.
    """
    make = _MAKERS.get(node.target) if node.op == "call_function" else None
    if make is None or node.kwargs or not isinstance(node.args[0], fx.Node):
        return None
    source, others = node.args[0], node.args[1:]
    values = [_value(flat, argument) for argument in others]
    if any(isinstance(value, fx.Node) for value in values):
        return None
    module = make([source, *values, *[None] * _MOST_ARGUMENTS])
    if module is None:
        return None
    names = [str(argument.target) for argument in others if isinstance(argument, fx.Node)]
    return names[0].rpartition(".")[0] if names else "", module, source


def _place(root: nn.Module, path: str, module: nn.Module, otherwise: str) -> str:
    """Place a module where its weights are, or find it there; if the path is taken, beside it under another name.

    Returns:
        The path of the module.
    """
    if path:
        there, own = root.get_submodule(path), _tensors(module)
        held = _tensors(there)
        if repr(there) == repr(module) and held == own:
            return path
        if type(there) is nn.Module and not there._modules and held.items() <= own.items():
            _put(root, path, module)
            return path
    path = f"{path}.{otherwise}" if path else otherwise
    _put(root, path, module)
    return path


def _tensors(module: nn.Module) -> dict[str, int]:
    """Tensors that a module itself holds, without a batch norm's count of batches."""
    named = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    return {name: id(tensor) for name, tensor in named if name != "num_batches_tracked"}


def _value(flat: fx.GraphModule, argument: Any) -> Any:
    if isinstance(argument, fx.Node) and argument.op == "get_attr":
        return operator.attrgetter(str(argument.target))(flat)
    return argument


def _with_weights(module: nn.Module, **weights: Any) -> nn.Module:
    for name, value in weights.items():
        if isinstance(value, nn.Parameter) or value is None:
            module.register_parameter(name, value)
        else:
            module.register_buffer(name, value)
    return module


def _convolution(a: list[Any]) -> nn.Module:
    weight = a[1]
    kind: Any = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}[weight.dim()]
    axes, groups = weight.dim() - 2, 1 if a[6] is None else a[6]
    stride, padding, dilation = (
        tuple(default for _ in range(axes)) if value is None else value if isinstance(value, str) else tuple(value)
        for value, default in ((a[3], 1), (a[4], 0), (a[5], 1))
    )
    module = kind(
        weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:]), stride, padding, dilation, groups,
        a[2] is not None, device="meta",
    )  # fmt: skip
    return _with_weights(module, weight=weight, bias=a[2])


def _linear(a: list[Any]) -> nn.Module:
    module = nn.Linear(a[1].shape[1], a[1].shape[0], a[2] is not None, device="meta")
    return _with_weights(module, weight=a[1], bias=a[2])


def _batch_norm(a: list[Any]) -> nn.Module | None:
    if a[3] is None:  # it has no statistics to run on
        return None
    kind: Any = {4: nn.BatchNorm2d, 5: nn.BatchNorm3d}.get(a[0].meta["val"].dim(), nn.BatchNorm1d)
    module = kind(len(a[3]), eps=a[7], momentum=a[6], affine=a[1] is not None)
    return _with_weights(module, weight=a[1], bias=a[2], running_mean=a[3], running_var=a[4])


def _layer_norm(a: list[Any]) -> nn.Module:
    eps = 1e-5 if a[4] is None else a[4]
    module = nn.LayerNorm(tuple(a[1]), eps=eps, elementwise_affine=a[2] is not None, device="meta")
    return _with_weights(module, weight=a[2], bias=a[3])


def _max_pool(axes: int) -> Callable[[list[Any]], nn.Module]:
    """Maximum pooling; as a module it can be reduced for a smaller map."""
    kind = nn.MaxPool1d if axes == 1 else nn.MaxPool2d

    def make(a: list[Any]) -> nn.Module:
        kernel, stride = tuple(a[1]), tuple(a[2] or a[1])
        return kind(kernel, stride, tuple(a[3] or (0,) * axes), tuple(a[4] or (1,) * axes), ceil_mode=bool(a[5]))

    return make


_MAKERS: dict[Any, Callable[[list[Any]], nn.Module | None]] = {
    _aten.max_pool1d.default: _max_pool(1),
    _aten.max_pool2d.default: _max_pool(2),
    _aten.conv1d.default: _convolution,
    _aten.conv1d.padding: _convolution,
    _aten.conv2d.default: _convolution,
    _aten.conv2d.padding: _convolution,
    _aten.linear.default: _linear,
    _aten.batch_norm.default: _batch_norm,
    _aten.layer_norm.default: _layer_norm,
    _aten.dropout.default: lambda a: nn.Dropout(a[1]),
    _aten.dropout_.default: lambda a: nn.Dropout(a[1]),
}


def _put(root: nn.Module, path: str, value: Any) -> None:
    """Set a module or tensor at a dotted path, creating the modules above it."""
    *parents, last = path.split(".")
    holder = root
    for name in parents:
        if name not in holder._modules:
            holder.add_module(name, nn.Module())
        holder = getattr(holder, name)
    if isinstance(value, nn.Module):
        setattr(holder, last, value)
    elif isinstance(value, nn.Parameter):
        holder.register_parameter(last, value)
    elif isinstance(value, torch.Tensor):
        holder.register_buffer(last, value)
