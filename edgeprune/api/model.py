"""A network ready for use: from a model file, or around a module in memory."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from edgeprune.api.tables import Table
from edgeprune.errors import ConfigError, ModelError, reason_of
from edgeprune.export.network import RawSampleNetwork, on_raw_samples, torch_logits
from edgeprune.frames.labelled import refuse_class_name
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.checkpoint import Checkpoint, weights_sha256
from edgeprune.network.model_file import ModelOptions
from edgeprune.network.normalisation import FORMULAS, normalise
from edgeprune.records.frames import Frames
from edgeprune.records.names import NORMALISATIONS, Normalisation, Split
from edgeprune.records.pruning import Arch, InputSpec, PrunePlan
from edgeprune.tasks.data.frames import frames_for, own_frames
from edgeprune.tasks.data.reading import handling_of

Data = Frames | str | Path
FrameKind = Literal["normalised", "raw"]
RADIOML_SHAPE = (2, 128)


@dataclass(frozen=True, repr=False, eq=False)
class Model:
    """A network with its classes, input and origin, made by `load` or `wrap`; functions return changed models as new.

    Attributes:
        record: Record of the network, as in a model file.
        data: The frames it was pruned or trained with, the default of every `data` argument.
        unpruned: The wrapped module, before any unit was dropped; None for a network from a file.
        weights: Sha256 of the weights when `record` was made; they may have been trained since.
    """

    record: Checkpoint
    data: Data | None = None
    unpruned: nn.Module | None = None
    weights: str = ""

    @property
    def module(self) -> nn.Module:
        """The network, an ordinary module: train it, save it, export it like any other. Changes to it change the model.

        It takes float32 frames (N, channels, length), scaled by `normalisation`, and returns logits (N, classes).
        `as_module("raw")` takes frames as the receiver delivers them.
        """
        return self.record.model

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the outputs."""
        return self.record.classes

    @property
    def input_shape(self) -> tuple[int, int]:
        """Channels and samples of a frame."""
        return self.record.input.channels, self.record.input.length

    @property
    def normalisation(self) -> Normalisation:
        """Scaling of a frame before `module`, one of `network.normalisation.FORMULAS`."""
        return self.record.input.normalisation

    @property
    def name(self) -> str:
        """Short name, for reports and files."""
        return self.record.name

    @property
    def pruned_by(self) -> PrunePlan | None:
        """The plan that the network was pruned by, or None."""
        return self.record.plan

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def checkpoint(self) -> Checkpoint:
        """Return the record with the current hash: of the file if the weights are unchanged, else of the weights."""
        weights = weights_sha256(self.module)
        return self.record if weights == self.weights else replace(self.record, sha256=weights, metrics={})

    @property
    def sha256(self) -> str:
        """Hash of the model file; hash of the weights if there is no file, or if they have changed since."""
        return self.checkpoint.sha256

    def as_module(self, frames: FrameKind = "raw") -> nn.Module:
        """Return the network as a module for raw or normalized frames; it shares its weights with `module`.

        Args:
            frames: 'raw' puts the normalization in front, as in an exported file; 'normalised' is `module` itself.

        Example:
            >>> logits = model.as_module("raw")(torch.randn(1, 2, 128))
        """
        require_one_of("frames", frames, ("raw", "normalised"))
        return RawSampleNetwork(self.module, self.normalisation) if frames == "raw" else self.module

    def tensors(
        self, data: Data | None = None, split: Split = "train", frames: FrameKind = "normalised"
    ) -> tuple[Tensor, Tensor]:
        """Return the frames and labels of one split, for your own training loop.

        Args:
            data: Frames from `read_frames`, or their file; by default those the model was made with.
            split: 'train', 'validation' or 'test', always the same frames for the same data and model.
            frames: 'normalised' for `module`, or 'raw'.

        Returns:
            Frames (N, channels, length) float32, and their labels (N,) int64 as indices of `classes`.

        Raises:
            DataError: The frames do not fit the model.

        Example:
            >>> x, y = small.tensors(data, "train")
            >>> loss = torch.nn.functional.cross_entropy(small.module(x[:256]), y[:256])
        """
        require_one_of("frames", frames, ("raw", "normalised"))
        part = parts_of(self, data)[0][split]
        iq = torch.from_numpy(part.iq[:])
        return normalise(iq, self.normalisation if frames == "normalised" else "none"), torch.from_numpy(part.labels)

    def save(self, path: str | Path) -> "Model":
        """Write a model file, which `load` and every command can read.

        A wrapped network is kept as a pickle; loading it needs the same classes to be importable.

        Raises:
            ConfigError: The file cannot be written.
            ModelError: The wrapped module cannot be pickled.

        Example:
            >>> small.save("small.pt")
        """
        saved = checkpoints.save(Path(path), embedding(self))
        return replace(self, record=saved, weights=weights_sha256(self.module))

    def __repr__(self) -> str:
        return self._table().text()

    def _repr_html_(self) -> str:
        return self._table().html()

    def _table(self) -> Table:
        channels, length = self.input_shape
        told = {
            "rms": "each divided by its root mean square",
            "none": "raw",
            "unknown": "with an unknown normalization",
        }
        scaled = told.get(self.normalisation) or f"each x scaled as {FORMULAS[self.normalisation]}"
        plan = self.pruned_by
        rows = [
            ("parameters", f"{self.parameters:,}"),
            ("module takes", f"frames (N, {channels}, {length}), {scaled} (normalisation={self.normalisation!r})"),
            ("classes", f"{len(self.classes)}: {', '.join(self.classes)}"),
            *([("dropped", f"{len(plan.dropped)} of {len(plan.decisions)} units")] if plan else []),
        ]
        return Table(f"{self.name or 'model'}, a {self.record.arch.name}", ("", " "), rows)


