"""The three files of a report in its run folder, and making two of them again from the first."""

from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.bench import samples
from edgeprune.errors import DataError
from edgeprune.files.store import write_json
from edgeprune.files.whole import replacing
from edgeprune.records.results import LatencySummary
from edgeprune.report.pages import html, markdown
from edgeprune.report.plots.drawings import Samples
from edgeprune.report.plots.latency import Times
from edgeprune.report.schema.json import load, parse
from edgeprune.report.schema.schema import Report

JSON_NAME, MARKDOWN_NAME, HTML_NAME = "report.json", "report.md", "report.html"


def write(folder: Path, document: dict[str, Any]) -> None:
    """Write report.json, report.md and report.html, each of them atomically.

    Args:
        folder: Folder of the run; the raw samples are read from it, and the page says so if they are missing.
        document: Result of `build`.

    Raises:
        ConfigError: Not a report, or the folder cannot be written.
        DataError: A file of raw samples cannot be read.
    """
    report = parse(document, "the document")
    write_json(folder / JSON_NAME, document)
    _write_pages(folder, report)


def rerender(folder: Path) -> None:
    """Make report.md and report.html again from report.json and the raw samples beside it.

    Raises:
        ConfigError: There is no report.json, this version cannot read it, or the folder cannot be written.
        DataError: A file of raw samples cannot be read.
    """
    _write_pages(folder, load(folder / JSON_NAME))


def _write_pages(folder: Path, report: Report) -> None:
    for name, text in (
        (MARKDOWN_NAME, markdown.render(report)),
        (HTML_NAME, html.render(report, _samples(folder, report))),
    ):
        with replacing(folder / name) as file:
            file.write(text.encode())


def _samples(folder: Path, report: Report) -> Samples | None:
    if report.latency is None or not (folder / report.latency.baseline.samples_path).is_file():
        return None
    after = report.latency.pruned
    there = after is not None and (folder / after.samples_path).is_file()
    return Samples(
        before_ms=_times(folder, report.latency.baseline),
        after_ms=_times(folder, after) if after is not None and there else None,
    )


def _times(folder: Path, summary: LatencySummary) -> Times:
    path = folder / summary.samples_path
    rounds, _ = samples.read(path)
    times_ms: Times = np.concatenate(rounds)
    if len(times_ms) == 0 or not np.all(np.isfinite(times_ms) & (times_ms > 0)):
        raise DataError(f"{path} holds a time that is not a positive number", "Measure again")
    return times_ms
