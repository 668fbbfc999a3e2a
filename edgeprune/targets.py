"""Targets: what kind of device a model is made for. The only reader of `targets/*.toml`; unknown keys are errors."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeprune import tomlfile
from edgeprune.errors import ConfigError, unknown_name
from edgeprune.resources import shipped

Precision = Literal["fp32", "fp16", "int8"]


class Bench(BaseModel):
    """How a model is measured on a target unless the command line says otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rounds: int = Field(default=64, ge=6, description="Rounds, in ABBA order: even numbers balance drift.")
    round_ms: float = Field(default=60.0, gt=0, description="Length of one round of one model.")
    warmup_ms: float = Field(default=500.0, ge=0, description="Running each model before anything counts.")


class Target(BaseModel):
    """A kind of device.

    `opset` is the newest ONNX opset its runtime reads; the first of `precisions` is the default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    description: str
    runtime: str
    opset: int = Field(ge=9, le=23)
    precisions: tuple[Precision, ...] = Field(min_length=1)
    batch: Literal["dynamic", "static"] = "dynamic"
    threads: int = Field(default=1, ge=1)
    bench: Bench = Bench()
    notes: tuple[str, ...] = ()


def names() -> tuple[str, ...]:
    """Names of the shipped targets, sorted."""
    return tuple(sorted(file.stem for file in shipped("targets").glob("*.toml")))


def get(name: str) -> Target:
    """A shipped target by name, or a user's own by the path of its file.

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
        ConfigError: Missing, not TOML, an unknown key, or a value that is not allowed.
    """
    plain = tomlfile.read(path, "target")
    try:
        target = Target.model_validate(plain)
    except ValidationError as error:
        raise tomlfile.problem(str(path), error, _known_keys) from error
    if target.name != path.stem:
        raise ConfigError(f"{path} names itself {target.name!r}", f"Name the file {target.name}.toml")
    return target


def _known_keys(place: tomlfile.Place) -> Iterable[str]:
    return Bench.model_fields if place[0] == "bench" else Target.model_fields
