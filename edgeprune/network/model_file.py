"""Content of a model file, read without running anything in it; if the user trusts it, a whole network."""

import pickle
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgeprune.errors import ConfigError, ModelError, reason_of
from edgeprune.files import weights, zips
from edgeprune.files.bounds import claimed, refuse_special
from edgeprune.network.inert import load_with_stand_ins, refused_name
from edgeprune.network.other_formats import refuse_folder, refuse_other_formats
from edgeprune.network.weights import find_weights
from edgeprune.records.names import Normalisation, Outputs

FORMAT = "edgeprune-checkpoint/1"
_SOURCE_PLACE = re.compile(r"\[enforce fail at [^\]]*\]\s*\.?")


@dataclass(frozen=True)
class ModelOptions:
    """User's options for a model: what its file does not contain, and what in it may run code.

    Attributes:
        arguments: Arguments of the factory, by name.
        weights_key: Key of the weights in a checkpoint that holds several dicts of tensors.
        trust_pickle: Whether a pickle or exported program may be run.
        embedded_sha256: Hash of the only one that may be run; None for any in the named file.
        outputs: Kind of the network's outputs, if it was found before.
        nameless: Whether the network is only looked at, which takes no names of its classes.
        shared: Options given for several models; a model file that describes itself ignores them.
    """

    arch: str | None = None
    class_names: tuple[str, ...] | None = None
    input_shape: tuple[int, int] | None = None
    normalisation: Normalisation | None = None
    factory: str | None = None
    trust_pickle: bool = False
    embedded_sha256: str | None = None
    arguments: tuple[tuple[str, Any], ...] = ()
    weights_key: str | None = None
    shared: bool = False
    nameless: bool = False
    outputs: Outputs | None = None


def read(path: Path, options: ModelOptions) -> dict[str, Any]:
    """Read the dict in a .pt file; for a pickled module or exported program, its bytes.

    Raises:
        ConfigError: No such file.
        ModelError: Unreadable, or it would run code that the user did not allow.
    """
    _refuse_others(path)
    with claimed(path, "a readable model file", ModelError, "Fetch it again"):
        if path.suffix == ".pt2":
            zips.check(path)
            return {"source": "exported", "embedded": path.read_bytes()}
        weights.check(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        content = _beside_objects(path)
        if content is None and options.trust_pickle and refused_name(error) is not None:
            return {"source": "pickle", "embedded": path.read_bytes()}
        if content is None:
            raise _refused(path, error) from error
    except Exception as error:  # a damaged archive fails in whatever reads it first
        raise ModelError(f"{path} is not a readable model file: {_told(error)}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}, not a model file or state dict")
    return content


def _refuse_others(path: Path) -> None:
    """Refuse a file that is not a model file of PyTorch.

    Raises:
        ConfigError: The file does not exist.
        ModelError: It cannot be read, or has another known format.
    """
    refuse_special(path)
    refuse_folder(path)
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError as error:
        raise ConfigError(f"no such file: {path}") from error
    except (OSError, ValueError) as error:  # a zero byte in a name is a ValueError
        raise ModelError(f"cannot read {path}: {reason_of(error)}") from error
    if head.lstrip().startswith(b"<"):
        raise ModelError(f"{path} is a web page, not a model", "The download failed: fetch it again")
    if path.suffix != ".pt2":
        refuse_other_formats(path, head)


def _beside_objects(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint that holds other objects, without making them; None if it cannot be read."""
    try:
        content = load_with_stand_ins(path)
    except Exception:  # the first error, without stand-ins, says more
        return None
    if not isinstance(content, dict) or content.get("format") == FORMAT:
        return None
    try:
        return None if find_weights(content, None, str(path)) is None else content
    except ConfigError:  # there are several
        return content


def _told(error: Exception) -> str:
    """Return the first sentence of torch's message about a file, without its source location."""
    return _SOURCE_PLACE.sub("", reason_of(error)).split(" (no backtrace")[0].strip()


def _refused(path: Path, error: pickle.UnpicklingError) -> ModelError:
    name = refused_name(error)
    if name is not None:
        return ModelError(
            f"{path} wants to load {name}, which could run code; nothing was run",
            "Save the state_dict instead of the module, or say `trust_pickle=True` if you trust the file",
        )
    return ModelError(f"{path} is damaged or not a model file; nothing in it was run")


def described(content: dict[str, Any], path: Path, options: ModelOptions) -> dict[str, Any]:
    """Combine a bare state dict or whole network with the user's options into the content of a model file.

    Raises:
        ConfigError: An option is missing.
        ModelError: It is neither.
    """
    source = content.get("source") if isinstance(content.get("embedded"), bytes) else None
    if source is not None and not options.trust_pickle:
        raise ConfigError(
            f"{path} may hold pickles, which can run code; nothing was run", "If you trust it, add `trust_pickle=True`"
        )
    found = None if source else find_weights(content, options.weights_key, str(path))
    if not source and found is None:
        raise ModelError(
            f"{path} is not a model file; it holds {', '.join(map(str, list(content)[:5])) or 'nothing'}",
            f"A model file says format {FORMAT!r}, and a state dict holds tensors only",
        )
    _require_description(path, options, weights_only=source is None)
    assert options.input_shape is not None
    channels, length = options.input_shape
    classes = tuple(options.class_names or ())
    if len(set(classes)) != len(classes):
        raise ConfigError(f"`classes` names a class twice: {', '.join(classes)}")
    arch: dict[str, Any] = {"name": options.factory, "source": "factory", "arguments": dict(options.arguments)}
    if source:
        arch = {"name": path.name, "source": source}
    elif options.arch is not None:
        arch = {
            "name": options.arch,
            "arguments": {"channels": channels, "length": length, "classes": len(classes)},
        }
    return {
        "arch": {**arch, "outputs": options.outputs},
        "state_dict": None if found is None else found.state,
        "passed_over": () if found is None else found.passed_over,
        "classes": list(classes),
        "input": {"channels": channels, "length": length, "normalisation": options.normalisation or "unknown"},
        "data": None,
        "plan": None,
        "metrics": {},
        "embedded": as_tensor(content["embedded"]) if source else None,
    }


def _require_description(path: Path, options: ModelOptions, weights_only: bool) -> None:
    """Require the options for everything that the file does not contain, in one message.

    Raises:
        ConfigError: An option is missing.
    """
    missing = []
    if weights_only and options.arch is None and options.factory is None:
        missing.append("`factory=FILE.py:FUNCTION` (or `arch=NAME`)")
    named = options.class_names is not None or (options.nameless and options.arch is None)
    missing += [] if named else ["`classes=a,b,c`"]
    missing += ["`input_shape=C,L`"] if options.input_shape is None else []
    if missing:
        raise ConfigError(
            f"{path} holds {'weights only' if weights_only else 'no description of its network'}",
            f"Add {', '.join(missing)}; or bring it in once, with its data: edgeprune import {path} --factory "
            "FILE.py:FUNCTION --data FRAMES --out MODEL.pt",
        )
    if weights_only and options.arch is not None and options.factory is not None:
        raise ConfigError(f"{path} holds weights only", "Say what network it is with `arch` or `factory`, not both")


def as_tensor(content: bytes) -> Tensor | None:
    """Encode bytes as a model file stores them."""
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else None
