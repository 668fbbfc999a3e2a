"""Networks without code in edgeprune: unpickled, or exported by torch.

Both run code that the user, not the file, must request: a pickle is read only if it was declared trusted. An exported
program (`.pt2`) can hold pickles too.
"""

import io
import warnings

import torch
from torch import nn

from edgeprune.errors import ModelError, reason_of
from edgeprune.network.exported import with_modules


def from_pickle(content: bytes, source: str) -> nn.Module:
    """Unpickle a whole module, which runs the code in the pickle.

    Raises:
        ModelError: It cannot be read, or is not a network.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)
    except Exception as error:  # unpickling runs what it likes
        hint = "Its classes must be importable, under the names they had when it was saved"
        raise ModelError(f"{source} cannot be unpickled: {reason_of(error)}", hint) from error
    if not isinstance(found, nn.Module):
        hint = "Leave out `trust_pickle` for a checkpoint: its weights are read without it, with `factory` or `arch`"
        raise ModelError(f"{source} holds a {type(found).__name__}, not a network", hint)
    return found


def from_exported(content: bytes, source: str) -> nn.Module:
    """Read an exported program as a trainable network, its layers converted to modules.

    Raises:
        ModelError: It cannot be read, or was exported for one number of frames only.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(io.BytesIO(content))
        network = with_modules(program.module(check_guards=False))
    except Exception as error:  # a damaged archive fails in whatever reads it first
        raise ModelError(f"{source} is not a readable exported program: {reason_of(error)}") from error
    placeholders = [node for node in network.graph.nodes if node.op == "placeholder"]
    batch = placeholders[0].meta["val"].shape[0] if placeholders and "val" in placeholders[0].meta else None
    if isinstance(batch, int):
        raise ModelError(
            f"{source} was exported for {batch} frames at once",
            'Export it with dynamic_shapes=({0: torch.export.Dim("batch")},)',
        )
    return network
