"""JSON in the format `customSmallerIsBetter` of github-action-benchmark: named values of which less is better."""

from typing import Any

from edgeprune.gate.figures import BIGGER_IS_BETTER
from edgeprune.gate.verdict import Figure, Verdict
from edgeprune.text.numerals import significant
from edgeprune.text.printable import printable

_SPELLED = {"mj": "mJ"}


def plain(verdict: Verdict) -> list[dict[str, Any]]:
    """Build one entry a figure, without those of which more is better: the tool knows one direction only."""
    return [
        _entry(judgement.label, figure)
        for judgement in verdict.judgements
        for figure in judgement.figures
        if figure.name not in BIGGER_IS_BETTER
    ]


def _entry(label: str, figure: Figure) -> dict[str, Any]:
    name, _, unit = figure.name.rpartition("_")
    entry: dict[str, Any] = {
        "name": printable(f"{label}: {name}"),
        "unit": _SPELLED.get(unit, unit),
        "value": figure.value,
    }
    if figure.interval is not None:
        low, high = figure.interval
        entry["range"] = f"{significant(low)} to {significant(high)}"
    if figure.change:
        entry["extra"] = figure.change
    return entry
