"""Content of a model file, read without running anything in it; if the user trusts it, a whole network."""

import pickle
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from edgeprune.errors import ConfigError, ModelError, reason_of
from edgeprune.files import weights, zips
from edgeprune.files.bounds import claimed, refuse_special

FORMAT = "edgeprune-checkpoint/1"
_GLOBAL = "GLOBAL "
_SOURCE_PLACE = re.compile(r"\[enforce fail at [^\]]*\]\s*\.?")


@dataclass(frozen=True)
class ModelOptions:
    """User's options for a model: what its file does not contain, and what in it may run code.

    Attributes:
        trust_pickle: Whether a pickle or exported program may be run.
        embedded_sha256: Hash of the only one that may; None for whichever is in the named file.
    """

    arch: str | None = None
    class_names: tuple[str, ...] | None = None
    input_shape: tuple[int, int] | None = None
    normalisation: Literal["rms", "none"] | None = None
    factory: str | None = None
    trust_pickle: bool = False
    embedded_sha256: str | None = None


def read(path: Path, options: ModelOptions) -> dict[str, Any]:
    """Read the dict in a .pt file; for a pickled module or exported program, its bytes.

    Raises:
        ConfigError: No such file.
        ModelError: Unreadable, or it would run code that the user did not allow.
    """
    refuse_special(path)
    try:
        with path.open("rb") as file:
            head = file.read(512).lstrip()
    except FileNotFoundError as error:
        raise ConfigError(f"no such file: {path}") from error
    except (OSError, ValueError) as error:  # a zero byte in a name is a ValueError
        raise ModelError(f"cannot read {path}: {reason_of(error)}") from error
    if head.startswith(b"<"):
        raise ModelError(f"{path} is a web page, not a model", "The download failed: fetch it again")
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
        if options.trust_pickle and _GLOBAL in str(error):
            return {"source": "pickle", "embedded": path.read_bytes()}
        raise _refused(path, error) from error
    except Exception as error:  # a damaged archive fails in whatever reads it first
        raise ModelError(f"{path} is not a readable model file: {_told(error)}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}, not a model file or state dict")
    return content


def _told(error: Exception) -> str:
    """Torch's message about a file, without its source location and without what it prints after its first sentence."""
    return _SOURCE_PLACE.sub("", reason_of(error)).split(" (no backtrace")[0].strip()


def _refused(path: Path, error: pickle.UnpicklingError) -> ModelError:
    text = str(error)
    if _GLOBAL in text:
        name = text.split(_GLOBAL, 1)[1].split(" ", 1)[0]
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
    state = None if source else content.get("state_dict", content)
    if not source and (not is_state(state) or not state):
        raise ModelError(
            f"{path} is not a model file; it holds {', '.join(map(str, list(content)[:5])) or 'nothing'}",
            f"A model file says format {FORMAT!r}, and a state dict holds tensors only",
        )
    if not source and (options.arch is None) == (options.factory is None):
        raise ConfigError(f"{path} holds weights only", "Say what network it is with `arch` or `factory`")
    if options.class_names is None or options.input_shape is None:
        raise ConfigError(f"{path} holds no description of its network", "Add `classes` and `input_shape`")
    channels, length = options.input_shape
    classes = tuple(options.class_names)
    if len(set(classes)) != len(classes):
        raise ConfigError(f"`classes` names a class twice: {', '.join(classes)}")
    arch: dict[str, Any] = {"name": options.factory, "source": "factory"}
    if source:
        arch = {"name": path.name, "source": source}
    elif options.arch is not None:
        arch = {
            "name": options.arch,
            "arguments": {"channels": channels, "length": length, "classes": len(classes)},
        }
    return {
        "arch": arch,
        "state_dict": state,
        "classes": list(classes),
        "input": {"channels": channels, "length": length, "normalisation": options.normalisation or "rms"},
        "data": None,
        "plan": None,
        "metrics": {},
        "embedded": as_tensor(content["embedded"]) if source else None,
    }


def is_state(state: Any) -> bool:
    """Whether a value is a dict of tensors."""
    return isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())


def as_tensor(content: bytes) -> Tensor | None:
    """Encode bytes as a model file stores them."""
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else None
