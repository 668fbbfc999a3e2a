"""Unfolding: replaces PyTorch modules that hold several layers by one module for each layer.

A stack of recurrent layers is one module with one kernel, and a transformer encoder layer hides its two residual parts,
so none of their layers can be dropped. Unfolded, they compute the same with the same weights.
"""

import json
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import is_dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from edgeprune.errors import ModelError
from edgeprune.network.compute import copied


class _StandIn(nn.Module):
    """Module in the place of a dropped one, with the plain attributes and methods of that one but no weights."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            shell = self.__dict__.get("shell")
            if shell is None or name.startswith("__"):
                raise
            return getattr(shell, name)


def _shell(module: nn.Module) -> nn.Module | None:
    """Copy a user's module without its parameters, buffers, modules and hooks; None where it cannot be without."""
    if type(module).__module__.partition(".")[0] == "torch":
        return None
    shell: nn.Module = type(module).__new__(type(module))
    nn.Module.__init__(shell)
    shell.__dict__.update({name: value for name, value in vars(module).items() if not name.startswith("_")})
    shell._parameters = {name: None for name, value in module._parameters.items() if value is None}
    try:
        return deepcopy(shell)  # every copy of the network copies it again
    except Exception:  # its class has a way of its own to be copied
        return None


class Skipped(_StandIn, nn.Identity):
    """Stand-in for a dropped module: returns its first input and ignores the others."""

    def forward(self, input: Tensor, *_: object, **__: object) -> Tensor:  # noqa: A002 (the name in nn.Identity)
        """Return the input."""
        return input


class SkippedPair(_StandIn):
    """Stand-in for a module that returns a tensor and something else, as recurrent and attention layers do."""

    def forward(self, input: Tensor, *_: object, **__: object) -> tuple[Tensor, None]:  # noqa: A002
        """Return the input, and None beside it."""
        return input, None


class SkippedBundle(_StandIn):
    """Stand-in for a module that returns a list, tuple, dict or named tuple: the same structure with its input in it.

    Args:
        returns: Description of the module's result, from `returned_by`.
    """

    def __init__(self, returns: str) -> None:
        super().__init__()
        self.returns = returns

    def forward(self, *args: object, **kwargs: object) -> Any:
        """Return the inputs in the places where the module returned something of their shape."""
        given = tree_leaves((args, kwargs))

        def made(what: Any) -> Any:
            if not isinstance(what, dict):
                return what
            (kind, content), *_ = what.items()
            if kind == "input":
                return given[content]
            if kind == "dict":
                return {name: made(value) for name, value in content.items()}
            if kind == "object":
                return SimpleNamespace(**{name: made(value) for name, value in content.items()})
            items = [made(value) for value in content]
            if kind == "named":
                return namedtuple("Skipped", what["fields"])(*items)
            return items if kind == "list" else tuple(items)

        return made(json.loads(self.returns))


def _fields(value: Any) -> Any:
    """Fields of an object of a dataclass by name; anything else as it is."""
    return vars(value) if is_dataclass(value) and not isinstance(value, type) else value


def returned_by(args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any, frames: int) -> str:
    """Describe a module's result as JSON, so that its input can replace it; '' for a single tensor.

    A tensor is described by the input of the same shape, or by null; the first by the first input if none has it.

    Args:
        args: Positional arguments of the call.
        kwargs: Keyword arguments of the call.
        output: Result of the call.
        frames: Number of frames in the call.

    Raises:
        ModelError: It returns their number, which the description would fix.
    """
    if isinstance(output, Tensor):
        return ""
    given = tree_leaves((args, dict(kwargs)))
    main = next((place for place, leaf in enumerate(given) if isinstance(leaf, Tensor)), None)
    made = [leaf for leaf in tree_leaves(_fields(output)) if isinstance(leaf, Tensor)]
    if main is None or not made:
        return ""
    alike = [leaf for leaf in made if leaf.shape == given[main].shape and leaf.dtype == given[main].dtype] or made[:1]

    def place_of(leaf: Tensor) -> int | None:
        same = next((place for place, each in enumerate(given) if each is leaf), None)
        return main if same is None and any(leaf is each for each in alike) else same

    def described(value: Any) -> Any:
        if isinstance(value, Tensor):
            place = place_of(value)
            return None if place is None else {"input": place}
        items = _fields(value)
        if isinstance(items, dict):
            kind = "dict" if items is value else "object"
            return {kind: {str(name): described(each) for name, each in items.items()}}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return {"named": [described(each) for each in value], "fields": list(value._fields)}
        if isinstance(value, list | tuple):
            return {"list" if isinstance(value, list) else "tuple": [described(each) for each in value]}
        if isinstance(value, int) and not isinstance(value, bool) and value == frames:
            raise ModelError("it returns the number of frames as a plain number")
        return value if isinstance(value, bool | int | float | str) else None

    text: str = json.dumps(described(output))
    return text


