"""Model file: weights, and everything needed to use them. Loading one never runs code from the file.

`save` writes a dict that `torch.load(weights_only=True)` reads; `load` also takes a bare state dict of a registered
network or of one that a user's function builds. If the user trusts the file, it also takes a pickled module or an
exported program, which is then stored inside the model file.
"""

import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from edgeprune import registry
from edgeprune.errors import ConfigError, ModelError, reason_of
from edgeprune.files.bounds import claimed, refuse_inflated
from edgeprune.files.store import file_sha256, from_plain, to_plain
from edgeprune.files.whole import replacing
from edgeprune.frames.labelled import refuse_class_name
from edgeprune.network import foreign
from edgeprune.network.consent import remembered
from edgeprune.network.edits import apply_edits
from edgeprune.network.factory import from_factory, portable, same_factory
from edgeprune.network.model_file import FORMAT, ModelOptions, described, read
from edgeprune.network.outputs import LogitsOf
from edgeprune.network.weights import fitted, is_state
from edgeprune.network.widths import Size, resize
from edgeprune.records.frames import DataRef
from edgeprune.records.names import NORMALISATIONS
from edgeprune.records.pruning import Arch, InputSpec, PrunePlan

_EMBEDDED = ("pickle", "exported")
_MOST_INPUTS = 1 << 24
_MOST_CLASSES = 10_000
_MOST_GROUPED = 1 << 24  # inputs times outputs where channels are in groups, and weights are fewer
_DRAWING = {Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_}
_FIELDS = ("arch", "state_dict", "classes", "input", "data", "plan", "metrics")


@dataclass(frozen=True)
class Checkpoint:
    """Network with its weights and everything needed to use it.

    Attributes:
        model: Network in eval mode, on the CPU; takes normalized frames (N, channels, length).
        arch: Architecture before any unit was dropped.
        classes: Names of its outputs, in order; `train` sorts them.
        input: Input of the network.
        data: Training data, if known.
        plan: Plan of the dropped units, or None.
        metrics: Training metrics, plain JSON values.
        widths: (inputs, outputs) of the narrowed modules, by path.
        embedded: Pickled module or exported program that it is built from, or empty.
        name: Short name for reports: the file's stem.
        sha256: SHA-256 of the file; empty for a checkpoint that was not saved.
        notes: Parts of its file that were ignored, in words.
    """

    model: nn.Module
    arch: Arch
    classes: tuple[str, ...]
    input: InputSpec
    data: DataRef | None
    plan: PrunePlan | None
    metrics: dict[str, Any]
    widths: dict[str, Size] = field(default_factory=dict)
    embedded: bytes = b""
    name: str = ""
    sha256: str = ""
    notes: tuple[str, ...] = ()

    @property
    def trusted(self) -> ModelOptions:
        """Options that load a saved copy of this model: only the bytes that build it are trusted."""
        embedded = self.arch.source in _EMBEDDED
        return ModelOptions(
            factory=self.arch.name if self.arch.source == "factory" else None,
            trust_pickle=embedded,
            embedded_sha256=hashlib.sha256(self.embedded).hexdigest() if embedded else None,
        )


def build(arch: Arch, embedded: bytes = b"") -> nn.Module:
    """Build the network as it was before any unit was dropped; untrained, unless built from a pickle or program.

    Its outputs are logits; for a network that returns probabilities, their logarithm. It runs the user's code for
    a factory or a pickle: callers need the user's consent.

    Raises:
        ConfigError: No family builds that name, or there is no such factory.
        ModelError: The arguments do not fit the family, or the user's code fails.
    """
    network = _built(arch, embedded)
    return LogitsOf(network) if arch.outputs == "probabilities" else network


