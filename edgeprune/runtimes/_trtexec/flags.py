"""What trtexec is told, by its version: an option that it does not know ends it.

The table is read off NVIDIA/TensorRT, samples/common/sampleOptions.cpp, at the tags 8.2.1 to 11.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass

WORKSPACE_MIB = 256
"""Room for tactics: enough for networks of this size, and the same on every version, whose defaults differ."""


@dataclass(frozen=True)
class Switch:
    """How a mode is switched on and off; empty where that is the default."""

    on: str = ""
    off: str = ""

    def set(self, on: bool) -> tuple[str, ...]:
        """The options for a state."""
        option = self.on if on else self.off
        return (option,) if option else ()


@dataclass(frozen=True)
class Flags:
    """The options of trtexec from one version on.

    Attributes:
        since: The first version: major * 10000 + minor * 100 + patch.
        workspace: Limits the memory of tactics; MiB follow.
        build_only: Ends after the engine is written.
        precision: For models that are typed for the precision already. From 10 on the types of the model can be made to
            hold, and in 11 they always do; before, they have to be allowed.
        dla_precision: The same for engines on the DLA, where 10 takes no typed networks.
        cuda_graph: Launches the whole engine at once.
        spin_wait: The host spins while it waits.
        transfers: Copies to and from the GPU are in the latency.
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
    """The options of a version, counted like `since`; None for one older than the table."""
    return next((flags for flags in reversed(FLAGS) if flags.since <= version), None)
