"""Options of each version of trtexec; an unknown one ends it."""

from collections.abc import Sequence
from dataclasses import dataclass

_ALWAYS = (
    "onnx saveEngine loadEngine shapes minShapes optShapes maxShapes loadInputs exportTimes exportOutput exportProfile "
    "exportLayerInfo profilingVerbosity dumpProfile dumpOutput dumpLayerInfo avgRuns percentile warmUp duration "
    "iterations idleTime sleepTime verbose device noBuilderCache tacticSources noTF32 useDLACore allowGPUFallback "
    "timingCacheFile useCudaGraph useSpinWait noDataTransfers separateProfileRun streams help"
)
_END = 10**6
_BETWEEN = {
    "workspace": (0, 100000),
    "memPoolSize": (80400, _END),
    "buildOnly": (0, 100000),
    "skipInference": (80600, _END),
    "explicitBatch": (0, 100000),
    "fp16": (0, 110000),
    "best": (0, 110000),
    "int8": (0, 110000),
    "calib": (0, 110000),
    "layerPrecisions": (80400, 110000),
    "bf16": (100000, 110000),
    "stronglyTyped": (100000, _END),
    "errorOnTimingCacheMiss": (100000, _END),
    "builderOptimizationLevel": (80600, _END),
    "versionCompatible": (80600, _END),
    "hardwareCompatibilityLevel": (80600, _END),
    "getPlanVersionOnly": (100000, _END),
    "stripWeights": (100000, _END),
    "reportCapabilityDLA": (101600, _END),
    "adjustForDLA": (101600, _END),
    "infStreams": (80600, _END),
    "noCudaGraph": (110000, _END),
    "noSpinWait": (110000, _END),
    "includeDataTransfers": (110000, _END),
    "dumpRawBindingsToFile": (80600, _END),
    "loadRefOutputs": (110000, _END),
    "accuracyAlgorithm": (110000, _END),
    "accuracyThreshold": (110000, _END),
}


@dataclass(frozen=True)
class Options:
    """Options on the command line.

    Attributes:
        given: Value by name; '' for a flag.
        unknown: Options that this version does not have.
        version: major * 10000 + minor * 100 + patch.
    """

    given: dict[str, str]
    unknown: tuple[str, ...]
    version: int

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def number(self, name: str, default: float) -> float:
        """Value of an option as a number.

        Raises:
            ValueError: It is not a number.
        """
        return float(self.given.get(name, default))

    @property
    def cuda_graph(self) -> bool:
        """Whether the engine is launched as one graph; the default from version 11."""
        return "noCudaGraph" not in self if self.version >= 110000 else "useCudaGraph" in self

    @property
    def spin_wait(self) -> bool:
        """Whether the host spins; the default from version 11."""
        return "noSpinWait" not in self if self.version >= 110000 else "useSpinWait" in self

    @property
    def transfers(self) -> bool:
        """Whether copies are timed; from version 11 only on request."""
        return "includeDataTransfers" in self if self.version >= 110000 else "noDataTransfers" not in self


def parse(arguments: Sequence[str], version: int) -> Options:
    """Parse a command line as a version of trtexec does."""
    given: dict[str, str] = {}
    unknown = []
    for argument in arguments:
        name, _, value = argument.removeprefix("--").partition("=")
        since, below = _BETWEEN.get(name, (0, _END if name in _ALWAYS.split() else 0))
        if argument.startswith("--") and since <= version < below:
            given[name] = value
        else:
            unknown.append(argument.replace("=", " ") if "=" in argument else f"{argument} ")
    return Options(given, tuple(unknown), version)