def _built(arch: Arch, embedded: bytes) -> nn.Module:
    if arch.source == "factory":
        return from_factory(arch.name, arch.arguments)
    if arch.source == "pickle":
        return foreign.from_pickle(embedded, arch.name)
    if arch.source == "exported":
        return foreign.from_exported(embedded, arch.name)
    family = registry.family_of(arch.name)
    try:
        model: nn.Module = family.build(arch.name, **arch.arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{arch.name} cannot be built with {arch.arguments}: {reason_of(error)}") from error
    return model


def rebuilt(model: nn.Module, plan: PrunePlan | None, widths: dict[str, Size], shape: InputSpec) -> nn.Module:
    """Drop the units of a network and narrow its modules, as the records say.

    Raises:
        ModelError: The plan or the widths are of another network.
    """
    if plan is not None:
        model = apply_edits(model, plan.edits, (shape.channels, shape.length))
    resize(model, widths)
    return model


def weights_sha256(model: nn.Module) -> str:
    """Hash a network in memory: its printed form, and the name, type, shape and values of each weight."""
    digest = hashlib.sha256(str(model).encode())
    for name, value in sorted(model.state_dict().items()):
        if isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save(path: Path, checkpoint: Checkpoint) -> Checkpoint:
    """Write the model file atomically; returns the checkpoint with its name and SHA-256.

    Raises:
        ConfigError: The file cannot be written, or the network's normalization is unknown.
    """
    if checkpoint.input.normalisation == "unknown":
        raise ConfigError(
            f"nobody said how the frames of {checkpoint.name} were scaled in its training",
            f"Give `normalisation` ({', '.join(NORMALISATIONS)}), or `data` to find it with",
        )
    content = {
        "format": FORMAT,
        "arch": to_plain(_portable(checkpoint.arch)),
        "state_dict": checkpoint.model.state_dict(),
        "classes": list(checkpoint.classes),
        "input": to_plain(checkpoint.input),
        "data": None if checkpoint.data is None else to_plain(checkpoint.data),
        "plan": None if checkpoint.plan is None else to_plain(checkpoint.plan),
        "metrics": checkpoint.metrics,
        "widths": {path: list(size) for path, size in checkpoint.widths.items()},
        "embedded": torch.frombuffer(bytearray(checkpoint.embedded), dtype=torch.uint8)
        if checkpoint.embedded
        else None,
    }
    write_tensors(path, content)
    return replace(checkpoint, name=path.stem, sha256=file_sha256(path))


def _portable(arch: Arch) -> Arch:
    """Remove paths of this machine from an architecture."""
    return replace(arch, name=portable(arch.name)) if arch.source == "factory" else arch


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write a dict of tensors and plain values atomically.

    It is serialized in memory first, since torch does not report why a file could not be written.

    Raises:
        ConfigError: The place cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with replacing(path) as file:
        file.write(buffer.getbuffer())


def load(path: Path, options: ModelOptions | None = None, sha256: str | None = None) -> Checkpoint:
    """Read a model file.

    Args:
        path: Path of the file.
        options: Options for what the file does not contain, and permission to run code from it.
        sha256: Expected SHA-256 of the file; any other file is refused.

    Raises:
        ConfigError: No such file, a file with another hash, or a missing option that a bare state dict needs or that
            allows code to run.
        ModelError: Not a model file, one that would run code (it is not run), or weights of another shape.
    """
    options = options or ModelOptions()
    if sha256 is not None and (not path.is_file() or file_sha256(path) != sha256):
        raise ConfigError(f"{path} changed since it was first read", "Start again")
    content = read(path, options)
    bare = content.get("format") != FORMAT
    if bare:
        content = described(content, path, options)
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
        widths = from_plain(dict[str, tuple[int, int]], content.get("widths") or {}, str(path))
    except ConfigError as error:
        raise ModelError(error.message) from error
    _check_sizes(path, arch, shape, classes, plan)
    arch = _trusted(path, arch, options, bare)
    embedded = content.get("embedded")
    blob = bytes(embedded.numpy().tobytes()) if isinstance(embedded, Tensor) else b""
    if options.embedded_sha256 not in (None, hashlib.sha256(blob).hexdigest()):
        raise ConfigError(
            f"{path} embeds another network than the model that you trust; nothing was run",
            "It was changed after it was written: use another `out`, or remove the file",
        )
    state = content["state_dict"]
    if arch.source == "registered":
        _check_network(path, arch)
    if is_state(state):
        _check_widths(path, widths, state)
    model = rebuilt(build(arch, blob), plan, widths, shape)
    outputs = arch.arguments.get("classes", len(classes))
    if arch.source == "registered" and outputs != len(classes):
        raise ModelError(f"{path} names {len(classes)} classes for a network of {outputs} outputs")
    notes = tuple(content.get("passed_over", ())) if bare else ()
    if state is not None or not bare:
        notes += _fill(model, state, path, arch.name, bare)
    return Checkpoint(
        model=model.eval(),
        arch=arch,
        classes=classes,
        input=shape,
        data=data,
        plan=plan,
        metrics=metrics,
        widths=widths,
        embedded=blob,
        name=path.stem,
        sha256=file_sha256(path),
        notes=notes,
    )


def _check_sizes(path: Path, arch: Arch, shape: InputSpec, classes: tuple[str, ...], plan: PrunePlan | None) -> None:
    """Refuse implausible inputs, classes and shapes before anything of that size is allocated."""
    if not 1 <= shape.channels * shape.length <= _MOST_INPUTS or min(shape.channels, shape.length) < 1:
        raise ModelError(f"{path} takes {shape.channels} x {shape.length} samples; allowed are 1 to {_MOST_INPUTS}")
    for how, number in (("named", len(classes)), ("built", arch.arguments.get("classes", 0))):
        if type(number) is int and number > _MOST_CLASSES:
            raise ModelError(f"{path} has {number} classes {how}; allowed are {_MOST_CLASSES}")
    for name in classes:
        refuse_class_name(name, str(path))
    for edit in () if plan is None else plan.edits:
        if edit.expand is not None and not 0 <= math.prod(edit.expand) <= _MOST_INPUTS:
            raise ModelError(f"{path} expands a unit to {edit.expand!s:.60}; allowed are {_MOST_INPUTS} values")


class _NotDrawn(TorchFunctionMode):
    """Skips the initialization of random weights, for which torch would load its compiler on the meta device."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _check_network(path: Path, arch: Arch) -> None:
    """Refuse a network far larger than the file before it is built; pruning does not remove as much."""
    try:
        with torch.device("meta"), _NotDrawn():
            network = registry.family_of(arch.name).build(arch.name, **arch.arguments)
    except (TypeError, ValueError, RuntimeError):  # `build` says what is wrong
        return
    sizes = [tensor.numel() * tensor.element_size() for tensor in (*network.parameters(), *network.buffers())]
    with claimed(path, f"a file of {arch.name}", ModelError):
        refuse_inflated(sum(sizes), path.stat().st_size, "that network")


def _check_widths(path: Path, widths: dict[str, Size], state: dict[str, Tensor]) -> None:
    """Refuse widths that contradict the weights in the file."""
    for module, size in widths.items():
        own = [tensor.numel() for name, tensor in state.items() if name.startswith(f"{module}.")]
        most = max(own or [tensor.numel() for tensor in state.values()], default=0)
        if max(size) > most or (own and math.prod(size) > max(most, _MOST_GROUPED)):
            raise ModelError(f"{path} makes {module!r:.80} {size[0]} by {size[1]} wide, and has {most} weights for it")


def _trusted(path: Path, arch: Arch, options: ModelOptions, bare: bool) -> Arch:
    """Return the architecture to build, if the user allowed its code to run.

    Raises:
        ConfigError: The user did not allow its code to run, or the options contradict the file.
    """
    if arch.source == "factory" and not bare:
        arch = replace(arch, name=_trusted_factory(path, arch, options))
    if arch.source in _EMBEDDED and not options.trust_pickle:
        raise ConfigError(
            f"{path} holds a network as a pickle, which can run code; nothing was run",
            "If you trust it, add `trust_pickle=True`",
        )
    if bare or options.shared:
        return arch
    allowed = ModelOptions(
        factory=options.factory if arch.source == "factory" else None,
        trust_pickle=options.trust_pickle,
        embedded_sha256=options.embedded_sha256,
        nameless=options.nameless,
        arguments=options.arguments if arch.source == "factory" else (),
    )
    if options != allowed:
        raise ConfigError(
            f"{path} already says which network it holds",
            "Leave out `arch`, `factory`, `classes`, `input_shape` and `normalisation`",
        )
    return arch


def _trusted_factory(path: Path, arch: Arch, options: ModelOptions) -> str:
    """Return the factory of a model file as the user named it, now or when the network was imported.

    Raises:
        ConfigError: The user named another factory, other arguments, or none.
    """
    if options.factory is not None and same_factory(options.factory, arch.name):
        if options.arguments and dict(options.arguments) != arch.arguments:
            raise ConfigError(
                f"{path} is built by {arch.name} with {arch.arguments}, not with {dict(options.arguments)}",
                "Leave out `factory_arg`",
            )
        return options.factory
    known = remembered(arch.name, arch.arguments) if options.factory is None else None
    if known is None:
        raise ConfigError(
            f"{path} is built by {arch.name}, code that is not run without being asked for",
            f"If you trust it, add `factory={arch.name}`",
        )
    return known


def _fill(model: nn.Module, state: Any, path: Path, name: str, bare: bool) -> tuple[str, ...]:
    """Load weights; returns the ignored parts in words: none for a model file."""
    if not is_state(state):
        raise ModelError(f"the weights in {path} are no dict of tensors but a {type(state).__name__}")
    found = fitted(state, model, str(path), name, lenient=bare)
    model.load_state_dict(found.state)
    return found.passed_over
