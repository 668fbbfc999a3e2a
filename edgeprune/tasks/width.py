"""Second stage of pruning: removal of channels from a network whose layers were pruned."""

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from edgeprune.errors import ConfigError, unknown_name
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.network.compute import CPU, Compute, brought_home
from edgeprune.network.statistics import reestimate
from edgeprune.network.widths import sizes_of
from edgeprune.prune.channels.narrow import narrow
from edgeprune.prune.channels.scores import METHODS
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.constraints import Narrowing
from edgeprune.records.frames import Frames
from edgeprune.records.names import Split
from edgeprune.records.pruning import LayerChain
from edgeprune.tasks.plan import calibration


@dataclass(frozen=True)
class Width:
    """Target of channel removal: the share of the layer-pruned network's MACs that remains."""

    keep_macs: float
    method: str = "l1"

    def check(self) -> None:
        """Check the settings before any work.

        Raises:
            ConfigError: No such method, an invalid share, or Torch-Pruning is not installed.
        """
        if self.method not in METHODS:
            raise unknown_name("channel method", self.method, METHODS)
        if not 0 < self.keep_macs < 1:
            raise ConfigError(
                f"`then_width={self.keep_macs:g}` is not a share of the MACs", "Allowed: above 0, below 1"
            )
        if importlib.util.find_spec("torch_pruning") is None:
            raise ConfigError(
                "`then_width` needs the package torch-pruning", "Install it with: pip install 'edgeprune[width]'"
            )


def narrow_model(
    model: Checkpoint,
    before: LayerChain,
    width: Width,
    parts: dict[Split, Frames],
    seed: int,
    out: Path,
    compute: Compute = CPU,
) -> Narrowing:
    """Remove channels, re-estimate batch norm, and write the narrower model.

    Args:
        model: Network whose layers were pruned.
        before: Units of the network.
        width: Target of the removal.
        parts: Frames of each split.
        seed: Seed of a method's random draws.
        out: The file to write.
        compute: Device of the networks.

    Raises:
        ConfigError: Torch-Pruning is not installed, or `out` cannot be written.
        ModelError: The removable channels do not save as much.
    """
    old = sizes_of(model.model)
    with compute.lent(model.model):
        network, new = narrow(model.model, model.input, width.method, width.keep_macs, seed=seed)
        reestimate(network, calibration(model, parts))
    narrowed = replace(model, model=brought_home(network), widths={**model.widths, **new}, metrics={}, sha256="")
    saved = checkpoints.save(out, narrowed)
    return Narrowing(
        method=width.method,
        channels=sum(old[path][1] - size[1] for path, size in new.items() if _has_filters(network, path)),
        macs_before=before.macs,
        sizes={path: (old[path], size) for path, size in new.items()},
        chain=layers_of(saved.model, saved.input, saved.sha256),
    )


def _has_filters(network: nn.Module, path: str) -> bool:
    return isinstance(network.get_submodule(path), nn.modules.conv._ConvNd | nn.Linear)