def load(
    path: str | Path,
    *,
    arch: str | None = None,
    factory: str | None = None,
    factory_arg: Mapping[str, Any] | None = None,
    weights_key: str | None = None,
    classes: Sequence[str] | None = None,
    input_shape: tuple[int, int] | None = None,
    normalisation: Normalisation | None = None,
    trust_pickle: bool = False,
) -> Model:
    """Read a model file. Code in it is run only if you allow it.

    A file that edgeprune wrote needs no other argument. A bare state dict needs `arch` or `factory`, `classes` and
    `input_shape`.

    Args:
        path: Model file: `.pt`, or `.pt2` for an exported program.
        arch: Name of the registered network that the weights belong to.
        factory: 'file.py:callable' or 'package.module:callable' that builds the network; it is called.
        factory_arg: Arguments of the factory, by name.
        weights_key: Key of the weights in a checkpoint that holds several dicts of tensors.
        classes: Names of the classes, in the order of the outputs.
        input_shape: Channels and samples of a frame.
        normalisation: Scaling of each frame in training: 'none', 'rms', 'rms-rows' or 'peak'.
        trust_pickle: Also read a pickled module or exported program, which can run code.

    Raises:
        ConfigError: The file does not exist, or an argument is missing.
        ModelError: The file is not a model file, would run code, or holds weights that do not fit.

    Example:
        >>> model = ep.load("model.pt")
    """
    names = None if classes is None else tuple(classes)
    options = ModelOptions(arch, names, input_shape, normalisation, factory, trust_pickle)
    given = tuple((factory_arg or {}).items())
    record = checkpoints.load(Path(path), replace(options, arguments=given, weights_key=weights_key))
    return Model(record, weights=weights_sha256(record.model))


def wrap(
    module: nn.Module,
    *,
    classes: Sequence[str],
    normalisation: Normalisation,
    input_shape: tuple[int, int] = RADIOML_SHAPE,
    name: str | None = None,
) -> Model:
    """Use a network that is already in memory. It is neither copied nor changed.

    Args:
        module: Takes float32 frames (N, channels, length), returns logits (N, classes).
        classes: Names of the classes, in the order of the outputs.
        normalisation: Scaling of each frame before the module. 'rms' divides it by its root mean square, 'rms-rows'
            each row by its own, 'peak' by its largest magnitude; with 'none' the module takes raw frames. There is no
            default, since a wrong value costs accuracy without any error.
        input_shape: Channels and samples of a frame.
        name: Short name for reports and files; by default that of the module's class.

    Raises:
        ConfigError: An argument is invalid, or a class is named twice.
        ModelError: The module does not return one row of `len(classes)` logits for each frame.

    Example:
        >>> model = ep.wrap(net, classes=["BPSK", "QPSK"], normalisation="rms", input_shape=(2, 1024))
    """
    if not isinstance(module, nn.Module):
        raise ConfigError(f"`module` is of type {type(module).__name__}, not a torch.nn.Module")
    require_one_of("normalisation", normalisation, NORMALISATIONS)
    names = tuple(classes)
    if isinstance(classes, str) or not names or len(set(names)) != len(names):
        raise ConfigError(f"`classes` are {classes!r:.80}, not the names of the outputs", "Give each name once")
    for each in names:
        refuse_class_name(each, "`classes`")
    spec = InputSpec(*input_shape, normalisation=normalisation)
    silence = torch.zeros(2, spec.channels, spec.length)
    logits = torch_logits(on_raw_samples(module, spec), silence.numpy())
    if logits.shape[1] != len(names):
        raise ModelError(f"the network has {logits.shape[1]} outputs, and `classes` names {len(names)}")
    arch = Arch(type(module).__qualname__, source="pickle")
    record = Checkpoint(module, arch, names, spec, data=None, plan=None, metrics={}, name=name or type(module).__name__)
    return in_memory(record, unpruned=module)


def in_memory(record: Checkpoint, unpruned: nn.Module | None, data: Data | None = None) -> Model:
    """Make a model whose weights are in no file, identified by their own hash."""
    weights = weights_sha256(record.model)
    return Model(replace(record, sha256=weights), data, unpruned, weights)


def embedding(model: Model) -> Checkpoint:
    """Complete the record of a model so that its network can be written and read again.

    Raises:
        ModelError: The wrapped module cannot be pickled.
    """
    record = model.checkpoint
    if model.unpruned is None:
        return record
    buffer = io.BytesIO()
    try:
        torch.save(model.unpruned, buffer)
    except Exception as error:  # pickling runs the module's own code
        raise ModelError(
            f"{type(model.unpruned).__qualname__} cannot be written to a file: {reason_of(error)}",
            "Define its class at the top of a module, without lambdas; or save module.state_dict() by torch",
        ) from error
    return replace(record, embedded=buffer.getvalue())


def parts_of(model: Model, data: Data | None) -> tuple[dict[Split, Frames], Frames | Path]:
    """Split frames, labeled with indices of the model's classes, and return them with their source.

    Without `data`, they are those the model was last used with, else those of its training or the shipped set that
    fits.

    Raises:
        ConfigError: The file does not exist, or no data are known for the model.
        DataError: The frames do not fit the model, a split is empty, or a frame is in two splits.
    """
    record = model.record
    given = model.data if data is None else data
    if given is None:
        path, parts = own_frames(record, handling_of(record))
        return parts, path
    source = given if isinstance(given, Frames) else Path(given)
    return frames_for(record, source), source


def require_one_of(parameter: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse a value that is not allowed.

    Raises:
        ConfigError: The value is not allowed.
    """
    if value not in allowed:
        raise ConfigError(f"`{parameter}` is {value!r:.80}", f"Allowed: {', '.join(map(repr, allowed))}")
