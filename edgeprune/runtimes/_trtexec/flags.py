"""Options of trtexec by version: an unknown option ends it.

The table is from NVIDIA/TensorRT, samples/common/sampleOptions.cpp, at the tags 8.2.1 to 11.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass

WORKSPACE_MIB = 256
"""Memory for tactics: enough for networks of this size, and equal on every version, whose defaults differ."""


@dataclass(frozen=True)
class Switch:
    """Options that switch a mode on and off; empty for the default."""

    on: str = ""
    off: str = ""

    def set(self, on: bool) -> tuple[str, ...]:
        """Options for a state."""
        option = self.on if on else self.off
        return (option,) if option else ()


@dataclass(frozen=True)
class Flags:
    """Options of trtexec from one version on.

    Attributes:
        since: First version: major * 10000 + minor * 100 + patch.
        workspace: Limit of the memory for tactics; MiB follow.
        build_only: Ends the program after the engine is written.
        precision: Options for models that are already typed for the precision. From 10 on the types of the model can be
            enforced, and in 11 they always are; before, they have to be allowed.
        dla_precision: The same for engines on the DLA, where 10 does not support typed networks.
        cuda_graph: Launches the whole engine at once.
        spin_wait: Lets the host spin while it waits.
        transfers: Includes copies to and from the GPU in the latency.
    """

    since: int
    workspace: str
    build_only: str
    precision: Mapping[str, tuple[str, ...]]
    dla_precision: Mapping[str, tuple[str, ...]]
    cuda_graph: Switch = Switch(on="--useCudaGraph")
    spin_wait: Switch = Switch(on="--useSpinWait")
    transfers: Switch = Switch(off="--noDataTransfers")


_ALLOWED = {"fp32": (), "fp16": ("--fp16",), "int8": ("--int8",)}
_ALLOWED_ON_DLA = {"fp16": ("--fp16",), "int8": ("--int8", "--fp16")}
_TYPED = dict.fromkeys(("fp32", "fp16", "int8"), ("--stronglyTyped",))
_BY_MODEL: dict[str, tuple[str, ...]] = dict.fromkeys(("fp32", "fp16", "int8"), ())
_POOL = "--memPoolSize=workspace:"

FLAGS = (
    Flags(80200, "--workspace=", "--buildOnly", _ALLOWED, _ALLOWED_ON_DLA),
    Flags(80400, _POOL, "--buildOnly", _ALLOWED, _ALLOWED_ON_DLA),
    Flags(80600, _POOL, "--skipInference", _ALLOWED, _ALLOWED_ON_DLA),
    Flags(100000, _POOL, "--skipInference", _TYPED, _ALLOWED_ON_DLA),
    Flags(
        110000,
        _POOL,
        "--skipInference",
        _BY_MODEL,
        _BY_MODEL,
        cuda_graph=Switch(off="--noCudaGraph"),
        spin_wait=Switch(off="--noSpinWait"),
        transfers=Switch(on="--includeDataTransfers"),
    ),
)


def flags_of(version: int) -> Flags | None:
    """Options of a version, counted like `since`; None if it is older than the table."""
    return next((flags for flags in reversed(FLAGS) if flags.since <= version), None)
