"""The weights in a checkpoint, as training scripts leave them, and how their names fit a network."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from edgeprune.errors import ConfigError, ModelError
from edgeprune.network.inert import Inert

State = dict[str, Tensor]

_DEEPEST = 3
_SHOWN = 5
_OTHERS = ("optim", "sched", "scaler", "callbacks", "loops")
"""Prefixes of keys that hold training state, not weights."""
_COUNTERS = ("total_ops", "total_params")
"""Buffers that thop leaves in every module (`thop.profile`)."""
_BATCHES = "num_batches_tracked"
_COMPILED = "_orig_mod"


@dataclass(frozen=True)
class Found:
    """The weights of a checkpoint.

    Attributes:
        state: Weights by name.
        passed_over: Other content of the checkpoint, in words.
    """

    state: State
    passed_over: tuple[str, ...] = ()


def find_weights(content: Mapping[Any, Any], key: str | None, source: str) -> Found | None:
    """Find the one dict of tensors in a checkpoint.

    Args:
        content: Content of the file.
        key: Key of the weights, such as 'ema' or 'ema.module', if there are several dicts; None to search.
        source: Name of the file in messages.

    Returns:
        The weights, or None if the checkpoint holds no dict of tensors.

    Raises:
        ConfigError: There are several and none was named, or none has that name.
    """
    if key is None and content and is_state(content):
        return Found(dict(content))
    places = dict(_states(content))
    if key is not None and key not in places:
        raise ConfigError(f"{source} holds no dict of tensors at {key!r}", f"It has: {', '.join(places) or 'none'}")
    if not places:
        return _loose(content)
    if key is None and len(places) > 1:
        counts = ", ".join(f"{place} ({len(state)})" for place, state in places.items())
        raise ConfigError(
            f"{source} holds {len(places)} dicts of tensors: {counts}",
            f"Say which with `weights_key={next(iter(places))}`",
        )
    chosen = next(iter(places)) if key is None else key
    beside = [name for name in content if name != chosen.split(".", 1)[0]]
    return Found(places[chosen], tuple(_described(name, content[name]) for name in beside))


def _loose(content: Mapping[Any, Any]) -> Found | None:
    """Return the tensors at the top level of a checkpoint, among numbers and texts."""
    state = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    others = [name for name in content if name not in state]
    if not state or any(isinstance(content[name], Mapping) for name in others):
        return None
    return Found(state, tuple(_described(name, content[name]) for name in others))


def is_state(state: Any) -> bool:
    """Whether this is a dict of tensors, by name."""
    return isinstance(state, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    )


def _states(content: Mapping[Any, Any], path: str = "", depth: int = 1) -> Iterator[tuple[str, State]]:
    """Dicts of tensors in a checkpoint with their places."""
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Mapping) or name.lower().startswith(_OTHERS):
            continue
        place = f"{path}{name}"
        if value and is_state(value):
            yield place, dict(value)
        elif depth < _DEEPEST:
            yield from _states(value, f"{place}.", depth + 1)


def _described(name: Any, value: Any) -> str:
    kind = type(value).__name__
    return f"{name} ({kind})" if isinstance(value, Inert | Mapping | list | tuple) else str(name)


def fitted(state: State, model: nn.Module, source: str, network: str, *, lenient: bool) -> Found:
    """Weights under the names that a network has for them.

    Leniently, names may have a prefix more or less than the network's (`module.`, `_orig_mod.`, `model.`, `net.`);
    counts that thop leaves are passed over, and the number of batches that a batch norm has seen may be missing.

    Args:
        state: The weights.
        model: The network they are for; left as it is.
        source: Names their file in messages.
        network: Names the network in messages.
        lenient: Look for another prefix, and pass over what is no weight.

    Raises:
        ModelError: Some are missing, are not in the network, or have another shape: the first five of them.
    """
    expected: State = model.state_dict()
    renamed, said = _leniently(state, expected) if lenient else (state, [])
    problems = [f"{name} is missing" for name in expected if name not in renamed]
    problems += [f"{name} is not in the network" for name in renamed if name not in expected]
    problems += [
        f"{name} has shape {tuple(renamed[name].shape)}, not {tuple(value.shape)}"
        for name, value in expected.items()
        if name in renamed and renamed[name].shape != value.shape
    ]
    if problems:
        more = f" (and {len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
        raise ModelError(f"the weights in {source} do not fit {network}: {'; '.join(problems[:_SHOWN])}{more}")
    return Found(renamed, tuple(said))


def _leniently(state: State, expected: State) -> tuple[State, list[str]]:
    """Rename weights to the expected names, and list the ignored ones."""
    given, said = _without_counters(state, expected)
    renamed, how = _renamed(given, expected)
    for name, value in expected.items():
        if name not in renamed and name.rpartition(".")[2] == _BATCHES:
            renamed[name] = value
    return renamed, said + how


def _without_counters(state: State, expected: State) -> tuple[State, list[str]]:
    counters = [name for name in state if name not in expected and name.rpartition(".")[2] in _COUNTERS]
    left = {name: value for name, value in state.items() if name not in counters}
    return left, [f"{len(counters)} counters of thop ({', '.join(_COUNTERS)})"] if counters else []


def _renamed(state: State, expected: State) -> tuple[State, list[str]]:
    """Remove a prefix that the network's names do not have, or add one that they have."""
    plain = OrderedDict((_uncompiled(name), value) for name, value in state.items())
    wanted = {_uncompiled(name): name for name in expected}
    needed = [name for name in wanted if name.rpartition(".")[2] != _BATCHES]
    if not needed or all(name in plain for name in needed):
        return {wanted.get(name, name): value for name, value in plain.items()}, []
    for prefix in _prefixes(plain, needed[0]):
        if all(prefix + name in plain for name in needed):
            inside = {name[len(prefix) :]: value for name, value in plain.items() if name.startswith(prefix)}
            outside = [name for name in plain if not name.startswith(prefix)]
            said = [f"the prefix {prefix!r} of its names", *_counted(outside)]
            return {wanted.get(name, name): value for name, value in inside.items()}, said
    for prefix in _prefixes(wanted, next(iter(plain), "")):
        longer = {prefix + name: value for name, value in plain.items()}
        if all(name in longer for name in needed):
            return {wanted.get(name, name): value for name, value in longer.items()}, []
    return dict(state), []


def _counted(names: list[str]) -> list[str]:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{', '.join(names[:_SHOWN])}{more}"] if names else []


def _prefixes(names: Mapping[str, Any], ending: str) -> list[str]:
    """List the prefixes that turn a name into others, the shortest first."""
    found = {name.removesuffix(ending) for name in names if ending and name.endswith(f".{ending}")}
    return sorted(found, key=len)


def _uncompiled(name: str) -> str:
    """Remove the wrappers of `torch.compile` from a name."""
    return ".".join(part for part in name.split(".") if part != _COMPILED)
