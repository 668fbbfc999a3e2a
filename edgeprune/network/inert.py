"""Weights files with other objects: each object is replaced by a placeholder, and none of its code is run.

Training scripts often put other objects in their checkpoints: a numpy scalar, an `argparse.Namespace`, a configuration.
torch refuses such a file, since making one of those objects runs its class's code. Here every name that torch does not
know stands for a class that accepts anything and keeps nothing, so that the tensors can be read.
"""

import pickle
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from edgeprune.errors import reason_of

_MOST_NAMES = 64
_GLOBAL = "GLOBAL "


class Inert:
    """Placeholder for an object of a checkpoint: it accepts any arguments and keeps none."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def load_with_stand_ins(path: Path) -> Any:
    """Load a weights file with an `Inert` for everything but tensors and plain values; none of its code is run.

    Raises:
        pickle.UnpicklingError: It holds something that cannot be replaced: a name of `builtins` or of the operating
            system, or a container with its own class.
        Exception: torch cannot read it.
    """
    names: list[str] = []
    while True:
        try:
            with warnings.catch_warnings(), _standing_in(names):
                warnings.simplefilter("ignore")
                return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            name = refused_name(error)
            if name is None or "." not in name or "blocked" in str(error) or name in names or len(names) >= _MOST_NAMES:
                raise
            names.append(name)


def refused_name(error: Exception) -> str | None:
    """Return the name that torch refused to load, or None if it refused something else."""
    text = reason_of(error) if _GLOBAL not in str(error) else str(error)
    return text.split(_GLOBAL, 1)[1].split(" ", 1)[0] if _GLOBAL in text else None


def _standing_in(names: list[str]) -> AbstractContextManager[Any]:
    classes: list[Any] = [(type(name, (Inert,), {}), name) for name in names]
    return torch.serialization.safe_globals(classes)
