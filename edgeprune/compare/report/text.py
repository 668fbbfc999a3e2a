"""compare.md and compare.tex: the comparison as text. Pure."""

import re
from collections.abc import Iterable, Sequence

from edgeprune.compare.document import Comparison
from edgeprune.compare.report import columns
from edgeprune.report.pages.markdown import code, escape
from edgeprune.text import numerals as n
from edgeprune.text.printable import printable

_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    n.MINUS: "$-$",
    "\u00a0": "~",
}


def markdown(comparison: Comparison) -> str:
    """Write compare.md."""
    sections = [
        f"{escape(comparison.title)}\n{'=' * 72}",
        "\n".join(f"- {escape(finding)}" for finding in columns.findings(comparison)),
        _section("Warnings", _bullets(comparison.warnings)) if comparison.warnings else "",
        "![Accuracy against latency](pareto.svg)",
        *(
            f"## {escape(group.title)}\n\n{_table(columns.HEADER, [_bold(line) for line in group.lines])}"
            for group in columns.groups(comparison)
        ),
        _bullets(columns.NOTES),
        _section("Failed cells", _table(("cell", "reason"), _failures(comparison))) if comparison.failed else "",
        _section("Cost of each network", _table(columns.COSTS, _escaped(columns.costs(comparison)))),
        _section("How it was measured", _bullets(measurement(comparison))),
        _section("How to run it again", _commands(comparison.commands), _bullets(origin(comparison))),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def latex(comparison: Comparison) -> str:
    """Write compare.tex: one table, for a document that uses booktabs."""
    lines = [
        "% Made by edgeprune; needs \\usepackage{booktabs}.",
        r"\begin{table*}",
        r"\centering",
        f"\\caption{{{tex(comparison.title)}. {tex(' '.join(columns.NOTES))}}}",
        r"\begin{tabular}{rl" + "r" * (len(columns.HEADER) - 2) + "}",
        r"\toprule",
        _tex_row(columns.HEADER),
    ]
    for group in columns.groups(comparison):
        lines += [r"\midrule", rf"\multicolumn{{{len(columns.HEADER)}}}{{l}}{{{tex(group.title)}}} \\"]
        for line in group.lines:
            cells = [tex(cell) for cell in line.cells]
            bold = [rf"\textbf{{{cell}}}" if place in line.best else cell for place, cell in enumerate(cells)]
            lines.append(" & ".join(bold) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table*}"]) + "\n"


def tex(text: str) -> str:
    """Escape a text for LaTeX, on one line; characters outside its usual fonts become question marks."""
    flat = printable(re.sub(r"\s+", " ", text))
    return "".join(_TEX.get(char, char if char.isascii() else "?") for char in flat)


def measurement(comparison: Comparison) -> list[str]:
    """Describe the latency measurement and the machine."""
    how = comparison.measurement
    threads = f"{how.threads} thread{'' if how.threads == 1 else 's'}"
    facts = comparison.machine
    machine = ", ".join(str(facts[key]) for key in ("board", "cpu", "virtualisation", "os") if key in facts)
    return [
        f"{how.runtime}, {how.precision}, batch {how.batch}, {threads}, {how.rounds} rounds; {how.mode}",
        f"{machine}; {facts.get('cores', '?')} cores",
        *how.warnings,
    ]


def origin(comparison: Comparison) -> list[str]:
    """List data, versions and dates."""
    return [
        *(f"data {each.source}: sha256 {each.sha256}, split seed {each.split_seed}" for each in comparison.data),
        *(f"model {each.model}: sha256 {each.sha256}" for each in comparison.unpruned),
        f"made {comparison.created} by edgeprune {comparison.edgeprune_version}",
        ", ".join(f"{name} {version}" for name, version in comparison.packages.items()),
        *([f"git commit {comparison.git_commit}"] if comparison.git_commit else []),
    ]


def _section(title: str, *parts: str) -> str:
    return "\n\n".join([f"## {title}", *parts])


def _bullets(texts: Iterable[str]) -> str:
    return "\n".join(f"- {escape(text)}" for text in texts)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table from escaped cells; all columns but names are aligned right."""
    head = [escape(title) for title in header]
    aligned = ["---" if title in ("Method", "cell", "reason") else "---:" for title in header]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, aligned, *rows))


def _bold(line: columns.Line) -> list[str]:
    return [f"**{escape(cell)}**" if place in line.best else escape(cell) for place, cell in enumerate(line.cells)]


def _escaped(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    return [[escape(cell) for cell in row] for row in rows]


def _failures(comparison: Comparison) -> list[list[str]]:
    return [[code(cell.id, in_table=True), escape(cell.reason)] for cell in comparison.failed]


def _commands(commands: Iterable[str]) -> str:
    return "\n".join(f"    {printable(' '.join(command.split()))}" for command in commands)


def _tex_row(cells: Sequence[str]) -> str:
    return " & ".join(tex(cell) for cell in cells) + r" \\"
