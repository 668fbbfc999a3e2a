"""report.html: the report as one page that needs nothing from the network. Pure."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment

from edgeprune.report.pages import requirements, tables
from edgeprune.report.pages.deploy import deployment
from edgeprune.report.pages.page import environment
from edgeprune.report.pages.tables import exports
from edgeprune.report.plots import drawings
from edgeprune.report.plots.canvas import Plot
from edgeprune.report.plots.drawings import Samples
from edgeprune.report.schema.schema import Report
from edgeprune.text import numerals as n

_INSEPARABLE = re.compile(
    r"(?<=\d) (?=(?:%|ms|[kMG]B?|to|points|bytes)(?:\W|$))|(?<=\bto) (?=[+−\d])|(?<=\bp) (?=[=<])|(?<=[=<]) (?=\d)"
)


@dataclass(frozen=True)
class Tile:
    """A key figure: its name, its value, and the fine print."""

    label: str
    value: str
    detail: str


def render(report: Report, samples: Samples | None) -> str:
    """Render report.html.

    Args:
        report: Content of report.json.
        samples: All single times, or None if their files are missing; the page then says so.
    """
    return _environment().get_template("report.html.j2").render(_context(report, samples)) + "\n"


def tiles(report: Report) -> list[Tile]:
    """List the key figures that were measured."""
    found = []
    latency, accuracy, size, before, after = (
        report.latency,
        report.accuracy,
        report.size,
        report.baseline,
        report.pruned,
    )
    if latency and latency.pruned and latency.speedup and latency.speedup_ci95:
        ratio, low, high = n.ratios((latency.speedup, *latency.speedup_ci95))
        label = "Speed-up" if requirements.speed(report) == "faster" else "Speed ratio"
        was_ms, now_ms = n.milliseconds(latency.baseline.median_ms), n.milliseconds(latency.pruned.median_ms)
        found += [
            Tile(label, f"{ratio}×", f"interval {low} to {high}"),
            Tile("Median latency", now_ms, f"was {was_ms}"),
        ]
    if accuracy:
        change = f"was {n.percent(accuracy.baseline.top1)}, {n.points(-accuracy.drop, plus=True)} points"
        found.append(Tile("Top-1 accuracy", n.percent(accuracy.pruned.top1), change))
    return [
        *found,
        Tile("Units", n.count(after.units), f"was {n.count(before.units)}"),
        Tile("Parameters", n.scaled(after.params), f"was {n.scaled(before.params)}"),
        Tile("MACs per frame", n.scaled(after.macs), f"was {n.scaled(before.macs)}"),
        Tile("ONNX file", n.size(size.pruned_bytes), f"was {n.size(size.baseline_bytes)}"),
    ]


def _context(report: Report, samples: Samples | None) -> dict[str, Any]:
    accuracy = report.accuracy
    return {
        "report": report,
        "verdict": requirements.sentence(report),
        "headline": re.split(r"(\([^()]*\))", requirements.sentence(report).removesuffix(".")),
        "speed": requirements.speed(report),
        "tiles": tiles(report),
        "comparison": tables.comparison(report),
        "intervals": tables.intervals(accuracy) if accuracy else "",
        "by_snr": tables.by_snr(accuracy) if accuracy else [],
        "by_class": tables.by_class(accuracy) if accuracy else [],
        "asked": [*requirements.sections(report), *tables.slowest_layers(report)],
        "measurement": tables.measurement(report),
        "device": tables.device_facts(report),
        "energy": tables.energy_facts(report),
        "exports": exports(report),
        "deployment": deployment(report),
        "files": tables.files(report),
        "origin": tables.origin(report),
        "decisions": sorted(report.plan.decisions, key=lambda decision: decision.index),
        "plots": _plots(report, samples),
        "samples_missing": report.latency is not None and samples is None,
    }


def _plots(report: Report, samples: Samples | None) -> dict[str, list[Plot]]:
    return {
        "accuracy": drawings.accuracy(report),
        "latency": drawings.latency(report, samples),
        "chain": drawings.chain(report),
    }


def _link(path: str) -> str:
    """Write a relative path as a link that cannot be mistaken for a scheme."""
    return f"./{quote(path)}"


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


@cache
def _environment() -> Environment:
    return environment(_INSEPARABLE, link=_link, shape=_shape, count=n.count, scaled=n.scaled)
