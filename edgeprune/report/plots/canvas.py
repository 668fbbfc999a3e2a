"""Matplotlib figures as inline SVG in the page's colors, so that one drawing reads well in light and dark.

Drawings name their colors. On a page, the names stand for placeholders, each of which becomes a CSS variable in the
SVG. In a figure outside a page, they stand for dark ink on white. Fills that encode a quantity are one hue over a
transparent ground. Matplotlib takes a second to load, so that it is imported when the first figure is drawn.
"""

import html
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeprune.text.printable import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "edgeprune:ink", "edgeprune:muted", "edgeprune:line", "edgeprune:card"
BASELINE, PRUNED, ACCENT = "edgeprune:baseline", "edgeprune:pruned", "edgeprune:accent"
LIGHT = {
    INK: "#14181f",
    MUTED: "#5b6472",
    GRID: "#e1e5ea",
    PAPER: "#ffffff",
    BASELINE: "#7a8494",
    PRUNED: "#0072b2",
    ACCENT: "#0072b2",
}
"""Colors in a figure outside a page, and on a page in light mode."""
_STAND_INS = {name: f"#0{place}0{place + 1}0{place + 2}" for place, name in enumerate(LIGHT, 1)}
_VARIABLES = {stand_in: f"var(--{name.partition(':')[2]})" for name, stand_in in _STAND_INS.items()}
SHADE = (0.0, 0.447, 0.698)  # blue of Okabe and Ito's palette, which color-blind readers tell apart
LONGEST_NAME = 18

_FONT = "DejaVu Sans"  # comes with matplotlib; wider than the page's fonts, so what fits in it fits in them
STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": _FONT,
    "font.size": 10.5,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.labelsize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.8,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "legend.frameon": False,
    "legend.fontsize": 10.0,
    "lines.linewidth": 1.8,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": GRID,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Drawing:
    """Function that draws a plot on a new figure, with its size.

    Attributes:
        name: Name that makes the ids in the SVG unique on the page and reproducible.
        size: Width and height in inches; an inch has 72 units of the SVG.
        paint: Draws on the figure.
    """

    name: str
    size: tuple[float, float]
    paint: "Callable[[Figure], None]"

    @cached_property
    def svg(self) -> str:
        """Inline SVG without its alternative text."""
        import matplotlib
        from matplotlib.figure import Figure

        use(_STAND_INS)
        try:
            with matplotlib.rc_context({**STYLE, "svg.hashsalt": self.name}), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
                figure = Figure(figsize=self.size)
                self.paint(figure)
                buffer = io.StringIO()
                unsaid = {"Date": None, "Creator": None, "Format": None, "Type": None}
                figure.savefig(buffer, format="svg", transparent=True, metadata=unsaid)
        finally:
            use(LIGHT)
        return _inline(buffer.getvalue(), self.name)


def use(colours: dict[str, str]) -> None:
    """Set the colors that Matplotlib uses for the names from now on."""
    from matplotlib.colors import get_named_colors_mapping

    get_named_colors_mapping().update(colours)


@dataclass(frozen=True)
class Plot:
    """A drawing for the page.

    Attributes:
        name: Name, unique on the page.
        title: Title, one line.
        caption: Explanation for the reader.
        alt: Content in words, for readers who cannot see it.
        drawing: The drawing.
        wide: Whether it needs the whole width of the page.
    """

    name: str
    title: str
    caption: str
    alt: str
    drawing: Drawing
    wide: bool = False

    @property
    def svg(self) -> str:
        """Inline SVG with a description for screen readers, safe to put into HTML."""
        return self.drawing.svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(printable(self.alt))}" ', 1)


def shades(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Values 0..1 of shape (rows, columns) as one hue, transparent at 0: RGBA (rows, columns, 4)."""
    image = np.empty((*values.shape, 4))
    image[..., :3] = SHADE
    image[..., 3] = np.clip(values, 0, 1)
    return image


def shorten(name: str) -> str:
    """Shorten a name to fit beside a plot, on one line."""
    flat = " ".join(printable(" ".join(name.split())).split())
    return flat if len(flat) <= LONGEST_NAME else f"{flat[: LONGEST_NAME - 1]}…"


def only_grid(axes: "Axes", direction: str) -> None:
    """Keep the grid lines across one axis ('x' or 'y')."""
    axes.grid(visible=False, axis="y" if direction == "x" else "x")


def whole_numbers(axis: "Axis") -> None:
    """Ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _inline(svg: str, name: str) -> str:
    """Turn an SVG file into an element: no prolog, the page's colors, no fixed size, ids unique on the page."""
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    start, end = svg.split(">", 1)
    view = re.search(r'viewBox="[^"]*"', start)
    assert view is not None
    svg = f"<svg {view.group()}>{end}"
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))

    def keep(match: "re.Match[str]") -> str:
        return f' id="{name}-{match[1]}"' if match[1] in used else ""

    svg = re.sub(r' id="([^"]+)"', keep, svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'style="[^"]*"', _in_page_terms, svg)
    return re.sub(r"\n\s*", "\n", svg).strip()


def _in_page_terms(style: "re.Match[str]") -> str:
    text = style.group().replace(f"'{_FONT}'", "var(--sans)")
    for stand_in, variable in _VARIABLES.items():
        text = text.replace(stand_in, variable)
    return text
