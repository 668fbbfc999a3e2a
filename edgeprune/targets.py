"""Targets: kinds of device that models are made for. The only reader of `targets/*.toml`; unknown keys are errors."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgeprune import registry
from edgeprune.errors import ConfigError, unknown_name
from edgeprune.files import toml
from edgeprune.files.shipped import shipped

Precision = Literal["fp32", "fp16", "int8"]

CLOCK_MS = 4000.0
"""trtexec counts time in float32 from its start: after 4 s a step of its clock is half a microsecond."""

_ON_DEVICE = ("trtexec", "onnxruntime-agent")
_VERSION = r"^\d+(\.\d+)*$"
_WITHOUT_INT8 = ("5.3", "6.2")


class Bench(BaseModel):
    """Default settings of a measurement on a target."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rounds: int = Field(default=64, ge=6, description="Rounds, in ABBA order: even numbers balance drift.")
    round_ms: float = Field(default=60.0, gt=0, description="Length of one round of one model.")
    warmup_ms: float = Field(default=500.0, ge=0, description="Warm-up of each model before the first round.")
    processes: int = Field(
        default=5,
        ge=1,
        le=64,
        description="Processes that share the rounds; each loads both models anew. trtexec starts one for each round.",
    )


class Versions(BaseModel):
    """Range of versions: from `lowest`, up to but excluding `below`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lowest: str = Field(pattern=_VERSION, description="Oldest supported version.")
    below: str = Field(pattern=_VERSION, description="First unsupported version.")

    def holds(self, version: str) -> bool:
        """Return whether a version is in the range: '8.5.2' is in 8.4 to 9."""
        return _parts(self.lowest) <= _parts(version) < _parts(self.below)

    @model_validator(mode="after")
    def _in_order(self) -> "Versions":
        if _parts(self.lowest) >= _parts(self.below):
            raise ValueError(f"lowest {self.lowest} is not below {self.below}")
        return self


class Target(BaseModel):
    """Kind of device, with the settings of export, builds and measurements for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="The file's name without `.toml`.")
    description: str
    runtime: str = Field(description="Runtime of the model: a plug-in in edgeprune/runtimes/.")
    opset: int = Field(ge=9, le=23, description="ONNX opset of the export: the newest that the target reads.")
    precisions: tuple[Precision, ...] = Field(
        min_length=1, description="Supported precisions; the first is the default."
    )
    batch: Literal["dynamic", "static"] = Field(
        default="dynamic", description="Whether the exported file takes any number of frames, or `--batch` of them."
    )
    threads: int = Field(default=1, ge=1, description="Threads of one inference, for runtimes with that choice.")
    architecture: str | None = Field(
        default=None, description="Processor as `uname -m` prints it; a device with another one is refused."
    )
    compute_capability: str | None = Field(
        default=None,
        pattern=r"^\d+\.\d$",
        description="That of the GPU; another board is refused. By default, TensorRT-RTX uses this machine's.",
    )
    tensorrt: Versions | None = Field(default=None, description="Versions of TensorRT, or of TensorRT-RTX.")
    modules: tuple[str, ...] = Field(
        default=(), description="Part numbers of the modules, or prefixes of them; empty for any."
    )
    dla_cores: int = Field(default=0, ge=0, description="Maximum number of deep-learning accelerators on such a board.")
    rails: tuple[tuple[str, ...], ...] = Field(
        default=(),
        description="Power rails that add up to the board's power; of several sets, the first that it has is used.",
    )
    hot_c: float = Field(
        default=95.0,
        ge=40,
        le=120,
        description="Temperature at which a round is discarded, a little below that at which the module slows down.",
    )
    builds: int = Field(default=2, ge=1, le=9, description="Builds of each engine, for the spread between builds.")
    bench: Bench = Bench()
    notes: tuple[str, ...] = Field(default=(), description="Notes that `targets show` prints.")

    @property
    def on_device(self) -> bool:
        """Whether its models run on a device, and not on this machine."""
        return self.runtime in _ON_DEVICE

    @model_validator(mode="after")
    def _consistent(self) -> "Target":
        if self.compute_capability in _WITHOUT_INT8 and "int8" in self.precisions:
            raise ValueError(
                f"precisions has int8, which compute capability {self.compute_capability} has no units for"
            )
        if self.runtime == "trtexec" and self.batch != "static":
            raise ValueError(f'batch is {self.batch!r}; the runtime trtexec takes "static"')
        if self.runtime == "trtexec" and self.compute_capability is None:
            raise ValueError(f"compute_capability is missing, which the runtime {self.runtime} asks for")
        if self.runtime == "trtexec" and self.bench.warmup_ms + self.bench.round_ms > CLOCK_MS:
            raise ValueError(
                f"bench: warmup_ms and round_ms add up to more than {CLOCK_MS:g}, where trtexec loses its pace"
            )
        return self


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def names() -> tuple[str, ...]:
    """Names of the shipped targets, sorted."""
    return tuple(sorted(file.stem for file in shipped("targets").glob("*.toml")))


def get(name: str) -> Target:
    """Find a shipped target by name, or read a user's own from the path of its file.

    Raises:
        ConfigError: No such target, or its file is not valid.
    """
    if name.endswith(".toml"):
        return read(Path(name))
    if name not in names():
        raise unknown_name("target", name, names())
    return read(shipped("targets") / f"{name}.toml")


def read(path: Path) -> Target:
    """Read and check a target file.

    Raises:
        ConfigError: Missing, not TOML, an unknown key or runtime, or an invalid value.
    """
    plain = toml.read(path, "target")
    try:
        target = Target.model_validate(plain)
    except ValidationError as error:
        raise toml.problem(str(path), error, _known_keys) from error
    if target.name != path.stem:
        raise ConfigError(f"{path} names itself {target.name!r}", f"Name the file {target.name}.toml")
    if target.runtime not in registry.names("runtimes"):
        raise unknown_name(f"runtime of {path}", target.runtime, registry.names("runtimes"))
    return target


def _known_keys(place: toml.Place) -> Iterable[str]:
    tables = {"bench": Bench.model_fields, "tensorrt": Versions.model_fields}
    return tables.get(str(place[0]), Target.model_fields) if len(place) > 1 else Target.model_fields
