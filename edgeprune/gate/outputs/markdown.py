"""Markdown for a pull request: the verdict, every check, and every change with whether it is noise."""

from collections.abc import Iterable, Sequence

from edgeprune.gate.verdict import Check, Figure, Judgement, Outcome, Verdict
from edgeprune.report.pages.markdown import escape
from edgeprune.text import numerals as n

MARK = "<!-- edgeprune check -->"
"""First line, by which a comment is found again and replaced."""
_SIGNS: dict[Outcome, str] = {"pass": "✅ pass", "fail": "❌ fail", "inconclusive": "❔ inconclusive"}
_NAMES = {
    "median_ms": "median",
    "p99_ms": "p99",
    "speedup": "speed-up",
    "top1": "top-1",
    "onnx_bytes": "ONNX file",
    "engine_bytes": "engine",
    "energy_mj": "energy",
}


def text(verdict: Verdict) -> str:
    """Build the whole comment."""
    parts = [MARK, f"### {_SIGNS[verdict.outcome].split()[0]} {_shown(verdict.headline())}"]
    if len(verdict.judgements) > 1:
        rows = [(_shown(each.label), _SIGNS[each.outcome]) for each in verdict.judgements]
        parts.append(_table(("report", "outcome"), rows))
    for judgement in verdict.judgements:
        parts += _judged(judgement)
    if verdict.uncovered:
        parts += ["#### budget", _checks(verdict.uncovered)]
    return "\n\n".join(parts) + "\n"


def _judged(judgement: Judgement) -> list[str]:
    parts = [f"#### {_shown(judgement.label)}", _checks(judgement.checks)]
    if judgement.figures:
        rows = [_figure(figure) for figure in judgement.figures]
        parts.append(_table(("figure", "baseline", "now", "change", "noise?"), rows))
    return [*parts, *(f"Note: {_shown(note)}." for note in judgement.notes)]


def _checks(checks: Sequence[Check]) -> str:
    rows = [(_shown(each.name), _SIGNS[each.outcome], _shown(each.text)) for each in checks]
    return _table(("check", "outcome", "why"), rows)


def _figure(figure: Figure) -> tuple[str, ...]:
    before = "" if figure.before is None else _value(figure.name, figure.before)
    cells = (_NAMES[figure.name], before, _value(figure.name, figure.value), _change(figure), figure.change)
    return tuple(_shown(cell) for cell in cells)


def _change(figure: Figure) -> str:
    if figure.before is None:
        return ""
    if figure.name == "top1":
        return f"{n.points(figure.value - figure.before, plus=True)} points"
    return n.relative(figure.before, figure.value)


def _value(name: str, value: float) -> str:
    if name.endswith("_ms"):
        return n.milliseconds(value)
    if name == "top1":
        return n.percent(value)
    if name == "energy_mj":
        return f"{n.significant(value)} mJ"
    return n.size(round(value)) if name.endswith("_bytes") else f"{value:.3g}×"


def _shown(text: str) -> str:
    """Escape text: names in files are not vetted, and must not mention people either."""
    return escape(text).replace("@", "@\u200b")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(header), " | ".join("---" for _ in header), *map(" | ".join, rows)]
    return "\n".join(f"| {line} |" for line in lines)
