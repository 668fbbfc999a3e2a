"""Networks without code in edgeprune: built by a user's function, unpickled, or exported by torch.

All three run code that the user, not the file, must request: a function is called only if its name was given, and a
pickle is read only if it was declared trusted. An exported program (`.pt2`) can hold pickles too.
"""

import importlib
import io
import operator
import warnings

import torch
from torch import nn

from edgeprune.errors import ConfigError, ModelError, reason_of
from edgeprune.network.exported import with_modules


def from_factory(name: str) -> nn.Module:
    """Call a user's function without arguments to build the network.

    Args:
        name: 'package.module:callable'.

    Raises:
        ConfigError: There is no such function.
        ModelError: It raised, or did not return a network.
    """
    module_name, colon, attribute = name.partition(":")
    if not (colon and module_name and attribute):
        raise ConfigError(f"`factory={name!r}` is not of the form package.module:callable")
    try:
        function = operator.attrgetter(attribute)(importlib.import_module(module_name))
    except (ImportError, AttributeError) as error:
        hint = "It must be importable: install the package, or run with PYTHONPATH set to its folder"
        raise ConfigError(f"`factory={name}` was not found: {reason_of(error)}", hint) from error
    except Exception as error:  # importing runs the user's code
        raise ModelError(f"importing {module_name} for `factory` failed: {reason_of(error)}") from error
    try:
        built = function()
    except Exception as error:  # the user's code
        raise ModelError(f"the factory {name} failed: {reason_of(error)}", "It is called without arguments") from error
    if not isinstance(built, nn.Module):
        raise ModelError(f"the factory {name} returned a {type(built).__name__}, not a torch.nn.Module")
    return built


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
        raise ModelError(f"{source} holds a {type(found).__name__}, not a network")
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
