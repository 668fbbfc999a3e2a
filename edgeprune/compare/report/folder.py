"""The files of a comparison in its run folder: figures, pages, the table for LaTeX, the Pareto plot."""

from pathlib import Path

from edgeprune.compare.document import SCHEMA, Comparison
from edgeprune.compare.report import html, pareto
from edgeprune.compare.report import text as pages
from edgeprune.errors import ConfigError
from edgeprune.files.store import from_plain, read_json, to_plain, write_json
from edgeprune.files.whole import replacing

JSON_NAME = "compare.json"


def write(folder: Path, comparison: Comparison) -> None:
    """Write compare.json, .md, .tex and .html and pareto.svg, each of them atomically.

    Raises:
        ConfigError: The folder cannot be written.
    """
    write_json(folder / JSON_NAME, {"schema": SCHEMA, **to_plain(comparison)})
    front = pareto.plot(comparison)
    for name, text in (
        ("compare.md", pages.markdown(comparison)),
        ("compare.tex", pages.latex(comparison)),
        ("compare.html", html.render(comparison, front)),
        ("pareto.svg", html.standalone(front)),
    ):
        with replacing(folder / name) as file:
            file.write(text.encode())


def load(folder: Path) -> Comparison:
    """Read compare.json back.

    Raises:
        ConfigError: The file is missing, or this version cannot read it.
    """
    path = folder / JSON_NAME
    content = read_json(path)
    schema = content.pop("schema", None) if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise ConfigError(f"{path} has schema {schema!r}; this edgeprune reads {SCHEMA!r}")
    return from_plain(Comparison, content, str(path))
