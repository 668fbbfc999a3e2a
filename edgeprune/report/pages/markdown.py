"""report.md: the report as text, for a terminal, a pull request or a mail. Pure."""

import re
from collections.abc import Iterable, Sequence

from edgeprune.report.pages import requirements, tables
from edgeprune.report.pages.deploy import deployment
from edgeprune.report.pages.tables import exports
from edgeprune.report.schema.schema import Report, UnitDecision
from edgeprune.text import numerals as n
from edgeprune.text.printable import printable


def render(report: Report) -> str:
    """Write report.md; its first line is the requirements."""
    sections = [
        _heading(report),
        _comparison(report),
        _warnings(report),
        _plan(report),
        *map(_asked, requirements.sections(report)),
        _by_snr(report),
        *map(_asked, tables.slowest_layers(report)),
        _measurement(report),
        _section("ONNX", _table(("", "before", "after", "change"), _row_cells(exports(report)))),
        _deploy(report),
        _files(report),
        _again(report),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def escape(text: str) -> str:
    """Escape a text for Markdown, on one line; names may come from untrusted files."""
    flat = _flat(text)
    flat = re.sub(r"([\\`*\[\]<>|#~])", r"\\\1", flat)
    flat = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", flat)
    return re.sub(r"^([-+=]|\d+[.)])(?=\s|$)|^(?=::)", r"\\\1", flat)


def code(text: str, in_table: bool = False) -> str:
    """Text as a code span, fenced with more backticks than it holds."""
    flat = _flat(text)
    ticks = "`" * (_longest_run(flat) + 1)
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    span = f"{ticks}{pad}{flat}{pad}{ticks}"
    return span.replace("|", r"\|") if in_table else span


def _flat(text: str) -> str:
    return printable(re.sub(r"\s+", " ", text).strip())


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table from escaped cells; all columns but the first are right-aligned."""
    lines = [" | ".join(header), " | ".join(["---", *["---:"] * (len(header) - 1)]), *map(" | ".join, rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _section(title: str, *parts: str) -> str:
    return "\n\n".join([f"## {title}", *(part for part in parts if part)])


def _row_cells(rows: Iterable[tables.Row]) -> list[list[str]]:
    return [[escape(cell) for cell in (row.label, row.before, row.after, row.change)] for row in rows]


def _heading(report: Report) -> str:
    line = escape(requirements.sentence(report))
    about = f"Model {code(report.baseline.name)} for" if report.baseline.name else "For"
    return f"{line}\n{'=' * 72}\n\n{about} target {code(report.target)}, {escape(report.created)}."


def _comparison(report: Report) -> str:
    parts = [_table(("", "before", "after", "change"), _row_cells(tables.comparison(report)))]
    if report.accuracy is not None:
        accuracy = report.accuracy
        frames = f"{n.count(accuracy.frames)} frames of the {accuracy.split} split"
        parts.append(
            f"Accuracy on {frames}. Brackets hold 95 % Wilson intervals, and that of the paired difference. "
            f"McNemar's test of the difference: {n.p_value(accuracy.mcnemar_p)}. {tables.intervals(accuracy)}"
        )
    return _section("Before and after", *parts)


def _deploy(report: Report) -> str:
    found = deployment(report)
    if found is None:
        return ""
    return _section("Deploy", escape(found.text), f"```python\n{found.script}```" if found.script else "")


def _warnings(report: Report) -> str:
    if not report.warnings:
        return ""
    return _section("Warnings", "\n".join(f"- {escape(warning)}" for warning in report.warnings))


def _plan(report: Report) -> str:
    plan = report.plan
    segments = ", ".join(f"{first} to {last}" if last > first else str(first) for first, last in plan.segments)
    decisions = sorted(plan.decisions, key=lambda decision: decision.index)
    dropped = [decision for decision in decisions if not decision.kept]
    kept = [decision for decision in decisions if decision.kept]
    return _section(
        "What was dropped",
        f"{len(kept)} of {len(decisions)} units are kept. Similarity {code(plan.metric)}, computed on "
        f"{n.count(plan.similarity.frames)} frames, divides the chain into {len(plan.segments)} segments "
        f"(units {segments}). Criterion {code(plan.criterion)} chooses the units of each segment.",
        "### Kept",
        _decisions(kept),
        "### Dropped",
        _decisions(dropped) if dropped else "None.",
    )


def _decisions(decisions: Iterable[UnitDecision]) -> str:
    rows = [
        [
            str(decision.index),
            code(decision.path, in_table=True),
            escape(decision.kind),
            str(decision.segment + 1),
            "" if decision.score is None else n.score(decision.score),
            escape(decision.reason),
        ]
        for decision in decisions
    ]
    header = ["unit", "path", "kind", "segment", "score", "reason"]
    return "\n".join([f"| {' | '.join(header)} |", "| ---: | --- | --- | ---: | ---: | --- |", *_lines(rows)])


def _lines(rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in rows]


def _asked(section: requirements.Section) -> str:
    cells = [[escape(cell) for cell in row] for row in section.rows]
    return _section(section.title, escape(section.text), _table(section.header, cells) if cells else "")


def _by_snr(report: Report) -> str:
    rows = tables.by_snr(report.accuracy) if report.accuracy else []
    if not rows:
        return ""
    cells = [
        [row.label, row.frames, f"{row.before} ({row.before_ci95})", f"{row.after} ({row.after_ci95})", row.change]
        for row in rows
    ]
    return _section("Accuracy at each SNR", _table(("SNR, dB", "frames", "before", "after", "change, points"), cells))


def _measurement(report: Report) -> str:
    rows = tables.measurement(report)
    device, energy = tables.device_facts(report), tables.energy_facts(report)
    return _section(
        "How it was measured",
        _pairs(rows) if rows else "Latency was not measured.",
        f"### Device\n\n{_pairs(device)}" if device else "",
        f"### Energy\n\n{_pairs(energy)}" if energy else "",
    )


def _pairs(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"- {escape(key)}: {escape(value)}" for key, value in rows)


def _files(report: Report) -> str:
    rows = [(what, code(file.path, in_table=True), code(file.sha256)) for what, file in tables.files(report)]
    return _section("Files", "\n".join(["| file | path | sha256 |", "| --- | --- | --- |", *_lines(rows)]))


def _again(report: Report) -> str:
    lines = "\n".join(map(printable, report.commands))
    fence = "`" * max(3, _longest_run(lines) + 1)
    commands = f"{fence}sh\n{lines}\n{fence}" if report.commands else ""
    return _section("How to run it again", commands, _pairs(tables.origin(report)))
