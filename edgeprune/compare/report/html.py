"""compare.html, one self-contained page, and the Pareto plot as a separate file. Pure."""

import html
import re
from functools import cache

from jinja2 import Environment, PackageLoader

from edgeprune.compare.document import Comparison
from edgeprune.compare.report import columns, plots, text
from edgeprune.report.pages.page import environment
from edgeprune.report.plots.canvas import LIGHT, Plot
from edgeprune.text import numerals as n
from edgeprune.text.printable import printable

_INSEPARABLE = re.compile(r" (?=± )|(?<=±) |(?<=\d) (?=(?:%|ms|[kMG])(?:\W|$))")
_LIGHT = {f"--{name.partition(':')[2]}": colour for name, colour in LIGHT.items()} | {"--sans": "sans-serif"}


def render(comparison: Comparison, front: Plot) -> str:
    """Render compare.html.

    Args:
        comparison: Content of compare.json.
        front: The Pareto plot.
    """
    template = _environment().get_template("compare.html.j2")
    return (
        template.render(
            comparison=comparison,
            front=front,
            plots=plots.chosen_plots(comparison),
            header=columns.HEADER,
            groups=columns.groups(comparison),
            findings=columns.findings(comparison),
            notes=columns.NOTES,
            cost_header=columns.COSTS,
            costs=columns.costs(comparison),
            measurement=text.measurement(comparison),
            origin=text.origin(comparison),
        )
        + "\n"
    )


def standalone(plot: Plot) -> str:
    """Render a plot as an SVG file, in dark ink on white."""
    colours = "".join(f"{name}:{value};" for name, value in _LIGHT.items())
    namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    start, rest = plot.svg.split(">", 1)
    start = start.replace("<svg ", f"<svg {namespaces} ", 1)
    ground = '<rect width="100%" height="100%" fill="var(--card)"/>'
    title = html.escape(printable(plot.title))
    return f"{start}>\n<title>{title}</title>\n<style>svg{{{colours}}}</style>\n{ground}{rest}\n"


@cache
def _environment() -> Environment:
    return environment(_INSEPARABLE, PackageLoader("edgeprune.compare", "templates"), percent=n.percent)
