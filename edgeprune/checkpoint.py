"""The model file: weights, and all it takes to use them. Loading one never runs code from the file.

`save` writes a dict that `torch.load(weights_only=True)` reads; `load` also takes a bare state dict of a registered
network.
"""

import io
import pickle
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgeprune import registry
from edgeprune.edits import apply_edits
from edgeprune.errors import ConfigError, ModelError, reason_of
from edgeprune.records import Arch, DataRef, Edit, InputSpec, PrunePlan
from edgeprune.store import file_sha256, from_plain, replacing, to_plain

FORMAT = "edgeprune-checkpoint/1"
_FIELDS = ("arch", "state_dict", "classes", "input", "data", "plan", "metrics")


@dataclass(frozen=True)
class Checkpoint:
    """A network with its weights and what it needs to be used.

    Attributes:
        model: In eval mode, on the CPU; takes normalised frames (N, channels, length).
        arch: How it was built, before any unit was dropped.
        classes: Names of its outputs, in their order; sorted in what `train` writes.
        input: What it is fed.
        data: What it was trained on, if known.
        plan: What was dropped, or None.
        metrics: Figures of its training, plain JSON values.
        name: Short name for reports: the file's stem.
        sha256: Of the file; empty for one that was not saved.
    """

    model: nn.Module
    arch: Arch
    classes: tuple[str, ...]
    input: InputSpec
    data: DataRef | None
    plan: PrunePlan | None
    metrics: dict[str, Any]
    name: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class ModelOptions:
    """What the command line says of a model whose file does not say it."""

    arch: str | None = None
    class_names: tuple[str, ...] | None = None
    input_shape: tuple[int, int] | None = None


def build(arch: Arch, edits: tuple[Edit, ...] = ()) -> nn.Module:
    """An untrained network, its dropped units dropped.

    Raises:
        ConfigError: No family builds that name.
        ModelError: The arguments do not fit the family.
    """
    family = registry.family_of(arch.name)
    try:
        model = family.build(arch.name, **arch.arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{arch.name} cannot be built with {arch.arguments}: {reason_of(error)}") from error
    return apply_edits(model, edits) if edits else model


def save(path: Path, checkpoint: Checkpoint) -> Checkpoint:
    """Write the model file atomically; returns the checkpoint with its name and sha256.

    Raises:
        ConfigError: The place cannot be written.
    """
    content = {
        "format": FORMAT,
        "arch": to_plain(checkpoint.arch),
        "state_dict": checkpoint.model.state_dict(),
        "classes": list(checkpoint.classes),
        "input": to_plain(checkpoint.input),
        "data": None if checkpoint.data is None else to_plain(checkpoint.data),
        "plan": None if checkpoint.plan is None else to_plain(checkpoint.plan),
        "metrics": checkpoint.metrics,
    }
    write_tensors(path, content)
    return replace(checkpoint, name=path.stem, sha256=file_sha256(path))


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write a dict of tensors and plain values atomically.

    It is made in memory first, since torch does not say why a file could not be written.

    Raises:
        ConfigError: The place cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with replacing(path) as file:
        file.write(buffer.getbuffer())


def load(path: Path, options: ModelOptions | None = None) -> Checkpoint:
    """Read a model file.

    Raises:
        ConfigError: No such file, or an option is missing that a bare state dict needs.
        ModelError: Not a model file, one that would run code (it is not run), or weights that do not fit.
    """
    content = _read(path)
    if content.get("format") != FORMAT:
        content = _described(content, path, options or ModelOptions())
    elif options not in (None, ModelOptions()):
        raise ConfigError(f"{path} says itself what network it is", "Leave out --arch, --class-names and --input-shape")
    missing = [field for field in _FIELDS if field not in content]
    if missing:
        raise ModelError(f"{path} lacks {', '.join(missing)}", "Write it again with this version of edgeprune")
    try:
        plan = None if content["plan"] is None else from_plain(PrunePlan, content["plan"], str(path))
        arch = from_plain(Arch, content["arch"], str(path))
        shape = from_plain(InputSpec, content["input"], str(path))
        data = None if content["data"] is None else from_plain(DataRef, content["data"], str(path))
        classes = from_plain(tuple[str, ...], content["classes"], str(path))
        metrics = from_plain(dict[str, Any], content["metrics"], str(path))
    except ConfigError as error:
        raise ModelError(error.message) from error
    model = build(arch, plan.edits if plan else ())
    outputs = arch.arguments.get("classes", len(classes))
    if outputs != len(classes):
        raise ModelError(f"{path} names {len(classes)} classes for a network of {outputs} outputs")
    _fill(model, content["state_dict"], path, arch.name)
    return Checkpoint(
        model=model.eval(),
        arch=arch,
        classes=classes,
        input=shape,
        data=data,
        plan=plan,
        metrics=metrics,
        name=path.stem,
        sha256=file_sha256(path),
    )


def _read(path: Path) -> dict[str, Any]:
    """The dict in a .pt file, read without running anything in it."""
    try:
        with path.open("rb") as file:
            head = file.read(512).lstrip()
    except FileNotFoundError as error:
        raise ConfigError(f"no such file: {path}") from error
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    if head.startswith(b"<"):
        raise ModelError(f"{path} is a web page, not a model", "The download failed: fetch it again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, error) from error
    except Exception as error:  # a damaged archive fails in whatever reads it first
        raise ModelError(f"{path} is not a readable model file: {reason_of(error)}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}, not a model file or state dict")
    return content


def _refused(path: Path, error: pickle.UnpicklingError) -> ModelError:
    text = str(error)
    marker = "GLOBAL "
    if marker in text:
        name = text.split(marker, 1)[1].split(" ", 1)[0]
        return ModelError(
            f"{path} wants to load {name}, which could run code; nothing was run",
            "Save the state_dict instead of the module",
        )
    return ModelError(f"{path} is damaged or not a model file; nothing in it was run")


def _described(content: dict[str, Any], path: Path, options: ModelOptions) -> dict[str, Any]:
    """A bare state dict with what the command line says of it, as the content of a model file."""
    state = content.get("state_dict", content)
    if not _is_state(state) or not state:
        raise ModelError(
            f"{path} is not a model file; it holds {', '.join(map(str, list(content)[:5])) or 'nothing'}",
            f"A model file says format {FORMAT!r}, and a state dict holds tensors only",
        )
    if options.arch is None or options.class_names is None or options.input_shape is None:
        raise ConfigError(
            f"{path} holds weights only", "Say what network it is with --arch, --class-names and --input-shape"
        )
    channels, length = options.input_shape
    classes = tuple(options.class_names)
    if len(set(classes)) != len(classes):
        raise ConfigError(f"--class-names names a class twice: {', '.join(classes)}")
    return {
        "arch": {
            "name": options.arch,
            "arguments": {"channels": channels, "length": length, "classes": len(classes)},
        },
        "state_dict": state,
        "classes": list(classes),
        "input": {"channels": channels, "length": length},
        "data": None,
        "plan": None,
        "metrics": {},
    }


def _is_state(state: Any) -> bool:
    return isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())


def _fill(model: nn.Module, state: Any, path: Path, name: str) -> None:
    if not _is_state(state):
        raise ModelError(f"the weights in {path} are no dict of tensors but a {type(state).__name__}")
    expected = model.state_dict()
    problems = [f"{key} is missing" for key in expected if key not in state]
    problems += [f"{key} is not in the network" for key in state if key not in expected]
    problems += [
        f"{key} has shape {tuple(state[key].shape)}, not {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ModelError(f"the weights in {path} do not fit {name}: {problems[0]}{more}")
    model.load_state_dict(state)
