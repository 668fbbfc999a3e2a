"""Settings of one build with NVIDIA's packages, and what their parser says."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from edgeprune.errors import ConfigError, ModelError
from edgeprune.protocols import Progress
from edgeprune.targets import Target


def parser_error(error: Any) -> str:
    """What the parser says, with the node where it knows it."""
    name, operator, number = error.node_name(), error.node_operator(), error.node()
    place = f"node {number} ({' '.join(part for part in (operator, name) if part)}): " if operator else ""
    said = str(error.desc())
    detail = f": {said.rstrip('. ')}" if " " in said else ""  # of an operator it does not know it says 'false'
    return f"{place}{error.code().name.lower().replace('_', ' ')}{detail}"


def add_profile(builder: Any, config: Any, network: Any, largest_batch: int, model: Path) -> tuple[int, int]:
    """Say how many frames an engine takes at once, where the model leaves it open.

    Returns:
        The least and the most.

    Raises:
        ModelError: Something but the batch is left open.
    """
    profile, open_batch, least, most = builder.create_optimization_profile(), False, 1, largest_batch
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        batch, *rest = tuple(tensor.shape)
        if min(rest, default=1) < 1:
            raise ModelError(
                f"{model.name} leaves the shape {tuple(tensor.shape)} of {tensor.name} open; only the batch may be"
            )
        if batch < 0:
            open_batch = True
            profile.set_shape(tensor.name, (least, *rest), (least, *rest), (most, *rest))
        else:
            least = most = batch
    if open_batch:
        config.add_optimization_profile(profile)
    return least, most


def set_compute_capability(library: Any, config: Any, target: Target) -> None:
    """Build for the GPUs of a target, whatever this machine has.

    Raises:
        ConfigError: The package does not build for them.
    """
    members = library.ComputeCapability.__members__
    wanted = f"SM{str(target.compute_capability).replace('.', '')}"
    if wanted not in members:
        known = ", ".join(f"{name[2:-1]}.{name[-1]}" for name in members if name.startswith("SM"))
        raise ConfigError(
            f"compute capability {target.compute_capability} cannot be built for here", f"Allowed: {known}"
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(members[wanted], 0)


def read_timing_cache(config: Any, path: Path | None, progress: Progress) -> Any:
    """Use the tactics in a file, if they are of this GPU and version; without a file there is no cache."""
    if path is None:
        return None
    content = b""
    with suppress(FileNotFoundError):
        content = path.read_bytes()
    cache = config.create_timing_cache(content)
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        progress.note(f"{path.name} is of another GPU or version; measuring anew")
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache
