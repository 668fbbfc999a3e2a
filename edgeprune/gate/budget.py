"""Budget files, read only here: the limits for each target, and for each model on it.

python -m edgeprune.gate.budget   prints the JSON Schema of a budget file for docs/
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from edgeprune.errors import ConfigError, unknown_name
from edgeprune.files import toml

NAME = "edgeprune.toml"
SCHEMA_TITLE = "edgeprune budget"
SIGNIFICANCE = 0.01


def _number(text: str) -> str:
    float(text)
    return text


Snr = Annotated[str, AfterValidator(_number)]
Share = Annotated[float, Field(ge=0, le=1)]


class Limits(BaseModel):
    """Limits for a model; absent ones are not checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)

    max_median_ms: float | None = Field(default=None, gt=0, description="Upper limit on the median's interval.")
    max_p99_ms: float | None = Field(default=None, gt=0, description="Upper limit on the 99th percentile's interval.")
    min_speedup: float | None = Field(default=None, gt=0, description="Lower limit on the speed-up's interval.")
    max_accuracy_drop: Share | None = Field(
        default=None, description="Upper limit on the interval of the loss of top-1, a share of frames."
    )
    min_accuracy_at_snr: dict[Snr, Share] | None = Field(
        default=None, description="Lower limit on the interval of top-1 at each SNR in dB."
    )
    max_engine_mb: float | None = Field(
        default=None, gt=0, description="Maximum size of the engine in megabytes of 10^6 bytes."
    )
    max_energy_mj: float | None = Field(
        default=None, gt=0, description="Maximum energy of one inference in millijoules."
    )
    max_regression: float | None = Field(
        default=None, gt=0, le=10, description="Maximum slow-down from the baseline report, 0.05 for 5 %."
    )
    significance: float | None = Field(
        default=None,
        gt=0,
        le=0.2,
        description="Significance level of a regression.",
        json_schema_extra={"default": SIGNIFICANCE},
    )

    @property
    def alpha(self) -> float:
        """Maximum probability of reporting a regression if there is none."""
        return SIGNIFICANCE if self.significance is None else self.significance

    def given(self) -> dict[str, Any]:
        """The limits that are set, by name."""
        return {name: value for name in Limits.model_fields if (value := getattr(self, name)) is not None}


class TargetLimits(Limits):
    """Limits for all models on a target; a table in it, named after a model, adds to them or replaces them."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)
    __pydantic_extra__: dict[str, Limits] = Field(init=False)

    @property
    def models(self) -> Mapping[str, Limits]:
        """Tables of single models."""
        return self.__pydantic_extra__


class Budget(BaseModel):
    """Content of a budget file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    targets: dict[str, TargetLimits] = Field(min_length=1, description="By the name of the target in the report.")

    def limits(self, target: str, model: str) -> Limits:
        """Limits for one model on one target.

        Raises:
            ConfigError: The budget has no limits for that target, or none for that model.
        """
        if target not in self.targets:
            raise unknown_name("target of the budget", target, self.targets)
        table = self.targets[target]
        own = table.models[model].given() if model in table.models else {}
        merged = {**table.given(), **own}
        if not merged.keys() - {"significance"}:
            named = f"[targets.{target}] sets no limit for {model or 'a model without a name'}"
            raise ConfigError(named, f"Models with limits: {', '.join(table.models) or 'none'}")
        return Limits.model_construct(**merged)  # checked when the file was read

    def promises(self) -> Iterable[tuple[str, str]]:
        """Every (target, model) with limits; the model is '' where any model counts."""
        for name, table in self.targets.items():
            if table.given().keys() - {"significance"}:
                yield name, ""
            for model in table.models:
                yield name, model

    def only(self, targets: Iterable[str]) -> "Budget":
        """Restrict the budget to some targets.

        Raises:
            ConfigError: The budget does not have one of the targets.
        """
        for name in targets:
            if name not in self.targets:
                raise unknown_name("target of the budget", name, self.targets)
        return Budget.model_construct(targets={name: self.targets[name] for name in targets})


def read(path: Path) -> Budget:
    """Read and check a budget file.

    Raises:
        ConfigError: Missing, not TOML, an unknown key, an impossible value, or no limits at all.
    """
    plain = toml.read(path, "budget")
    tables = plain.get("targets")
    for name, table in tables.items() if isinstance(tables, dict) else ():
        for key, value in table.items() if isinstance(table, dict) else ():
            if key not in Limits.model_fields and not isinstance(value, dict):
                raise unknown_name(f"key of {path} [targets.{name}]", key, Limits.model_fields)
    try:
        budget = Budget.model_validate(plain)
    except ValidationError as error:
        raise toml.problem(str(path), error, _known_keys) from error
    promised = {name for name, _ in budget.promises()}
    for name in budget.targets.keys() - promised:
        raise ConfigError(f"{path}: [targets.{name}] sets no limit", f"Known: {', '.join(Limits.model_fields)}")
    return budget


def _known_keys(place: toml.Place) -> Iterable[str]:
    return Budget.model_fields if len(place) == 1 else Limits.model_fields


def json_schema() -> dict[str, Any]:
    """Build the JSON Schema (draft 2020-12) of a budget file, for editors."""
    schema = _without_null(Budget.model_json_schema())
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": SCHEMA_TITLE}


def _without_null(schema: Any) -> Any:
    """Convert a schema to TOML, which has no null: a key is absent instead."""
    if isinstance(schema, list):
        return [_without_null(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _without_null(value) for key, value in schema.items() if not (key == "default" and value is None)}
    choices = [choice for choice in kept.pop("anyOf", ()) if choice != {"type": "null"}]
    return {**kept, **choices[0]} if choices else kept


if __name__ == "__main__":
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
