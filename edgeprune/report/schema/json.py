"""Reads report.json back and makes its JSON Schema: `python -m edgeprune.report.schema.json` prints it for docs/."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from edgeprune.errors import ConfigError
from edgeprune.files.store import read_json
from edgeprune.report.schema.schema import Report

SCHEMA = "edgeprune-report/1"
_LARGE_BYTES = 16 << 20


def parse(plain: Any, source: str) -> Report:
    """Check a plain value field by field.

    Raises:
        ConfigError: Not a report, of a newer schema, or a field that is missing, unknown or wrong; the first is named.
    """
    schema = plain.get("schema") if isinstance(plain, dict) else None
    if not isinstance(schema, str) or not schema.startswith("edgeprune-report/"):
        raise ConfigError(f"{source} is not an edgeprune report", "Give the report.json of a run folder")
    if schema != SCHEMA:
        raise ConfigError(
            f"{source} has schema {schema!r}; this edgeprune reads {SCHEMA!r}", "Install a newer edgeprune"
        )
    text = json.dumps(plain)
    null = _first_null(plain) if "null" in text else None
    if null is not None:
        raise ConfigError(f"{source} has null at {null}; what was not measured must be absent")
    try:
        return Report.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ConfigError(f"{source} is not a whole report: {where}: {first['msg']}") from error


def load(path: Path) -> Report:
    """Read report.json back.

    Raises:
        ConfigError: Missing, not JSON, or not a report this version reads.
    """
    return _at_once(path) or parse(read_json(path), str(path))


def _at_once(path: Path) -> Report | None:
    """Parse a valid report in a third of the time; None for any other file, whose fault `parse` then names."""
    with contextlib.suppress(OSError, ValidationError):
        if path.stat().st_size < _LARGE_BYTES and b"null" not in (text := path.read_bytes()):
            return Report.model_validate_json(text, strict=True)
    return None


def _first_null(plain: Any, where: str = "") -> str | None:
    """Dotted path of the first null in a plain value."""
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, value in items:
        path = f"{where}.{key}" if where else str(key)
        found = path if value is None else _first_null(value, path)
        if found is not None:
            return found
    return None


class _NeverNull(GenerateJsonSchema):
    """Optional fields may be absent; they may not be null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def json_schema() -> dict[str, Any]:
    """Make the JSON Schema (draft 2020-12) of report.json."""
    schema = Report.model_json_schema(by_alias=True, mode="validation", schema_generator=_NeverNull)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": SCHEMA}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
