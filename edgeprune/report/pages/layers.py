"""Where the time of each network goes, layer by layer. Pure."""

from collections.abc import Sequence

from edgeprune.report.pages.requirements import Section
from edgeprune.report.schema.measured import LayerOf
from edgeprune.report.schema.schema import Report
from edgeprune.text import numerals as n

_SHOWN = 8
_LONGEST = 72


def sections(report: Report) -> list[Section]:
    """The slowest layers of each network; none where no runtime told them."""
    if report.layers is None:
        return []
    both = (("before", report.layers.baseline), ("after", report.layers.pruned))
    return [_section(when, found) for when, found in both if found]


def _section(when: str, found: Sequence[LayerOf]) -> Section:
    shown, others = found[:_SHOWN], found[_SHOWN:]
    text = (
        f"Timed one by one, the {n.count(len(found))} layers of the engine take {n.milliseconds(_total_ms(found))} in "
        "all; the latencies above are of the whole engine."
    )
    rows = [(_clipped(layer.name), n.percent(layer.share), n.milliseconds(layer.mean_ms)) for layer in shown]
    if others:
        share = n.percent(sum(layer.share for layer in others))
        rows.append((f"the other {n.count(len(others))}", share, n.milliseconds(_total_ms(others))))
    return Section(f"Slowest layers {when}", text, ("layer", "share", "mean"), tuple(rows))


def _total_ms(found: Sequence[LayerOf]) -> float:
    return sum(layer.mean_ms for layer in found)


def _clipped(name: str) -> str:
    """A name without its middle: fused layers are named after all that is in them."""
    if len(name) <= _LONGEST:
        return name
    half = (_LONGEST - 3) // 2
    return f"{name[:half]} … {name[-half:]}"