def stand_in(module: nn.Module, returns: str = "") -> nn.Module:
    """Build the stand-in for a dropped module.

    Args:
        module: Module to replace.
        returns: Description of its result, from `returned_by`; '' for a single tensor.
    """
    made = SkippedPair() if isinstance(module, PAIRS) else SkippedBundle(returns) if returns else Skipped()
    made.__dict__["shell"] = _shell(module)  # as a plain attribute, not as a module
    return made


class FinalStates:
    """Final states of all layers as the folded module returns them: a tensor (layers * directions, ...).

    One row of it is read from its own layer, so that the data flow of `states[-1]` is that of one layer, not of all.
    """

    def __init__(self, layers: Sequence[Tensor]) -> None:
        self.layers = layers

    def joined(self) -> Tensor:
        """Join the states of all layers in one tensor."""
        return torch.cat(list(self.layers))

    def __len__(self) -> int:
        return sum(map(len, self.layers))

    def __getitem__(self, index: Any) -> Tensor:
        row, rest = (index[0], index[1:]) if isinstance(index, tuple) and index else (index, ())
        if not isinstance(row, int):
            return self.joined()[index]
        layer, direction = divmod(range(len(self))[row], len(self.layers[0]))
        return self.layers[layer][(direction, *rest)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.joined(), name)

    @classmethod
    def __torch_function__(cls, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Pass the joined tensor to every torch function."""
        return function(*tree_map_only(cls, cls.joined, args), **tree_map_only(cls, cls.joined, kwargs or {}))


class RecurrentStack(nn.Module):
    """Layers of an `nn.LSTM`, `nn.GRU` or `nn.RNN`, each a module of its own with the same weights."""

    def __init__(self, folded: nn.RNNBase) -> None:
        super().__init__()
        self.dropout = folded.dropout
        self.directions = 2 if folded.bidirectional else 1
        self.layers = nn.ModuleList(_single(folded, layer) for layer in range(folded.num_layers))

    def forward(self, input: Tensor, state: "Tensor | tuple[Tensor, Tensor] | None" = None) -> tuple[Tensor, object]:  # noqa: A002
        """Map a sequence to (outputs of the last layer, final states of all layers), as the folded module does."""
        finals = []
        for index, layer in enumerate(self.layers):
            if index and self.dropout and self.training:
                input = nn.functional.dropout(input, self.dropout)  # noqa: A001
            rows = slice(index * self.directions, (index + 1) * self.directions)
            own = None if state is None else state[rows] if isinstance(state, Tensor) else tuple(s[rows] for s in state)
            input, final = layer(input, own)  # noqa: A001
            if final is not None:
                finals.append(final)
        if not finals:
            return input, None
        if isinstance(finals[0], Tensor):
            return input, FinalStates(finals)
        return input, tuple(FinalStates(parts) for parts in zip(*finals, strict=True))


def _single(folded: nn.RNNBase, layer: int) -> nn.RNNBase:
    """Extract one layer of a stack, with its weights."""
    directions = 2 if folded.bidirectional else 1
    width = folded.input_size if layer == 0 else directions * (folded.proj_size or folded.hidden_size)
    kind: Any = type(folded)
    options: dict[str, Any] = {"nonlinearity": folded.nonlinearity} if isinstance(folded, nn.RNN) else {}
    if isinstance(folded, nn.LSTM):
        options["proj_size"] = folded.proj_size
    single: nn.RNNBase = kind(
        width,
        folded.hidden_size,
        bias=folded.bias,
        batch_first=folded.batch_first,
        bidirectional=folded.bidirectional,
        **options,
    )
    own = f"_l{layer}"
    weights = {
        name.replace(own, "_l0"): parameter
        for name, parameter in folded.named_parameters()
        if name.removesuffix("_reverse").endswith(own)
    }
    single.to(next(folded.parameters()).device, next(folded.parameters()).dtype)
    for name, parameter in weights.items():
        setattr(single, name, parameter)
    single.train(folded.training)
    return single


class AttentionPart(nn.Module):
    """Attention of an `nn.TransformerEncoderLayer` with its shortcut and norm."""

    def __init__(self, folded: nn.TransformerEncoderLayer) -> None:
        super().__init__()
        self.norm_first = folded.norm_first
        self.self_attn, self.norm, self.dropout = folded.self_attn, folded.norm1, folded.dropout1

    def forward(
        self, x: Tensor, mask: Tensor | None = None, padding: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Attend within each frame's sequence; the shape is kept."""
        if self.norm_first:
            return x + self._attend(self.norm(x), mask, padding, is_causal)
        normed: Tensor = self.norm(x + self._attend(x, mask, padding, is_causal))
        return normed

    def _attend(self, x: Tensor, mask: Tensor | None, padding: Tensor | None, is_causal: bool) -> Tensor:
        options = {"attn_mask": mask, "key_padding_mask": padding, "need_weights": False, "is_causal": is_causal}
        attended: Tensor = self.dropout(self.self_attn(x, x, x, **options)[0])
        return attended


class FeedForwardPart(nn.Module):
    """Feed-forward layers of an `nn.TransformerEncoderLayer` with their shortcut and norm."""

    def __init__(self, folded: nn.TransformerEncoderLayer) -> None:
        super().__init__()
        self.norm_first, self.activation = folded.norm_first, folded.activation
        self.linear1, self.inner_dropout, self.linear2 = folded.linear1, folded.dropout, folded.linear2
        self.norm, self.dropout = folded.norm2, folded.dropout2

    def forward(self, x: Tensor) -> Tensor:
        """Widen and narrow each step's features; the shape is kept."""
        if self.norm_first:
            return x + self._feed(self.norm(x))
        normed: Tensor = self.norm(x + self._feed(x))
        return normed

    def _feed(self, x: Tensor) -> Tensor:
        fed: Tensor = self.dropout(self.linear2(self.inner_dropout(self.activation(self.linear1(x)))))
        return fed


class EncoderLayer(nn.Module):
    """Layer of type `nn.TransformerEncoderLayer` as its two residual parts, each a module with the same weights."""

    def __init__(self, folded: nn.TransformerEncoderLayer) -> None:
        super().__init__()
        self.attention, self.feed_forward = AttentionPart(folded), FeedForwardPart(folded)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Map a sequence to one of the same shape, as the folded module does."""
        fed: Tensor = self.feed_forward(self.attention(src, src_mask, src_key_padding_mask, is_causal))
        return fed


class EncoderStack(nn.Module):
    """Layers of an `nn.TransformerEncoder`, each replaceable."""

    def __init__(self, folded: nn.TransformerEncoder) -> None:
        super().__init__()
        self.layers, self.norm = folded.layers, folded.norm

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """Map a sequence to one of the same shape, as the folded module does."""
        for layer in self.layers:
            src = layer(src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=bool(is_causal))
        return src if self.norm is None else self.norm(src)


PAIRS = (nn.RNNBase, nn.MultiheadAttention, RecurrentStack)
"""Modules that return a tensor and something else."""

_UNFOLDED: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    nn.LSTM: RecurrentStack,
    nn.GRU: RecurrentStack,
    nn.RNN: RecurrentStack,
    nn.TransformerEncoder: EncoderStack,
    nn.TransformerEncoderLayer: EncoderLayer,
}


def _parts_of(module: nn.Module) -> Callable[[Any], nn.Module] | None:
    """Function that unfolds a module, or None for a module that needs none.

    A subclass may compute something else, and so may a module with hooks, as weight norm puts on it.
    """
    single = isinstance(module, nn.RNNBase) and module.num_layers == 1
    if single or module._forward_hooks or module._forward_pre_hooks:
        return None
    return _UNFOLDED.get(type(module))


def unfolded(model: nn.Module) -> nn.Module:
    """Unfold the network to one module a layer: itself if it already is, otherwise a copy with the same weights.

    Outputs differ from the folded network's by rounding at most. A shared module stays shared.
    """
    if not any(_parts_of(module) for module in model.modules()):
        return model
    parted = copied(model)
    made: dict[nn.Module, nn.Module] = {}
    for path, module in list(parted.named_modules(remove_duplicate=False)):
        parts = _parts_of(module)
        if parts is None:
            continue
        if module not in made:
            made[module] = parts(module).train(module.training)
        if path:
            parted.set_submodule(path, made[module])
        else:
            parted = made[module]
    return parted
